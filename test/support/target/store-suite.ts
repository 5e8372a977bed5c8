import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { Slab } from '../../../src/common/slab.js';
import { StoreOp, StoreRequest, StoreStatus } from '../../../src/store/store.js';
import type { Store } from '../../../src/store/store.js';

/** Submits one request and resolves with its status. */
export function run(store: Store, fields: Partial<StoreRequest>): Promise<StoreStatus> {
  return new Promise((resolve) => {
    const request = new StoreRequest((done) => resolve(done.status));
    Object.assign(request, fields);
    store.submit(request);
  });
}

export async function read(store: Store, offset: number, length: number): Promise<Buffer> {
  const slab = new Slab(length + 16);
  slab.bytes.fill(0xee);
  const status = await run(store, { op: StoreOp.read, offset, length, slab, slabOffset: 8 });
  expect(status).toBe(StoreStatus.ok);
  expect(slab.bytes.subarray(0, 8).every((byte) => byte === 0xee)).toBe(true);
  expect(slab.bytes.subarray(8 + length).every((byte) => byte === 0xee)).toBe(true);
  return slab.bytes.subarray(8, 8 + length);
}

export async function write(store: Store, offset: number, data: Buffer): Promise<void> {
  const slab = new Slab(data.length);
  slab.bytes.set(data);
  const status = await run(store, { op: StoreOp.write, offset, length: data.length, slab });
  expect(status).toBe(StoreStatus.ok);
}

const SIZE = 1 << 20;
const BLOCK = 512;

/** What every store does. `open` makes a fresh one of `sizeBytes`. */
export function storeSuite(name: string, open: (sizeBytes: number) => Promise<Store>): void {
  describe(`${name}, as any store,`, () => {
    let store: Store;
    beforeEach(async () => {
      store = await open(SIZE);
    });
    afterEach(() => store.close());

    it('is all zeroes and has nothing allocated when it is new', async () => {
      expect((await read(store, 0, SIZE)).every((byte) => byte === 0)).toBe(true);
      expect(store.isAllocated(0)).toBe(false);
      expect(store.allocationRunBytes(0, SIZE)).toBe(SIZE);
    });

    it('returns what was written, across its inner boundaries', async () => {
      const data = Buffer.from(Array.from({ length: 200_192 }, (_, index) => index % 251));
      await write(store, 65_024, data);
      expect((await read(store, 65_024, data.length)).equals(data)).toBe(true);
      expect((await read(store, 64_512, 512)).every((byte) => byte === 0)).toBe(true);
    });

    it('never completes a request inside of submit', async () => {
      for (const op of Object.values(StoreOp)) {
        let isInside = true;
        const slab = new Slab(BLOCK);
        await new Promise<void>((resolve) => {
          const request = new StoreRequest(() => {
            expect(isInside).toBe(false);
            resolve();
          });
          Object.assign(request, { op, length: BLOCK, slab });
          store.submit(request);
          isInside = false;
        });
      }
    });

    it('counts written blocks as allocated, written zeroes too', async () => {
      await write(store, 8192, Buffer.alloc(4096, 1));
      await run(store, { op: StoreOp.writeZeroes, offset: 65_536, length: 4096 });
      expect(store.isAllocated(8192)).toBe(true);
      expect(store.isAllocated(65_536)).toBe(true);
      expect(store.isAllocated(4096)).toBe(false);
      expect(store.allocationRunBytes(0, SIZE)).toBe(8192);
    });

    it('makes a hole of a punched range that is large enough, and zeroes around it', async () => {
      await write(store, 0, Buffer.alloc(SIZE, 7));
      const offset = 65_536 + BLOCK;
      const length = 131_072;
      expect(await run(store, { op: StoreOp.punch, offset, length })).toBe(StoreStatus.ok);
      const data = await read(store, 0, SIZE);
      expect(data.subarray(0, offset).every((byte) => byte === 7)).toBe(true);
      expect(data.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
      expect(data.subarray(offset + length).every((byte) => byte === 7)).toBe(true);
      expect(store.isAllocated(65_536)).toBe(true);
      expect(store.isAllocated(131_072)).toBe(!store.canPunch);
    });

    it('punches all of itself, and what is a hole already', async () => {
      await write(store, 0, Buffer.alloc(SIZE, 7));
      await run(store, { op: StoreOp.punch, offset: 0, length: SIZE, forceUnitAccess: true });
      await run(store, { op: StoreOp.punch, offset: 0, length: SIZE });
      expect((await read(store, 0, SIZE)).every((byte) => byte === 0)).toBe(true);
      if (store.canPunch) expect(store.allocationRunBytes(0, SIZE)).toBe(SIZE);
      expect(store.isAllocated(SIZE - 1)).toBe(!store.canPunch);
    });

    it('flushes', async () => {
      await write(store, 0, Buffer.alloc(BLOCK, 1));
      expect(await run(store, { op: StoreOp.flush })).toBe(StoreStatus.ok);
    });

    it('waits for what is in flight when it is closed', async () => {
      const other = await open(SIZE);
      const slab = new Slab(SIZE);
      let isDone = false;
      const request = new StoreRequest(() => {
        isDone = true;
      });
      Object.assign(request, { op: StoreOp.read, length: SIZE, slab });
      other.submit(request);
      await other.close();
      await Promise.resolve();
      expect(isDone).toBe(true);
    });

    it('behaves as an array of bytes, and never calls data a hole', async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
          const fresh = await open(SIZE);
          const oracle = Buffer.alloc(SIZE);
          for (const { op, block, blocks, fill } of steps) {
            const offset = block * BLOCK;
            const length = Math.min(blocks * BLOCK, SIZE - offset);
            if (op === StoreOp.write) {
              await write(fresh, offset, Buffer.alloc(length, fill));
            } else {
              expect(await run(fresh, { op, offset, length })).toBe(StoreStatus.ok);
            }
            oracle.fill(op === StoreOp.write ? fill : 0, offset, offset + length);
          }
          expect((await read(fresh, 0, SIZE)).equals(oracle)).toBe(true);
          for (let at = 0; at < SIZE;) {
            const runBytes = fresh.allocationRunBytes(at, SIZE - at);
            expect(runBytes).toBeGreaterThan(0);
            const isZero = oracle.subarray(at, at + runBytes).every((byte) => byte === 0);
            expect(fresh.isAllocated(at) || isZero).toBe(true);
            at += runBytes;
          }
          await fresh.close();
        }),
        { numRuns: 25 },
      );
    });
  });
}

const step = fc.record({
  op: fc.constantFrom(StoreOp.write, StoreOp.write, StoreOp.punch, StoreOp.writeZeroes),
  block: fc.nat(SIZE / BLOCK - 1),
  blocks: fc.oneof(fc.integer({ min: 1, max: 16 }), fc.integer({ min: 1, max: SIZE / BLOCK })),
  fill: fc.integer({ min: 1, max: 255 }),
});
