import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Slab } from '../../src/common/slab.js';
import {
  CHUNK_BYTES,
  LENT_CHUNKS_MAX,
  LENT_PIECES_MAX,
  PINNED_CHUNKS_MAX,
} from '../../src/store/limits.js';
import { LentChunks } from '../../src/store/lent-chunks.js';
import { MemoryStore } from '../../src/store/memory-store.js';
import { PinnedData } from '../../src/store/pinned-data.js';
import { StoreOp, StoreStatus } from '../../src/store/store.js';
import { TargetDevice } from '../../src/target/session/target-device.js';
import { SoftDevice } from '../../src/transport/rnic/device.js';
import { Access } from '../../src/transport/verbs.js';
import { read, run, storeSuite, write } from '../support/target/store-suite.js';

storeSuite('a memory store', (sizeBytes) => Promise.resolve(new MemoryStore({ sizeBytes })));

describe('a memory store', () => {
  it('takes memory with the first write, and gives it back when a chunk is punched whole', async () => {
    const store = new MemoryStore({ sizeBytes: 1 << 30 });
    expect(store.allocatedBytes).toBe(0);
    await write(store, 5 << 20, Buffer.alloc(4096, 1));
    expect(store.allocatedBytes).toBe(CHUNK_BYTES);
    await write(store, (5 << 20) + 8192, Buffer.alloc(4096, 1));
    await run(store, { op: StoreOp.punch, offset: 5 << 20, length: 4096 });
    expect(store.allocatedBytes).toBe(CHUNK_BYTES);
    await run(store, { op: StoreOp.punch, offset: (5 << 20) + 8192, length: 4096 });
    expect(store.allocatedBytes).toBe(0);
  });

  it('does not show old data in memory that it takes up again', async () => {
    const store = new MemoryStore({ sizeBytes: 1 << 20 });
    await write(store, 0, Buffer.alloc(CHUNK_BYTES, 9));
    await run(store, { op: StoreOp.punch, offset: 0, length: CHUNK_BYTES });
    await write(store, 4096, Buffer.alloc(512, 1));
    expect((await read(store, 0, 4096)).every((byte) => byte === 0)).toBe(true);
    expect((await read(store, 4608, 3584)).every((byte) => byte === 0)).toBe(true);
  });

  it('ends in the middle of a page when its size says so', async () => {
    const store = new MemoryStore({ sizeBytes: CHUNK_BYTES + 512 });
    await write(store, CHUNK_BYTES, Buffer.alloc(512, 1));
    expect(store.allocationRunBytes(0, 1 << 20)).toBe(CHUNK_BYTES);
    expect(store.allocationRunBytes(CHUNK_BYTES, 1 << 20)).toBe(512);
    await run(store, { op: StoreOp.punch, offset: CHUNK_BYTES, length: 512 });
    expect(store.allocatedBytes).toBe(0);
  });

  it('refuses a request without memory instead of inventing data', async () => {
    const store = new MemoryStore({ sizeBytes: 4096 });
    const slab: Slab | null = null;
    const length = 512;
    expect(await run(store, { op: StoreOp.read, length, slab })).toBe(StoreStatus.ioError);
    expect(await run(store, { op: StoreOp.write, length, slab })).toBe(StoreStatus.ioError);
  });
});

describe('data that is pinned', () => {
  const data = Buffer.from(Array.from({ length: 3 * CHUNK_BYTES }, (_, at) => (at * 7 + 1) % 251));
  const bytesOf = ({ count, pieces }: PinnedData): Buffer =>
    Buffer.concat(
      pieces
        .slice(0, count)
        .map(({ chunk, offset, length }) => chunk!.slab.bytes.subarray(offset, offset + length)),
    );

  it('stays as it is, whatever happens to the store', async () => {
    const ops = fc.record({
      op: fc.constantFrom(StoreOp.write, StoreOp.punch, StoreOp.writeZeroes),
      lends: fc.constantFrom('nothing', 'memory', 'memory that comes back'),
      block: fc.integer({ min: 0, max: data.length / 512 - 1 }),
      blocks: fc.integer({ min: 1, max: data.length / 512 }),
      pinBlock: fc.integer({ min: 0, max: data.length / 512 - 1 }),
      pinBlocks: fc.integer({ min: 1, max: data.length / 512 }),
      isReleased: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(ops, { maxLength: 12 }), async (steps) => {
        const store = new MemoryStore({ sizeBytes: data.length });
        await write(store, 0, data);
        const oracle = Buffer.from(data);
        const pins: { out: PinnedData; expected: Buffer }[] = [];
        for (const { op, lends, block, blocks, pinBlock, pinBlocks, isReleased } of steps) {
          const out = new PinnedData();
          const from = pinBlock * 512;
          const to = Math.min(from + pinBlocks * 512, data.length);
          if (store.pin(from, to - from, out)) {
            pins.push({ out, expected: Buffer.from(oracle.subarray(from, to)) });
          }
          let offset = block * 512;
          let length = Math.min(blocks * 512, data.length - offset);
          const lent = new LentChunks();
          if (op === StoreOp.write && lends !== 'nothing') {
            offset -= offset % CHUNK_BYTES;
            length = Math.min(Math.ceil(length / CHUNK_BYTES) * CHUNK_BYTES, data.length - offset);
            expect(store.lend(offset, length, lent)).toBe(true);
            for (let index = 0; index < lent.count; index++) {
              lent.chunkAt(index).slab.bytes.fill(lends === 'memory' ? block : 0xee);
            }
            if (lends !== 'memory') lent.release();
          }
          if (lent.count > 0) await run(store, { op, offset, length, lent });
          else if (op === StoreOp.write) await write(store, offset, Buffer.alloc(length, block));
          else await run(store, { op, offset, length });
          oracle.fill(op === StoreOp.write ? block : 0, offset, offset + length);
          if (isReleased) pins.shift()?.out.release();
          for (const { out: held, expected } of pins)
            expect(bytesOf(held).equals(expected)).toBe(true);
          expect((await read(store, 0, data.length)).equals(oracle)).toBe(true);
        }
        for (const { out } of pins) out.release();
        expect(store.pinnedChunks).toBe(0);
        expect(store.lentChunks).toBe(0);
      }),
      { numRuns: 60 },
    );
  });

  it('is not copied by a write beside it', async () => {
    const store = new MemoryStore({ sizeBytes: data.length });
    await write(store, 0, data);
    const out = new PinnedData();
    expect(store.pin(4096, 4096, out)).toBe(true);
    await write(store, 0, Buffer.alloc(4096, 9));
    await write(store, 8192, Buffer.alloc(4096, 9));
    const again = new PinnedData();
    expect(store.pin(0, 512, again)).toBe(true);
    expect(again.pieces[0]?.chunk).toBe(out.pieces[0]?.chunk);
    await write(store, 4096, Buffer.alloc(512, 9));
    out.release();
    again.release();
    expect(store.pin(0, 512, again)).toBe(true);
    expect(again.pieces[0]?.chunk).not.toBe(out.pieces[0]?.chunk);
    again.release();
  });

  it('takes no more memory than its limit, however much is pinned', async () => {
    const store = new MemoryStore({ sizeBytes: (PINNED_CHUNKS_MAX + 2) * CHUNK_BYTES });
    const pins: PinnedData[] = [];
    for (let index = 0; index < PINNED_CHUNKS_MAX + 2; index++) {
      await write(store, index * CHUNK_BYTES, Buffer.alloc(512, 1));
      const out = new PinnedData();
      const isPinned = store.pin(index * CHUNK_BYTES, 512, out);
      expect(isPinned).toBe(index < PINNED_CHUNKS_MAX);
      if (isPinned) pins.push(out);
    }
    expect(store.pinnedChunks).toBe(PINNED_CHUNKS_MAX);
    for (const out of pins) out.release();
    const out = new PinnedData();
    expect(store.pin(0, 512, out)).toBe(true);
    out.release();
  });

  it('is registered while it is pinned, and no longer than its chunk is', async () => {
    const sizeBytes = 4 * CHUNK_BYTES;
    const store = new MemoryStore({ sizeBytes });
    const soft = new SoftDevice('test');
    const one = new TargetDevice(soft, 0);
    const two = new TargetDevice(soft, 1);
    await write(store, 0, Buffer.alloc(sizeBytes, 1));
    const out = new PinnedData();
    store.pin(CHUNK_BYTES, CHUNK_BYTES + 512, out);
    const [first, second] = out.pieces.map(({ chunk }) => chunk);
    const region = one.regionOfChunk(first!)!;
    const other = two.regionOfChunk(first!)!;
    const last = one.regionOfChunk(second!)!;
    expect(one.regionOfChunk(first!)).toBe(region);
    expect(other).not.toBe(region);
    expect(region.access).toBe(Access.localWrite);
    await run(store, { op: StoreOp.punch, offset: 0, length: sizeBytes });
    expect([region, other, last].map(({ isValid }) => isValid)).toEqual([true, true, true]);
    out.release();
    expect([region, other, last].map(({ isValid }) => isValid)).toEqual([false, false, false]);
    await write(store, 0, Buffer.alloc(512, 1));
    store.pin(0, 512, out);
    const left = two.regionOfChunk(out.pieces[0]!.chunk!)!;
    out.release();
    expect(left.isValid).toBe(true);
    two.close();
    one.close();
    expect(left.isValid).toBe(false);
  });
});

describe('memory that is lent', () => {
  it('is for whole chunks, and no more than its limits', () => {
    const store = new MemoryStore({ sizeBytes: 8 * CHUNK_BYTES + 512 });
    const lend = (offset: number, length: number): LentChunks | null => {
      const out = new LentChunks();
      return store.lend(offset, length, out) ? out : null;
    };
    expect(lend(512, CHUNK_BYTES)).toBeNull();
    expect(lend(0, CHUNK_BYTES - 512)).toBeNull();
    expect(lend(8 * CHUNK_BYTES, 512)).toBeNull();
    expect(lend(0, (LENT_PIECES_MAX + 1) * CHUNK_BYTES)).toBeNull();
    const all: LentChunks[] = [];
    for (let count = 0; count < LENT_CHUNKS_MAX; count += LENT_PIECES_MAX) {
      all.push(lend(0, LENT_PIECES_MAX * CHUNK_BYTES)!);
    }
    expect(store.lentChunks).toBe(LENT_CHUNKS_MAX);
    expect(lend(0, CHUNK_BYTES)).toBeNull();
    all.pop()!.release();
    const again = lend(0, CHUNK_BYTES);
    expect(again?.count).toBe(1);
    again!.release();
    for (const lent of all) lent.release();
    expect(store.lentChunks).toBe(0);
    expect(store.allocatedBytes).toBe(0);
  });
});
