import { describe, expect, it } from 'vitest';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import type { CommandRun } from '../support/scsi/command-run.js';
import { pattern, read16, testUnitReady, write16 } from '../support/target/cdbs.js';
import { settle, until } from '../support/waiting.js';
import { BLOCK_BYTES } from './scsi-port-suite.js';
import type { PortContext } from './scsi-port-suite.js';

export function lossTests(context: PortContext): void {
  const { execute, lose } = context;

  /** The reasons that the listener is told. */
  const listen = (): string[] => {
    const reasons: string[] = [];
    context.port.listener = { onPortLost: (reason) => reasons.push(reason) };
    return reasons;
  };

  /** Commands on the device, and as many that wait for a place. */
  const crowd = async (): Promise<CommandRun[]> => {
    const { queueDepth } = context.port;
    context.hold();
    const runs = Array.from({ length: 2 * queueDepth }, (_, index) => {
      return index % 2 === 0
        ? execute(read16(index, 1), { readBytes: BLOCK_BYTES })
        : execute(write16(4000 + index, 1), { write: pattern(BLOCK_BYTES) });
    });
    await until(() => context.arrived().length >= Math.ceil(queueDepth / 2));
    return runs;
  };

  const expectLost = (run: CommandRun): void => {
    expect(run.outcome).toBe(DeliveryOutcome.connectionLost);
  };

  describe('a port that is lost', () => {
    it('ends every command, on the device or waiting, and tells its listener once', async () => {
      const reasons = listen();
      const runs = await crowd();
      lose();
      for (const run of runs) expectLost(await run.ended);
      await until(() => reasons.length > 0);
      context.release();
      lose();
      await settle();
      expect(reasons).toHaveLength(1);
      expect(reasons[0]).not.toBe('');
    });

    it('touches no data of a command that has ended', async () => {
      const runs = await crowd();
      lose();
      for (const run of runs) {
        await run.ended;
        run.reuse(0x33);
      }
      context.release();
      await settle();
      expect(runs.every(({ data }) => data.every((byte) => byte === 0x33))).toBe(true);
    });

    it('ends whatever is executed afterwards, in a turn of its own', async () => {
      const reasons = listen();
      lose();
      await until(() => reasons.length > 0);
      const runs = [
        execute(testUnitReady()),
        execute(read16(0, 1), { readBytes: BLOCK_BYTES }),
        execute(write16(0, 1), { write: pattern(BLOCK_BYTES) }),
      ];
      expect(runs.every(({ endCount }) => endCount === 0)).toBe(true);
      for (const run of runs) expectLost(await run.ended);
      await settle();
      expect(reasons).toHaveLength(1);
    });

    it('bears commands that are executed from the ends of others, and from its listener', async () => {
      const late: CommandRun[] = [];
      const again = (): void => {
        if (late.length < 20) late.push(execute(testUnitReady(), { onDone: again }));
      };
      context.port.listener = { onPortLost: again };
      context.hold();
      const first = execute(read16(0, 1), { readBytes: BLOCK_BYTES, onDone: again });
      await until(() => context.arrived().length === 1);
      lose();
      expectLost(await first.ended);
      await until(() => late.length === 20);
      for (const run of late) expectLost(await run.ended);
    });

    it('resets nothing, and has nothing to question', async () => {
      const reasons = listen();
      context.hold();
      const run = execute(read16(0, 1), { readBytes: BLOCK_BYTES });
      await until(() => context.arrived().length === 1);
      lose();
      expectLost(await run.ended);
      await until(() => reasons.length > 0);
      await expect(context.port.resetLogicalUnit()).rejects.toThrow();
      context.port.questionOutstanding();
      await settle();
      expect(run.endCount).toBe(1);
    });

    it('rejects a reset that is under way', async () => {
      const reset = context.port.resetLogicalUnit();
      lose();
      await expect(reset).rejects.toThrow();
    });

    it('needs no listener', async () => {
      context.port.listener = null;
      const runs = await crowd();
      lose();
      for (const run of runs) expectLost(await run.ended);
    });
  });
}
