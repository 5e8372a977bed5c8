import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import {
  DEFAULT_SIZE_CLASSES,
  SLOT_HEADROOM_BYTES,
  Slab,
  SlabPool,
} from '../../src/common/slab.js';
import type { BufferSlot } from '../../src/common/slab.js';
import { turns } from '../support/waiting.js';

const CLASSES = [
  { slotBytes: 100, slotsMax: 3, slotsPerSlab: 2 },
  { slotBytes: 1000, slotsMax: 1, slotsPerSlab: 4 },
];

function nextTick(): Promise<void> {
  return new Promise((resolve) => process.nextTick(resolve));
}

describe('a slab', () => {
  it('is zeroed memory with an id of its own', () => {
    const [a, b] = [new Slab(10), new Slab(20)];
    expect(b.id).toBe(a.id + 1);
    expect([a.length, b.length]).toEqual([10, 20]);
    expect(a.bytes.equals(Buffer.alloc(10))).toBe(true);
    a.view.setUint32(6, 0x01020304);
    expect(a.bytes.readUInt32BE(6)).toBe(0x01020304);
  });
});

describe('a slab pool', () => {
  it('gives the smallest class that holds the length', () => {
    const pool = new SlabPool(CLASSES);
    expect(pool.acquire(1)?.capacity).toBe(100);
    expect(pool.acquire(100)?.capacity).toBe(100);
    expect(pool.acquire(101)?.capacity).toBe(1000);
    expect(pool.requestBytesMax).toBe(1000);
    expect(() => pool.acquire(1001)).toThrow(InvariantError);
  });

  it('takes memory only as it is needed, up to each class’s limit', () => {
    const pool = new SlabPool(CLASSES);
    expect(pool.allocatedBytes).toBe(0);
    pool.acquire(1);
    expect(pool.allocatedBytes).toBe(2 * (100 + SLOT_HEADROOM_BYTES));
    pool.acquire(1);
    expect(pool.acquire(1)).not.toBeNull();
    expect(pool.acquire(1)).toBeNull();
    expect(pool.allocatedBytes).toBe(3 * (100 + SLOT_HEADROOM_BYTES));
    // One slot, although a slab of the class would hold four.
    pool.acquire(1000);
    expect(pool.acquire(1000)).toBeNull();
    expect(pool.usedCount).toBe(4);
  });

  it('hands out slots whose bytes and headroom never overlap', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1000 }), { maxLength: 12 }), (lengths) => {
        const pool = new SlabPool(CLASSES);
        const slots: BufferSlot[] = [];
        for (const length of lengths) {
          const slot = pool.acquire(length);
          if (slot === null) continue;
          slots.push(slot);
          const from = slot.offset - SLOT_HEADROOM_BYTES;
          slot.slab.bytes.fill(slots.length, from, slot.offset + slot.capacity);
        }
        for (const [index, slot] of slots.entries()) {
          const from = slot.offset - SLOT_HEADROOM_BYTES;
          const bytes = slot.slab.bytes.subarray(from, slot.offset + slot.capacity);
          expect(bytes.every((byte) => byte === index + 1)).toBe(true);
        }
      }),
    );
  });

  it('shows a slot’s bytes, as one object for as long as it is asked for the same ones', () => {
    const slot = new SlabPool(CLASSES).acquire(100);
    if (slot === null) throw new Error('no slot');
    const { offset, slab } = slot;
    const view = slot.view(offset - 16, offset + 100);
    slab.bytes.fill(7, offset - 16, offset + 100);
    expect(view).toEqual(Buffer.alloc(116, 7));
    slot.release();
    expect(slot.view(offset - 16, offset + 100)).toBe(view);
    for (const [start, end] of [
      [offset, offset + 100],
      [offset - 16, offset + 99],
      [offset, offset],
    ] as const) {
      const other = slot.view(start, end);
      expect([other.byteOffset, other.length]).toEqual([
        slab.bytes.byteOffset + start,
        end - start,
      ]);
    }
  });

  it('takes a slot back once', () => {
    const pool = new SlabPool(CLASSES);
    const slot = pool.acquire(1);
    slot?.release();
    expect(pool.usedCount).toBe(0);
    expect(() => slot?.release()).toThrow(InvariantError);
    expect(pool.acquire(1)).toBe(slot);
  });

  it('calls those who wait, in turn, soon after a slot came free', async () => {
    const pool = new SlabPool(CLASSES);
    const slot = pool.acquire(1000);
    const seen: string[] = [];
    const wait = (name: string): void =>
      pool.whenAvailable(1000, () => {
        const got = pool.acquire(1000);
        seen.push(`${name} ${got === null ? 'nothing' : 'slot'}`);
        if (got === null) wait(name);
        else setImmediate(() => got.release());
      });
    wait('a');
    wait('b');
    wait('c');
    expect(seen).toEqual([]);
    slot?.release();
    expect(seen).toEqual([]);
    await nextTick();
    expect(seen).toEqual(['a slot']);
    await turns(5);
    expect(seen).toEqual(['a slot', 'b slot', 'c slot']);
    expect(pool.usedCount).toBe(0);
  });

  it('is not held up by one who waited and does not want a slot any more', async () => {
    const pool = new SlabPool(CLASSES);
    const slot = pool.acquire(1000);
    let got = false;
    pool.whenAvailable(1000, () => undefined);
    pool.whenAvailable(1000, () => (got = pool.acquire(1000) !== null));
    slot?.release();
    await nextTick();
    expect(got).toBe(true);
  });

  it('by default carries the largest request that NBD clients send unasked', () => {
    expect(new SlabPool().requestBytesMax).toBe(32 * 1024 * 1024);
    const bytesMax = DEFAULT_SIZE_CLASSES.reduce(
      (sum, { slotBytes, slotsMax }) => sum + slotBytes * slotsMax,
      0,
    );
    expect(bytesMax).toBeLessThan(256 * 1024 * 1024);
  });
});
