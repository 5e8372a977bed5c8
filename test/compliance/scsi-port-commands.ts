import { describe, expect, it } from 'vitest';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { Asc, SenseKey } from '../../src/scsi/sense.js';
import { ScsiStatus } from '../../src/scsi/wire.js';
import { CommandRun } from '../support/scsi/command-run.js';
import { inquiry, pattern, read16, testUnitReady, write16 } from '../support/target/cdbs.js';
import { BLOCK_BYTES, LONG_BYTES } from './scsi-port-suite.js';
import type { PortContext } from './scsi-port-suite.js';

/** Beyond the end of every disk here. */
const NOWHERE = 2 ** 40;

export function commandTests(context: PortContext): void {
  const { execute, good } = context;

  describe('a port', () => {
    it('says what it is, and what it carries', () => {
      const { name, transferBytesMax, queueDepth } = context.port;
      expect(name).not.toBe('');
      expect(transferBytesMax).toBeGreaterThanOrEqual(LONG_BYTES);
      expect(Number.isInteger(queueDepth) && queueDepth >= 1).toBe(true);
    });

    it('takes nothing that is longer than it carries', () => {
      const length = context.port.transferBytesMax + BLOCK_BYTES;
      const run = new CommandRun(read16(0, length / BLOCK_BYTES), { readBytes: length });
      expect(() => run.execute(context.port)).toThrow();
    });
  });

  describe('a command', () => {
    it.each([
      ['a block', BLOCK_BYTES],
      ['some blocks', 9 * BLOCK_BYTES],
      ['16 blocks', 16 * BLOCK_BYTES],
      ['64 KiB', 65_536],
      ['1 MiB', LONG_BYTES],
    ])('carries its data there and back: %s', async (_, length) => {
      const blocks = length / BLOCK_BYTES;
      const data = pattern(length, length);
      await good(write16(3, blocks), { write: data });
      const { dataAtEnd } = await good(read16(3, blocks), { readBytes: length });
      expect(dataAtEnd.equals(data)).toBe(true);
    });

    it('has no data, or none to carry', async () => {
      await good(testUnitReady());
      await good(read16(0, 0));
      await good(write16(0, 0));
    });

    it('has its data complete when it ends, among many others', async () => {
      const blocks = 16;
      const length = blocks * BLOCK_BYTES;
      const count = 2 * Math.min(context.port.queueDepth, 128);
      const datas = Array.from({ length: count }, (_, index) => pattern(length, index));
      await Promise.all(
        datas.map((write, index) => good(write16(index * blocks, blocks), { write })),
      );
      const runs = await Promise.all(
        datas.map((_, index) => good(read16(index * blocks, blocks), { readBytes: length })),
      );
      runs.forEach(({ dataAtEnd }, index) => {
        expect(dataAtEnd.equals(datas[index]!)).toBe(true);
      });
    });

    it('that the device refuses is delivered, with status and sense', async () => {
      const run = await execute(read16(NOWHERE, 1), { readBytes: BLOCK_BYTES }).ended;
      expect(run).toMatchObject({
        outcome: DeliveryOutcome.delivered,
        status: ScsiStatus.checkCondition,
        senseKey: SenseKey.illegalRequest,
        asc: Asc.lbaOutOfRange,
        residual: BLOCK_BYTES,
      });
      expect(run.isUnread()).toBe(true);
    });

    it('says how much of its room was not needed', async () => {
      const run = await execute(inquiry(255), { readBytes: 255 }).ended;
      expect(run).toMatchObject({ outcome: DeliveryOutcome.delivered, status: 0 });
      expect(run.residual).toBeGreaterThan(0);
      const came = 255 - run.residual;
      expect(run.dataAtEnd[4]).toBe(came - 5);
      expect(run.isUnread(came)).toBe(true);
    });

    it('says how much more there was than it had room for', async () => {
      const whole = await execute(inquiry(255), { readBytes: 255 }).ended;
      const wholeBytes = 255 - whole.residual;
      const run = await execute(inquiry(255), { readBytes: 8 }).ended;
      expect(run).toMatchObject({
        outcome: DeliveryOutcome.delivered,
        status: 0,
        residual: 8 - wholeBytes,
      });
      expect(run.dataAtEnd.equals(whole.dataAtEnd.subarray(0, 8))).toBe(true);
    });

    it('of which less came than the device says is not taken for complete', async () => {
      const { withholdNext, port } = context;
      if (withholdNext === null) return;
      await good(write16(0, 16), { write: pattern(8192) });
      withholdNext(1000);
      const run = await execute(read16(0, 16), { readBytes: 8192 }).ended;
      const missing = { outcome: DeliveryOutcome.dataMissing, residual: 7192 };
      const believed = { outcome: DeliveryOutcome.delivered, status: 0, residual: 0 };
      expect(run).toMatchObject(port.verifiesDataIn ? missing : believed);
      expect(run.dataAtEnd.subarray(0, 1000).equals(pattern(8192).subarray(0, 1000))).toBe(true);
      expect(run.isUnread(1000)).toBe(true);
    });

    it('can be executed again, from its own end too, and shows nothing of how it ended before', async () => {
      const lbas = [NOWHERE, 0, NOWHERE, 5, 6];
      const statuses: number[] = [];
      const run = execute(read16(lbas[0]!, 1), {
        readBytes: BLOCK_BYTES,
        onDone: ({ command, status }) => {
          statuses.push(status);
          if (statuses.length === lbas.length) return;
          command.cdb.set(read16(lbas[statuses.length]!, 1));
          run.execute(context.port);
        },
      });
      await run.allEnded(lbas.length);
      expect(statuses).toEqual([2, 0, 2, 0, 0]);
      run.expectGood();
    });
  });
}
