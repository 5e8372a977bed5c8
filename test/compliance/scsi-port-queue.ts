import { describe, expect, it } from 'vitest';
import { Requester } from '../../src/common/requester.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import type { CommandRun } from '../support/scsi/command-run.js';
import { pattern, read16, testUnitReady, write16 } from '../support/target/cdbs.js';
import { settle, until } from '../support/waiting.js';
import { BLOCK_BYTES } from './scsi-port-suite.js';
import type { PortContext } from './scsi-port-suite.js';

const TIMEOUT_MS = 2000;
/** Enough for a command to run out of time, and for its abort. */
const PAST_TIMEOUT_MS = 4000;

export function queueTests(context: PortContext): void {
  const { execute, good, shortfalls } = context;
  const readBlock = (lba: number): CommandRun => {
    return execute(read16(lba, 1), { readBytes: BLOCK_BYTES });
  };
  const reads = (count: number, from = 0): CommandRun[] => {
    return Array.from({ length: count }, (_, index) => readBlock(from + index));
  };

  describe('more commands than the port has places for', () => {
    it('wait, and reach the device in the order in which they were executed', async () => {
      const { queueDepth } = context.port;
      const count = 3 * queueDepth + 7;
      context.hold();
      const runs = reads(count);
      const places = shortfalls.sendsAtOnce === true ? count : queueDepth;
      await until(() => context.arrived().length >= places);
      await settle();
      expect(context.arrived()).toHaveLength(places);
      expect(runs.every(({ endCount }) => endCount === 0)).toBe(true);
      context.release();
      await Promise.all(runs.map(({ ended }) => ended));
      expect(context.arrived()).toEqual([...runs.keys()]);
      for (const run of runs) run.expectGood();
    });

    it('do not make it say that it has fewer places', async () => {
      const { queueDepth } = context.port;
      const depths = new Set<number>();
      const onDone = (): void => void depths.add(context.port.queueDepth);
      context.hold();
      const runs = Array.from({ length: 2 * queueDepth }, (_, index) => {
        return execute(read16(index, 1), { readBytes: BLOCK_BYTES, onDone });
      });
      await until(() => context.arrived().length >= queueDepth);
      depths.add(context.port.queueDepth);
      context.release();
      await Promise.all(runs.map(({ ended }) => ended));
      expect([...depths]).toEqual([queueDepth]);
    });

    it('all end, whatever they are, when some are executed from the end of others', async () => {
      const count = 4 * context.port.queueDepth;
      const data = pattern(BLOCK_BYTES * 8);
      let started = 0;
      const ends: Promise<unknown>[] = [];
      const start = (): void => {
        if (started >= count) return;
        const index = started++;
        const kinds = [
          () => execute(testUnitReady(), { onDone: start }),
          () => execute(write16(8 * index, 8), { write: data, onDone: start }),
          () => execute(read16(8, 8), { readBytes: 4096, onDone: start }),
        ];
        const run = kinds[index % kinds.length]!();
        ends.push(run.ended.then(() => run.expectGood()));
      };
      for (let index = 0; index < count / 2; index++) start();
      await until(() => started === count);
      await Promise.all(ends);
    });

    it.skipIf(shortfalls.sendsAtOnce)('are dropped when nobody waits for them', async () => {
      const { queueDepth } = context.port;
      const requester = new Requester();
      context.hold();
      const sent = reads(queueDepth);
      const dropped = execute(read16(7000, 1), { readBytes: BLOCK_BYTES, requester });
      const kept = readBlock(7001);
      const write = { write: pattern(BLOCK_BYTES), requester };
      const droppedToo = execute(write16(7002, 1), write);
      await until(() => context.arrived().length === queueDepth);
      requester.isGone = true;
      context.release();
      await Promise.all([...sent, kept].map(({ ended }) => ended));
      for (const run of [...sent, kept]) run.expectGood();
      for (const run of [dropped, droppedToo]) {
        expect(await run.ended).toMatchObject({
          outcome: DeliveryOutcome.aborted,
          residual: BLOCK_BYTES,
        });
      }
      expect(dropped.isUnread()).toBe(true);
      expect(context.arrived()).not.toContain(7000);
      const { dataAtEnd } = await good(read16(7002, 1), { readBytes: BLOCK_BYTES });
      expect(dataAtEnd.every((byte) => byte === 0)).toBe(true);
    });
  });

  describe('a reset of the logical unit', () => {
    it('ends as aborted what the device has, and nobody touches its data afterwards', async () => {
      context.hold();
      const runs = reads(3);
      const writing = execute(write16(900, 16), { write: pattern(8192) });
      await until(() => context.arrived().length === 3);
      await context.port.resetLogicalUnit();
      const ended = await Promise.all([...runs, writing].map((run) => run.ended));
      const outcomes = new Set(ended.map(({ outcome }) => outcome));
      expect(outcomes).toEqual(new Set([DeliveryOutcome.aborted]));
      context.release();
      await context.clearAttention();
      const { dataAtEnd } = await good(read16(900, 16), { readBytes: 8192 });
      expect(dataAtEnd.every((byte) => byte === 0)).toBe(true);
      expect(runs.every((run) => run.isUnread())).toBe(true);
    });

    it('ends nothing that is executed later, and nothing twice', async () => {
      context.hold();
      const early = readBlock(1);
      await until(() => context.arrived().length === 1);
      const reset = context.port.resetLogicalUnit();
      const late = readBlock(2);
      await reset;
      context.release();
      expect((await early.ended).outcome).toBe(DeliveryOutcome.aborted);
      // A unit that tells of its reset does so with the first command that comes.
      expect((await late.ended).outcome).toBe(DeliveryOutcome.delivered);
      await context.clearAttention();
      await good(read16(0, 1), { readBytes: BLOCK_BYTES });
    });

    it('is no trouble when there is nothing to end', async () => {
      await context.port.resetLogicalUnit();
      await context.clearAttention();
      await context.port.resetLogicalUnit();
      await context.clearAttention();
    });

    it('rejects when the device refuses it, and commands go on', async () => {
      const { refuseNextReset } = context;
      if (refuseNextReset === null) return;
      context.hold();
      const run = readBlock(5);
      await until(() => context.arrived().length === 1);
      refuseNextReset();
      await expect(context.port.resetLogicalUnit()).rejects.toThrow();
      context.release();
      (await run.ended).expectGood();
    });
  });

  describe.skipIf(shortfalls.hasNoTime)('a command that gets no answer', () => {
    const advance = (): Promise<void> => {
      if (context.advance === null) throw new Error('this port has no clock');
      return context.advance(PAST_TIMEOUT_MS);
    };

    it('is aborted when its time is up, and the others are not', async () => {
      context.hold();
      const late = execute(read16(1, 1), { readBytes: BLOCK_BYTES, timeoutMs: TIMEOUT_MS });
      const patient = readBlock(2);
      await until(() => context.arrived().length === 2);
      await advance();
      expect((await late.ended).outcome).toBe(DeliveryOutcome.timedOut);
      expect(patient.endCount).toBe(0);
      context.release();
      (await patient.ended).expectGood();
      expect(late.isUnread()).toBe(true);
    });

    it('is aborted long before that when it is in question, and later ones are not', async () => {
      context.hold();
      const questioned = [readBlock(1), readBlock(2)];
      await until(() => context.arrived().length === 2);
      context.port.questionOutstanding();
      context.port.questionOutstanding();
      const later = readBlock(3);
      await until(() => context.arrived().length === 3);
      await advance();
      for (const run of questioned) expect((await run.ended).outcome).toBe(DeliveryOutcome.aborted);
      expect(later.endCount).toBe(0);
      context.release();
      (await later.ended).expectGood();
    });

    it('ends as ever when its answer comes after the question', async () => {
      context.hold();
      const run = readBlock(1);
      await until(() => context.arrived().length === 1);
      context.port.questionOutstanding();
      context.release();
      (await run.ended).expectGood();
      await advance();
      expect(run.endCount).toBe(1);
    });
  });
}
