import { afterEach, beforeEach, describe } from 'vitest';
import type { PairOptions, TransportPair, TransportUnderTest } from '../support/transport/pair.js';
import { connectPair } from '../support/transport/pair.js';
import { connectionTests } from './transport-connection.js';
import { dataTests } from './transport-data.js';
import { teardownTests } from './transport-teardown.js';
import { violationTests } from './transport-violations.js';

/** What each group of tests works with; made anew for every test. */
export interface TransportContext {
  readonly transports: TransportUnderTest;
  /** A connected pair, which is closed after the test if the test has not done so. */
  pair(options?: PairOptions): Promise<TransportPair>;
}

/**
 * What `verbs.ts` promises, as tests that every transport passes. Where transports may differ (iWARP learns of a
 * refused RDMA Write after the Write has completed here, an in-memory one at once), a test says only what they
 * have in common.
 */
export function transportSuite(
  name: string,
  setup: () => TransportUnderTest | Promise<TransportUnderTest>,
): void {
  describe(`${name} transport`, () => {
    let transports: TransportUnderTest | null = null;
    let pairs: TransportPair[] = [];
    const context: TransportContext = {
      get transports() {
        if (transports === null) throw new Error('the suite is not set up');
        return transports;
      },
      async pair(options) {
        const pair = await connectPair(context.transports, options);
        pairs.push(pair);
        return pair;
      },
    };

    beforeEach(async () => {
      transports = await setup();
    });

    afterEach(async () => {
      for (const pair of pairs) await pair.close();
      pairs = [];
      await transports?.close?.();
    });

    connectionTests(context);
    dataTests(context);
    violationTests(context);
    teardownTests(context);
  });
}
