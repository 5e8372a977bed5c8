import { scsiPortSuite } from '../compliance/scsi-port-suite.js';
import { scriptedUnderTest } from '../support/initiator/scripted-under-test.js';
import { sessionUnderTest } from '../support/initiator/session-under-test.js';

scsiPortSuite('a LUN over the scripted datamover', scriptedUnderTest);

for (const over of ['memory', 'iWARP'] as const) {
  for (const registration of ['fast', 'pool'] as const) {
    scsiPortSuite(`a LUN over ${over} with ${registration} registration`, () =>
      sessionUnderTest({ over, registration }),
    );
  }
}
