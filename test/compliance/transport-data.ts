import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Access, VerbsError, WorkOpcode } from '../../src/transport/verbs.js';
import type { Endpoint, TestBuffer, TransportPair } from '../support/transport/pair.js';
import { ALL_ACCESS } from '../support/transport/pair.js';
import type { CompletionRecord, SendWork } from '../support/transport/work.js';
import {
  fillPattern,
  invalidateWork,
  readWork,
  registerWork,
  remoteAt,
  sendInvalidateWork,
  sendWork,
  writeWork,
} from '../support/transport/work.js';
import type { TransportContext } from './transport-suite.js';
import { turn } from '../support/waiting.js';

const MIB = 1024 * 1024;
const TRANSFER_BYTES_MAX = 4 * MIB;

/** Sizes around every boundary that a transport may have: nothing, padding, segments, 64 KiB, MiB. */
const SIZES = [0, 1, 2, 3, 4, 511, 512, 1447, 1448, 4096, 65_535, 65_536, 65_537, MIB, 4 * MIB];

export function dataTests(context: TransportContext): void {
  describe('sends', () => {
    it('delivers a ping-pong of messages with their lengths and contents', async () => {
      const { active, passive } = await context.pair();
      const here = active.register(1024);
      const there = passive.register(1024);
      for (let round = 0; round < 50; round++) {
        const length = (round * 21) % 1024;
        fillPattern(here.slab.bytes, round + 1);
        const ping = passive.receive(there);
        const pong = active.receive(here);
        active.post(sendWork(here, 0, length));
        expect(await ping.completion).toMatchObject({
          status: 'success',
          opcode: WorkOpcode.receive,
          byteLength: length,
          withInvalidate: false,
        });
        expect(there.slab.bytes.subarray(0, length)).toEqual(here.slab.bytes.subarray(0, length));
        passive.post(sendWork(there, 0, length));
        expect((await pong.completion).byteLength).toBe(length);
      }
    });

    it('gathers a message from several elements and places it in one piece', async () => {
      const { active, passive } = await context.pair();
      const source = active.register(300);
      fillPattern(source.slab.bytes, 7);
      const sink = passive.register(300);
      const receive = passive.receive(sink);
      const work = sendWork(source, 100, 76)
        .addSge(source.region, 7, 0)
        .addSge(source.region, 1, 99);
      await active.perform(work);
      expect((await receive.completion).byteLength).toBe(175);
      expect(sink.slab.bytes.subarray(0, 76)).toEqual(source.slab.bytes.subarray(100, 176));
      expect(sink.slab.bytes.subarray(76, 175)).toEqual(source.slab.bytes.subarray(1, 100));
    });

    it('delivers messages in posting order and completes them in that order on both sides', async () => {
      const { active, passive } = await context.pair();
      const count = 100;
      const source = active.register(count * 4);
      const sink = passive.register(count * 4);
      const order: string[] = [];
      const receives = Array.from({ length: count }, (_, index) => {
        const receive = passive.receive(sink, index * 4, 4);
        receive.onDone = () => order.push(`receive ${index}`);
        return receive;
      });
      const sends = Array.from({ length: count }, (_, index) => {
        source.slab.view.setUint32(index * 4, index * 0x01010101);
        const work = sendWork(source, index * 4, 4);
        work.onDone = () => order.push(`send ${index}`);
        return work;
      });
      active.post(...sends.slice(0, 40));
      for (const work of sends.slice(40)) active.post(work);
      await Promise.all([...sends, ...receives].map((work) => work.completion));
      const numbers = [...sends.keys()];
      expect(order.filter((entry) => entry.startsWith('send'))).toEqual(
        numbers.map((index) => `send ${index}`),
      );
      expect(order.filter((entry) => entry.startsWith('receive'))).toEqual(
        numbers.map((index) => `receive ${index}`),
      );
      expect(sink.slab.bytes).toEqual(source.slab.bytes);
    });

    it('completes an unsignalled request only through a later signalled one', async () => {
      const { active, passive } = await context.pair({ active: { sendRequestsMax: 8 } });
      const source = active.register(8);
      const sink = passive.register(8);
      // More rounds than the queue is long: its places must come free.
      for (let round = 0; round < 5; round++) {
        const receives = Array.from({ length: 4 }, () => passive.receive(sink));
        const quiet = Array.from({ length: 3 }, () => sendWork(source, 0, 8).unsignaled());
        const loud = sendWork(source, 0, 8);
        active.post(...quiet, loud);
        await loud.completion;
        await Promise.all(receives.map((receive) => receive.completion));
        for (const work of quiet) expect(work.records).toEqual([]);
      }
    });

    it('refuses a chain that the queue has no room for, whole', async () => {
      const { active, passive } = await context.pair({
        active: { sendRequestsMax: 4 },
        passive: { receiveRequestsMax: 4 },
      });
      const source = active.register(8);
      const sink = passive.register(8);
      const works = Array.from({ length: 5 }, () => sendWork(source, 0, 8));
      expect(() => active.post(...works)).toThrow(VerbsError);
      const receives = Array.from({ length: 4 }, () => passive.receive(sink));
      expect(() => passive.receive(sink)).toThrow(VerbsError);
      const last = sendWork(source, 0, 8);
      await active.perform(last);
      await receives[0]!.completion;
      expect(works.flatMap((work) => work.records)).toEqual([]);
      expect(receives.slice(1).flatMap((work) => work.records)).toEqual([]);
    });

    it('runs handlers in batches, never inside of a post', async () => {
      const { active, passive } = await context.pair();
      const source = active.register(8);
      const sink = passive.register(8);
      let isPosting = false;
      let handled = 0;
      const batches: number[] = [];
      active.completionQueue.onBatchEnd = () => batches.push(handled);
      const works = Array.from({ length: 20 }, () => {
        passive.receive(sink);
        const work = sendWork(source, 0, 8);
        work.onDone = () => {
          expect(isPosting).toBe(false);
          handled++;
        };
        return work;
      });
      isPosting = true;
      active.post(...works);
      isPosting = false;
      await works.at(-1)!.completion;
      await turn();
      expect(handled).toBe(20);
      expect(batches.at(-1)).toBe(20);
      expect(batches.length).toBeLessThan(20);
      active.completionQueue.onBatchEnd = null;
    });
  });

  describe('RDMA', () => {
    it.each(SIZES)('writes and reads back %i bytes', async (length) => {
      const { active, passive } = await context.pair();
      const source = active.register(length + 1);
      const target = passive.register(length + 64);
      const sink = active.register(length + 1);
      fillPattern(source.slab.bytes, length + 1);
      const remote = remoteAt(target.region, 32);
      const write = await active.perform(writeWork(source, 0, length, remote));
      expect(write).toMatchObject({ status: 'success', opcode: WorkOpcode.rdmaWrite });
      const read = await active.perform(readWork(sink, 0, length, remote));
      expect(read).toMatchObject({
        status: 'success',
        opcode: WorkOpcode.rdmaRead,
        byteLength: length,
      });
      expect(
        sink.slab.bytes.subarray(0, length).equals(source.slab.bytes.subarray(0, length)),
      ).toBe(true);
      expect(sink.slab.bytes[length]).toBe(0);
      expect(target.slab.bytes.subarray(0, 32).equals(Buffer.alloc(32))).toBe(true);
      expect(target.slab.bytes.subarray(32 + length).equals(Buffer.alloc(32))).toBe(true);
    });

    it('reads and writes from the passive side, too', async () => {
      const { active, passive } = await context.pair();
      await roundTrip(passive, active, 300_000, 5);
    });

    it('moves any bytes to any place, and touches no other byte', async () => {
      const pair = await context.pair();
      const source = pair.active.register(TRANSFER_BYTES_MAX);
      const target = pair.passive.register(TRANSFER_BYTES_MAX);
      const sink = pair.active.register(TRANSFER_BYTES_MAX);
      const twin = Buffer.alloc(TRANSFER_BYTES_MAX);
      const sinkTwin = Buffer.alloc(TRANSFER_BYTES_MAX);
      const place = fc.record({
        length: fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(TRANSFER_BYTES_MAX)),
        from: fc.nat(),
        to: fc.nat(),
        back: fc.nat(),
        seed: fc.integer(),
      });
      await fc.assert(
        fc.asyncProperty(place, async ({ length, from, to, back, seed }) => {
          const room = TRANSFER_BYTES_MAX - length + 1;
          const source_ = from % room;
          const target_ = to % room;
          const sink_ = back % room;
          fillPattern(source.slab.bytes.subarray(source_, source_ + length), seed);
          const remote = remoteAt(target.region, target_);
          pair.active.post(writeWork(source, source_, length, remote).unsignaled());
          const read = await pair.active.perform(readWork(sink, sink_, length, remote));
          source.slab.bytes.copy(twin, target_, source_, source_ + length);
          source.slab.bytes.copy(sinkTwin, sink_, source_, source_ + length);
          expect(read).toMatchObject({ status: 'success', byteLength: length });
          expect(target.slab.bytes.equals(twin)).toBe(true);
          expect(sink.slab.bytes.equals(sinkTwin)).toBe(true);
        }),
        { numRuns: 40 },
      );
    });

    it('places a Write before it delivers the Send that follows', async () => {
      const pair = await context.pair();
      const source = pair.active.register(200_000);
      const target = pair.passive.register(200_000);
      const note = pair.passive.register(8);
      for (let round = 1; round <= 10; round++) {
        fillPattern(source.slab.bytes, round);
        const receive = pair.passive.receive(note);
        let wasThere = false;
        receive.onDone = () => (wasThere = target.slab.bytes.equals(source.slab.bytes));
        const write = writeWork(source, 0, 200_000, remoteAt(target.region)).unsignaled();
        await performChain(pair.active, write, sendWork(source, 0, 8));
        await receive.completion;
        expect(wasThere).toBe(true);
      }
    });

    it.each([1, 2, 16])('keeps many reads within a depth of %i, and in order', async (depth) => {
      const pair = await context.pair({
        active: { initiatorDepth: depth },
        passive: { responderResources: depth },
      });
      await manyReads(pair, 60, 5000);
    });

    it('keeps to the smaller of the depths that the two sides want and grant', async () => {
      const pair = await context.pair({
        active: { initiatorDepth: 16 },
        passive: { responderResources: 1 },
      });
      await manyReads(pair, 40, 3000);
    });

    it('interleaves writes, reads and sends of both sides without mixing their bytes', async () => {
      const { active, passive } = await context.pair();
      const rounds = Array.from({ length: 12 }, (_, index) => index);
      await Promise.all(
        rounds.flatMap((index) => [
          roundTrip(active, passive, 1 + index * 17_001, index + 1),
          roundTrip(passive, active, 3 + index * 11_003, index + 100),
        ]),
      );
    });
  });

  describe('fast registration', () => {
    it('maps a region in its place in a chain, and a Send with Invalidate revokes it', async () => {
      const { active, passive } = await context.pair();
      if (!active.device.attributes.fastRegistration) return;
      const fast = active.allocateFastRegion(MIB);
      const data = active.register(100_000, Access.none);
      const local = passive.register(100_000);
      for (let round = 1; round <= 20; round++) {
        const key = fast.nextKey();
        const command = passive.receive(passive.register(16));
        const response = active.receive(active.register(16));
        const register = registerWork(fast, key, data.slab, Access.remoteWrite | Access.localWrite);
        active.post(register.unsignaled(), sendWork(data, 0, 16));
        await command.completion;
        fillPattern(local.slab.bytes, round);
        passive.post(
          writeWork(local, 0, 100_000, remoteAt(fast, 0, key)).unsignaled(),
          sendInvalidateWork(local, 0, 16, key),
        );
        expect(await response.completion).toMatchObject({
          status: 'success',
          withInvalidate: true,
          invalidatedKey: key,
        });
        expect(fast.isValid).toBe(false);
        expect(data.slab.bytes.equals(local.slab.bytes)).toBe(true);
      }
    });

    it('counts what the peer places under a key, without gaps and only once', async () => {
      const { active, passive } = await context.pair();
      const { fastRegistration, countsPlacement } = active.device.attributes;
      if (!fastRegistration || !countsPlacement) return;
      const bytes = 200_000;
      const fast = active.allocateFastRegion(MIB);
      const data = active.register(bytes + 1000, Access.none);
      const local = passive.register(bytes);
      const orders: readonly (readonly (readonly [number, number, number])[])[] = [
        [],
        // Start, length, and the count afterwards.
        [[0, bytes, bytes]],
        [[0, bytes - 1, bytes - 1]],
        [[1, bytes - 1, 0]],
        [
          [100_000, 100_000, 0],
          [0, 70_000, 70_000],
          [0, 70_000, 70_000],
          [60_000, 40_001, bytes],
        ],
        [
          [150_000, 50_000, 0],
          [50_000, 50_000, 0],
          [0, 50_000, 100_000],
        ],
      ];
      for (const [round, order] of orders.entries()) {
        const key = fast.nextKey();
        await active.perform(
          registerWork(fast, key, data.slab, Access.remoteWrite | Access.localWrite, 1000, bytes),
        );
        let placed = 0;
        for (const [start, length, after] of order) {
          const mark = active.receive(active.register(16));
          passive.post(
            writeWork(local, 0, length, remoteAt(fast, start, key)).unsignaled(),
            sendWork(local, 0, 16),
          );
          await mark.completion;
          placed = after;
          expect([round, start, fast.placedBytes]).toEqual([round, start, after]);
        }
        const end = active.receive(active.register(16));
        passive.post(sendInvalidateWork(local, 0, 16, key));
        await end.completion;
        expect([fast.isValid, fast.placedBytes]).toEqual([false, placed]);
      }
    });

    it('draws a fresh key for every registration', async () => {
      const { active } = await context.pair();
      if (!active.device.attributes.fastRegistration) return;
      const fast = active.allocateFastRegion(4096);
      const { slab } = active.register(4096);
      const keys = new Set<number>();
      for (let round = 0; round < 50; round++) {
        const key = fast.nextKey();
        expect(fast.rkey).toBe(key);
        expect(fast.isValid).toBe(false);
        keys.add(key);
        await active.perform(registerWork(fast, key, slab, Access.remoteRead));
        expect(fast.isValid).toBe(true);
        await active.perform(invalidateWork(key));
        expect(fast.isValid).toBe(false);
      }
      expect(keys.size).toBe(50);
      expect(keys.has(0)).toBe(false);
    });

    it('re-registers other memory under another key in one chain', async () => {
      const { active, passive } = await context.pair();
      if (!active.device.attributes.fastRegistration) return;
      const fast = active.allocateFastRegion(8192);
      const first = active.register(4096);
      const second = active.register(4096);
      fillPattern(second.slab.bytes, 9);
      const oldKey = fast.nextKey();
      await active.perform(registerWork(fast, oldKey, first.slab, ALL_ACCESS));
      const key = fast.nextKey();
      await performChain(
        active,
        invalidateWork(oldKey).unsignaled(),
        registerWork(fast, key, second.slab, Access.remoteRead, 1000, 2000),
      );
      const sink = passive.register(2000);
      const read = await passive.perform(readWork(sink, 0, 2000, remoteAt(fast, 0, key)));
      expect(read.status).toBe('success');
      expect(sink.slab.bytes.equals(second.slab.bytes.subarray(1000, 3000))).toBe(true);
    });
  });
}

/** Posts the requests as one chain and waits for the last, which is signalled. */
async function performChain(endpoint: Endpoint, ...works: SendWork[]): Promise<CompletionRecord> {
  endpoint.post(...works);
  return works.at(-1)!.completion;
}

async function roundTrip(
  from: Endpoint,
  to: Endpoint,
  length: number,
  seed: number,
): Promise<void> {
  const source = from.register(length);
  const target = to.register(length);
  const sink = from.register(length);
  fillPattern(source.slab.bytes, seed);
  const remote = remoteAt(target.region);
  from.post(writeWork(source, 0, length, remote).unsignaled());
  const read = await from.perform(readWork(sink, 0, length, remote));
  expect(read.status).toBe('success');
  expect(target.slab.bytes.equals(source.slab.bytes)).toBe(true);
  expect(sink.slab.bytes.equals(source.slab.bytes)).toBe(true);
}

async function manyReads(pair: TransportPair, count: number, length: number): Promise<void> {
  const { active, passive } = pair;
  const target: TestBuffer = passive.register(count * length);
  const sink = active.register(count * length);
  fillPattern(target.slab.bytes, 3);
  const order: number[] = [];
  const works = Array.from({ length: count }, (_, index) => {
    const place = index * length;
    const work = readWork(sink, place, length, remoteAt(target.region, place));
    work.onDone = () => order.push(index);
    return work;
  });
  active.post(...works);
  const records = await Promise.all(works.map((work) => work.completion));
  expect(new Set(records.map((record) => record.status))).toEqual(new Set(['success']));
  expect(order).toEqual([...works.keys()]);
  expect(sink.slab.bytes.equals(target.slab.bytes)).toBe(true);
}
