import { describe, expect, it } from 'vitest';
import { DataDirection } from '../../src/common/data-direction.js';
import { Slab } from '../../src/common/slab.js';
import { Op, bhsOf } from '../support/iser/upper-layer.js';
import { pattern } from '../support/target/cdbs.js';
import type { DatamoverContext } from './datamover-suite.js';

const OFFSET = 512;
const LENGTH = 20_000;

export function datamoverCommandTests(context: DatamoverContext): void {
  const answer = async (tag: number): Promise<void> => {
    const { upper, peer } = context;
    const count = upper.pdus.length + 1;
    peer.send(bhsOf(Op.response, tag));
    await upper.received(count);
  };

  describe('a command', () => {
    it('that reads has what the peer has placed when its response comes, and nothing else', async () => {
      const [task] = await context.fullFeature();
      const slab = new Slab(OFFSET + LENGTH + OFFSET);
      context.upper.read(task!, 5, slab, OFFSET, LENGTH);
      await context.arrived(2);
      const data = pattern(LENGTH);
      let seen = Buffer.alloc(0);
      context.upper.onPdu = () => {
        seen = Buffer.from(slab.bytes);
      };
      void context.peer.place(5, data);
      await answer(5);
      expect(seen.subarray(OFFSET, OFFSET + LENGTH).equals(data)).toBe(true);
      const around = [seen.subarray(0, OFFSET), seen.subarray(OFFSET + LENGTH)];
      expect(around.every((bytes) => bytes.every((byte) => byte === 0))).toBe(true);
    });

    it('that reads tells how much has come, where the datamover counts', async () => {
      const { upper, connection } = context;
      const [task] = await context.fullFeature();
      if (!connection.limits.countsDataIn) return;
      const slab = new Slab(8192);
      for (const [tag, placed] of [0, 1, 1000, 4096].entries()) {
        upper.read(task!, tag, slab, 4096, 4096);
        await context.arrived(2 + tag);
        let placedBytes = -1;
        upper.finishesOnResponse = false;
        upper.onPdu = () => {
          ({ placedBytes } = task!);
          upper.finish(tag);
        };
        if (placed > 0) void context.peer.place(tag, pattern(4096).subarray(0, placed));
        await answer(tag);
        expect(placedBytes).toBe(placed);
      }
    });

    it('that writes lets the peer take its data', async () => {
      const [task] = await context.fullFeature();
      const slab = new Slab(OFFSET + LENGTH);
      slab.bytes.set(pattern(LENGTH), OFFSET);
      context.upper.write(task!, 6, slab, OFFSET, LENGTH);
      expect((await context.arrived(2)).data).toHaveLength(0);
      const fetched = await context.peer.fetch(6, LENGTH);
      expect(fetched?.equals(pattern(LENGTH))).toBe(true);
      await answer(6);
    });

    it('carries as much immediate data as the limits say', async () => {
      const { immediateBytesMax } = context.connection.limits;
      const [task] = await context.fullFeature();
      const slab = new Slab(OFFSET + immediateBytesMax);
      slab.bytes.set(pattern(immediateBytesMax), OFFSET);
      for (const [index, length] of [1, 4, 4095, immediateBytesMax].entries()) {
        context.upper.writeImmediate(task!, index, slab, OFFSET, length);
        const { bhs, data } = await context.arrived(2 + index);
        expect(bhs.readUIntBE(5, 3)).toBe(length);
        expect(
          data.subarray(0, length).equals(pattern(immediateBytesMax).subarray(0, length)),
        ).toBe(true);
        await answer(index);
      }
    });

    it('carries all of its data as immediate data, or none', async () => {
      const [task] = await context.fullFeature();
      const slab = new Slab(4096);
      expect(() =>
        context.upper.command(task!, 1, DataDirection.out, { slab, offset: 0, length: 4096 }, 512),
      ).toThrow();
      context.upper.commands.clear();
      expect(task!.isActive).toBe(false);
    });

    it('has its BHS where the task says, each time, and is as it was filled in', async () => {
      const tasks = await context.fullFeature(2);
      for (let round = 0; round < 200; round++) {
        const task = tasks[round % 2]!;
        const { view, bhsOffset } = task;
        for (let at = 0; at < 48; at++) view.setUint8(bhsOffset + at, 0);
        view.setUint8(bhsOffset, Op.command);
        view.setUint32(bhsOffset + 16, round);
        view.setUint32(bhsOffset + 44, ~round >>> 0);
        task.direction = DataDirection.none;
        task.slab = null;
        task.dataLength = 0;
        task.immediateLength = 0;
        context.upper.commands.set(round, task);
        context.connection.sendCommand(task);
        const { bhs } = await context.arrived(2 + round);
        expect([bhs[0], bhs.readUInt32BE(16), bhs.readUInt32BE(44)]).toEqual([
          Op.command,
          round,
          ~round >>> 0,
        ]);
        await answer(round);
      }
    });

    it('is active until it is finished, and its task is free only then', async () => {
      const { upper, connection } = context;
      const [task, other] = await context.fullFeature();
      upper.finishesOnResponse = false;
      const slab = new Slab(4096);
      upper.read(task!, 1, slab, 0, 4096);
      expect([task!.isActive, other!.isActive]).toEqual([true, false]);
      expect(() => connection.sendCommand(task!)).toThrow();
      await context.arrived(2);
      await answer(1);
      expect(task!.isActive).toBe(true);
      upper.finish(1);
      expect(task!.isActive).toBe(false);
      upper.read(task!, 2, slab, 0, 4096);
      expect(task!.isActive).toBe(true);
      await context.arrived(3);
      await answer(2);
      upper.finish(2);
    });

    it('may be sent from inside of the notification that ended another one', async () => {
      const { upper } = context;
      const [task] = await context.fullFeature();
      const slab = new Slab(4096);
      upper.onPdu = ({ tag }) => {
        if (tag < 50) upper.read(task!, tag + 1, slab, 0, 4096);
      };
      upper.read(task!, 0, slab, 0, 4096);
      for (let tag = 0; tag <= 50; tag++) {
        await context.arrived(2 + tag);
        await answer(tag);
      }
      expect(task!.isActive).toBe(false);
    });

    it('has its task asked for by the tag of its response, before that goes up', async () => {
      const { upper, peer } = context;
      const [task] = await context.fullFeature();
      upper.read(task!, 9, new Slab(4096), 0, 4096);
      await context.arrived(2);
      upper.calls.length = 0;
      await answer(9);
      expect(upper.calls).toEqual(['taskByTag', 'controlNotify']);
      upper.calls.length = 0;
      peer.send(bhsOf(Op.nopIn, 0xffff_ffff));
      await upper.received(3);
      expect(upper.calls).toEqual(['controlNotify']);
    });

    it('whose response names nobody goes up all the same', async () => {
      await context.fullFeature();
      context.peer.send(bhsOf(Op.response, 0x1234));
      expect(await context.upper.received(2)).toMatchObject({ opcode: Op.response, tag: 0x1234 });
    });

    it('that is given up lets go of its task, and the peer’s answer finds nobody', async () => {
      const { upper } = context;
      const [task] = await context.fullFeature();
      upper.read(task!, 1, new Slab(4096), 0, 4096);
      await context.arrived(2);
      upper.finish(1);
      expect(task!.isActive).toBe(false);
      await answer(1);
      upper.read(task!, 2, new Slab(4096), 0, 4096);
      await context.arrived(3);
      void context.peer.place(2, pattern(4096));
      await answer(2);
    });
  });
}
