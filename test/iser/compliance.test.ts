import { datamoverSuite } from '../compliance/datamover-suite.js';
import { iserUnderTest } from '../support/iser/datamover-under-test.js';
import { scriptedDatamoverUnderTest } from '../support/iscsi/datamover-under-test.js';

for (const over of ['memory', 'iWARP'] as const) {
  for (const registration of ['fast', 'pool'] as const) {
    datamoverSuite(`iSER over ${over} with ${registration} registration`, () =>
      iserUnderTest({ over, registration }),
    );
  }
}

datamoverSuite('the scripted datamover', scriptedDatamoverUnderTest);
