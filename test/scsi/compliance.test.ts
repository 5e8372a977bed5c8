import { scsiPortSuite } from '../compliance/scsi-port-suite.js';
import { controlsOf, suiteDouble } from '../support/scsi/double-under-test.js';
import type { DoubleOptions } from '../support/scsi/port.js';

function suite(name: string, options: DoubleOptions = {}): void {
  scsiPortSuite(
    name,
    () => {
      const port = suiteDouble(options);
      return {
        port,
        ...controlsOf(port),
        lose: () => port.lose('the test wants it'),
        advance: null,
        close: () => Promise.resolve(port.lose('the test is over')),
      };
    },
    // What its user has outstanding is what the tests of that user look at.
    { sendsAtOnce: true, hasNoTime: true },
  );
}

suite('a double');

suite('a double that answers out of order', { seed: 1 });
