import { describe, expect, it } from 'vitest';
import { WriteLedger } from '../../src/disk/write-ledger.js';

describe('the account of writes and flushes', () => {
  it('does not take a flush for one of writes that ended after it started', () => {
    const ledger = new WriteLedger();
    ledger.writeDone();
    const { mark } = ledger;
    ledger.writeDone();
    ledger.flushDone(mark);
    expect(ledger.isDirty).toBe(true);
    ledger.flushDone(ledger.mark);
    expect(ledger.isDirty).toBe(false);
  });

  it('does not forget what a later flush has covered when an earlier one ends after it', () => {
    const ledger = new WriteLedger();
    const early = ledger.mark;
    ledger.writeDone();
    ledger.flushDone(ledger.mark);
    ledger.flushDone(early);
    expect(ledger.isDirty).toBe(false);
  });

  it('is never clean where others write too', () => {
    const ledger = new WriteLedger(true);
    ledger.flushDone(ledger.mark);
    expect(ledger.isDirty).toBe(true);
  });
});
