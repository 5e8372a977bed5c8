import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockStatus } from '../../src/block/device.js';
import { DeliveryOutcome, ScsiCommand } from '../../src/scsi/port.js';
import { RetryBudget, describeFailure, judge } from '../../src/disk/retry.js';
import {
  Asc,
  Sense,
  SenseKey,
  ascName,
  decodeSense,
  encodeDescriptorSense,
  encodeFixedSense,
  senseKeyName,
} from '../../src/scsi/sense.js';
import { blockStatusOf } from '../../src/disk/sense-status.js';
import { ScsiStatus, scsiStatusName } from '../../src/scsi/wire.js';
import { WriteLedger } from '../../src/disk/write-ledger.js';

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
}

function senseOf(key: number, asc: number): Sense {
  return Object.assign(new Sense(), { key, asc });
}

function decode(hex: string): Sense {
  const sense = senseOf(9, 9);
  const bytes = bytesOf(hex);
  expect(decodeSense(bytes, bytes.length, sense)).toBe(true);
  return sense;
}

describe('sense data', () => {
  it('of fixed format is read from the bytes of SPC-4', () => {
    const sense = decode('f0 00 05 00001000 0a 00000000 2100 00 000000');
    expect(sense).toMatchObject({ key: 5, asc: 0x2100, deferred: false, information: 0x1000 });
    expect(sense.toString()).toBe('ILLEGAL REQUEST (5/21/00): logical block address out of range');
    expect(decode('71 00 03 00001000 0a 00000000 0c00 00 000000')).toMatchObject({
      deferred: true,
      information: -1,
    });
  });

  it('of descriptor format is read from the bytes of SPC-4, with its information', () => {
    expect(decode('72 06 29 00 000000 00')).toMatchObject({ key: 6, asc: 0x2900, information: -1 });
    const other = '02 06 0000 c0000000';
    const information = '00 0a 80 00 0000000100000000';
    expect(decode(`73 03 11 00 000000 14 ${other} ${information}`)).toMatchObject({
      key: 3,
      asc: 0x1100,
      deferred: true,
      information: 0x1_0000_0000,
    });
  });

  it('that ends early keeps what it has', () => {
    expect(decode('70 00 06')).toMatchObject({ key: 6, asc: 0 });
    expect(decode('70 00 06 00000000 00 00000000 2900')).toMatchObject({ key: 6, asc: 0 });
    expect(decode('72 0b')).toMatchObject({ key: 11, asc: 0 });
  });

  it('that is none is told from sense data', () => {
    const sense = senseOf(9, 9);
    for (const hex of ['', '70', '7000', '72', '00 00 05', '7f 00 05', '6e 05']) {
      const bytes = bytesOf(hex);
      expect(decodeSense(bytes, bytes.length, sense)).toBe(false);
      expect(sense).toMatchObject({ key: 0, asc: 0, deferred: false, information: -1 });
    }
  });

  it('survives the round trip in both formats', () => {
    const bytes = new Uint8Array(40);
    const view = new DataView(bytes.buffer);
    const sense = new Sense();
    const any = fc.tuple(fc.nat(15), fc.nat(0xffff), fc.integer({ min: -1, max: 2 ** 45 }));
    fc.assert(
      fc.property(any, fc.boolean(), ([key, asc, information], isFixed) => {
        bytes.fill(0xee);
        const encode = isFixed ? encodeFixedSense : encodeDescriptorSense;
        const length = encode(view, 0, key as SenseKey, asc, information);
        expect(bytes[length]).toBe(0xee);
        expect(decodeSense(bytes, length, sense)).toBe(true);
        const isLost = isFixed && information > 0xffff_ffff;
        expect(sense).toMatchObject({ key, asc, information: isLost ? -1 : information });
      }),
    );
  });

  it('is written byte for byte', () => {
    const bytes = new Uint8Array(20).fill(0xee);
    const view = new DataView(bytes.buffer);
    const hex = (length: number) => Buffer.from(bytes.subarray(0, length)).toString('hex');
    expect(hex(encodeFixedSense(view, 0, SenseKey.mediumError, 0x1100, 0x1234_5678))).toBe(
      'f00003123456780a00000000110000000000',
    );
    expect(hex(encodeFixedSense(view, 0, SenseKey.illegalRequest, 0x2400))).toBe(
      '700005000000000a00000000240000000000',
    );
    expect(hex(encodeDescriptorSense(view, 0, SenseKey.miscompare, 0x1d00, 5))).toBe(
      '720e1d000000000c000a80000000000000000005',
    );
  });

  it('of any bytes is decoded without reading beyond them', () => {
    const sense = new Sense();
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 252 }),
        fc.constantFrom(0x70, 0x72, 0xf1, 0),
        (bytes, code) => {
          if (bytes.length > 0 && code !== 0) bytes[0] = code;
          const exact = Uint8Array.from(bytes);
          decodeSense(exact, exact.length, sense);
          expect(sense.key).toBeLessThanOrEqual(15);
          expect(sense.asc).toBeLessThanOrEqual(0xffff);
        },
      ),
    );
  });

  it('has a name for every key, and for every code', () => {
    for (let key = 0; key < 16; key++) expect(senseKeyName(key)).toMatch(/^[A-Za-z ]+$/);
    for (const asc of Object.values(Asc))
      expect(ascName(asc)).not.toMatch(/^additional sense code/);
    expect(ascName(0x2477)).toBe('invalid field in CDB');
    expect(ascName(0x8901)).toBe('additional sense code 89h/01h');
  });
});

describe('blockStatusOf', () => {
  it('is total: every triple has a status that is not success', () => {
    const statuses = new Set<number>(Object.values(BlockStatus));
    for (let key = 0; key < 16; key++) {
      for (let asc = 0; asc < 0x10000; asc += 1) {
        const read = blockStatusOf(senseOf(key, asc), 'read');
        const write = blockStatusOf(senseOf(key, asc), 'write');
        if (read === BlockStatus.ok || write === BlockStatus.ok) expect.unreachable();
        if (!statuses.has(read) || !statuses.has(write)) expect.unreachable();
      }
    }
  });

  it('takes data protect for "not permitted", but a full device for "no space"', () => {
    expect(blockStatusOf(senseOf(7, 0x2700), 'write')).toBe(BlockStatus.notPermitted);
    expect(blockStatusOf(senseOf(7, 0x2702), 'write')).toBe(BlockStatus.notPermitted);
    expect(blockStatusOf(senseOf(7, 0x2707), 'write')).toBe(BlockStatus.noSpace);
  });

  it('takes an address out of range for "invalid" of a read and "no space" of a write', () => {
    expect(blockStatusOf(senseOf(5, 0x2100), 'read')).toBe(BlockStatus.invalid);
    expect(blockStatusOf(senseOf(5, 0x2100), 'write')).toBe(BlockStatus.noSpace);
  });

  it('takes the rest for an I/O error', () => {
    for (const [key, asc] of [
      [0, 0],
      [2, 0x0400],
      [3, 0x1100],
      [4, 0x4400],
      [5, 0x2000],
      [6, 0x2900],
      [11, 0x4b00],
      [14, 0x1d00],
    ] as const) {
      expect(blockStatusOf(senseOf(key, asc), 'write')).toBe(BlockStatus.ioError);
    }
  });
});

describe('judge', () => {
  function ended(fields: Partial<ScsiCommand>, sense?: readonly [SenseKey, number]): ScsiCommand {
    const command = Object.assign(new ScsiCommand(() => undefined), fields);
    if (sense !== undefined) {
      const [key, asc] = sense;
      command.status = ScsiStatus.checkCondition;
      command.senseLength = encodeFixedSense(new DataView(command.sense.buffer), 0, key, asc);
    }
    return command;
  }

  it('has a verdict for every outcome, status and sense key', () => {
    const sense = new Sense();
    const { delivered, connectionLost, timedOut, aborted } = DeliveryOutcome;
    expect(judge(ended({ outcome: connectionLost }), sense)).toBe('failed');
    expect(judge(ended({ outcome: timedOut }), sense)).toBe('timedOut');
    expect(judge(ended({ outcome: aborted }), sense)).toBe('aborted');
    const expected: Record<number, string> = {
      [ScsiStatus.good]: 'succeeded',
      [ScsiStatus.conditionMet]: 'succeeded',
      [ScsiStatus.busy]: 'busy',
      [ScsiStatus.taskSetFull]: 'busy',
      [ScsiStatus.taskAborted]: 'aborted',
    };
    for (let status = 0; status < 256; status++) {
      const verdict = judge(ended({ outcome: delivered, status }), sense);
      expect(verdict).toBe(expected[status] ?? 'failed');
    }
    const keys: Record<number, string> = {
      [SenseKey.recoveredError]: 'succeeded',
      [SenseKey.unitAttention]: 'unitAttention',
      [SenseKey.abortedCommand]: 'aborted',
      [SenseKey.miscompare]: 'mismatch',
    };
    for (let key = 0; key < 16; key++) {
      expect(judge(ended({}, [key as SenseKey, 0]), sense)).toBe(keys[key] ?? 'failed');
    }
    expect(judge(ended({}, [SenseKey.notReady, Asc.asymmetricAccessTransition]), sense)).toBe(
      'busy',
    );
  });

  it('does not believe the sense data of the command before', () => {
    const sense = senseOf(7, 0x2707);
    judge(ended({ status: ScsiStatus.reservationConflict }), sense);
    expect(sense.asc).toBe(0);
  });

  it('describes each end in words', () => {
    const sense = new Sense();
    const words = [
      ended({ status: ScsiStatus.busy }),
      ended({ outcome: DeliveryOutcome.connectionLost }),
      ended({ outcome: DeliveryOutcome.timedOut }),
      ended({ outcome: DeliveryOutcome.aborted }),
      ended({}, [SenseKey.dataProtect, Asc.writeProtected]),
    ].map((command) => {
      judge(command, sense);
      return describeFailure(command, sense);
    });
    expect(words).toEqual([
      'BUSY',
      'connection lost',
      'timed out',
      'aborted',
      'DATA PROTECT (7/27/00): write protected',
    ]);
    expect(scsiStatusName(0x7e)).toBe('status 0x7e');
  });
});

describe('RetryBudget', () => {
  it('doubles the wait up to a second, and ends it in time', () => {
    const budget = new RetryBudget();
    let nowMs = 1_000_000;
    const delays: number[] = [];
    for (;;) {
      const delayMs = budget.delayMs('busy', nowMs);
      if (delayMs < 0) break;
      delays.push(delayMs);
      nowMs += delayMs;
    }
    expect(delays.slice(0, 9)).toEqual([10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    const totalMs = delays.reduce((sum, delayMs) => sum + delayMs, 0);
    expect(totalMs).toBeGreaterThanOrEqual(30_000);
    expect(totalMs).toBeLessThan(31_000);
    budget.reset();
    expect(budget.delayMs('busy', nowMs)).toBe(10);
  });

  it('never sends a failed command again', () => {
    expect(new RetryBudget().delayMs('failed', 0)).toBe(-1);
  });
});

describe('WriteLedger', () => {
  it('is dirty until a flush that started after the last write has ended', () => {
    const ledger = new WriteLedger();
    expect(ledger.isDirty).toBe(false);
    ledger.writeDone();
    const mark = ledger.mark;
    ledger.writeDone();
    ledger.flushDone(mark);
    expect(ledger.isDirty).toBe(true);
    ledger.flushDone(ledger.mark);
    expect(ledger.isDirty).toBe(false);
    ledger.flushDone(mark);
    expect(ledger.isDirty).toBe(false);
  });

  it('never forgets a loss', () => {
    const ledger = new WriteLedger();
    expect(ledger.hasLost).toBe(false);
    ledger.lose();
    ledger.flushDone(ledger.mark);
    expect(ledger.hasLost).toBe(true);
  });
});
