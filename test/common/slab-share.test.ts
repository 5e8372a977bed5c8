import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_SIZE_CLASSES, SlabPool, sizeClassesWithin } from '../../src/common/slab.js';
import type { BufferSlot, SlabShare } from '../../src/common/slab.js';

const MIB = 1024 * 1024;

function poolOf(slotsMax: number): SlabPool {
  return new SlabPool([
    { slotBytes: 100, slotsMax, slotsPerSlab: 2 },
    { slotBytes: 1000, slotsMax: 2, slotsPerSlab: 1 },
  ]);
}

/** Takes all that it can get. */
function takeAll(share: SlabShare, lengthBytes = 1): BufferSlot[] {
  const slots: BufferSlot[] = [];
  for (;;) {
    const slot = share.acquire(lengthBytes);
    if (slot === null) return slots;
    slots.push(slot);
  }
}

describe('a share of a pool', () => {
  it('is half of a class for one holder, and leaves a part for each that comes later', () => {
    const pool = poolOf(16);
    expect(takeAll(pool.share(MIB))).toHaveLength(8);
    expect(takeAll(pool.share(MIB))).toHaveLength(4);
    expect(takeAll(pool.share(MIB))).toHaveLength(2);
    expect(takeAll(pool.share(MIB))).toHaveLength(1);
    expect(takeAll(pool.share(MIB))).toHaveLength(1);
  });

  it('is at least one slot of the rarest class, while there is one', () => {
    const pool = poolOf(16);
    const [first, second, third] = [pool.share(MIB), pool.share(MIB), pool.share(MIB)];
    expect(takeAll(first, 1000)).toHaveLength(1);
    expect(takeAll(second, 1000)).toHaveLength(1);
    expect(takeAll(third, 1000)).toHaveLength(0);
  });

  it('is bounded in bytes over all classes, but lets one slot through', () => {
    const share = poolOf(16).share(250);
    expect(takeAll(share)).toHaveLength(2);
    expect(share.heldBytes).toBe(200);
    expect(share.acquire(1000)).toBeNull();
    const small = poolOf(16).share(10);
    const slot = small.acquire(1000);
    expect(slot).not.toBeNull();
    expect(small.acquire(1)).toBeNull();
    slot?.release();
    expect(small.heldBytes).toBe(0);
    expect(small.acquire(1)).not.toBeNull();
  });

  it('calls its holder when a slot of its own comes free, of another class too', async () => {
    const share = poolOf(16).share(1000);
    const big = share.acquire(1000);
    expect(share.acquire(1)).toBeNull();
    const again = new Promise<void>((resolve) => share.whenAvailable(1, resolve));
    big?.release();
    await again;
    expect(share.acquire(1)).not.toBeNull();
  });

  it('calls its holder when somebody else gives back', async () => {
    const pool = poolOf(2);
    const [one, other] = [pool.share(MIB), pool.share(MIB)];
    const [slot] = takeAll(one);
    expect(takeAll(other)).toHaveLength(1);
    const third = pool.share(MIB);
    expect(third.acquire(1)).toBeNull();
    const again = new Promise<void>((resolve) => third.whenAvailable(1, resolve));
    slot?.release();
    await again;
    expect(third.acquire(1)).not.toBeNull();
  });

  it('is wanted when it holds what others wait for, not when only its holder does', () => {
    const pool = poolOf(2);
    const [one, other, third] = [pool.share(MIB), pool.share(MIB), pool.share(MIB)];
    takeAll(one);
    one.whenAvailable(1, () => undefined);
    expect(one.isWanted).toBe(false);
    takeAll(other);
    third.whenAvailable(1, () => undefined);
    expect([one.isWanted, other.isWanted, third.isWanted]).toEqual([true, true, false]);
  });

  it('neither loses nor invents slots, whatever its holders do', async () => {
    const step = fc.record({ holder: fc.nat(3), takes: fc.boolean(), big: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
        const pool = poolOf(8);
        const shares = Array.from({ length: 4 }, () => pool.share(1500));
        const held: BufferSlot[][] = shares.map(() => []);
        let retries = 0;
        for (const { holder, takes, big } of steps) {
          const share = shares[holder]!;
          const slot = takes ? share.acquire(big ? 1000 : 1) : held[holder]!.shift()?.release();
          if (slot !== undefined && slot !== null) held[holder]!.push(slot);
          else if (takes) share.whenAvailable(big ? 1000 : 1, () => retries++);
        }
        expect(pool.usedCount).toBe(held.flat().length);
        for (const [index, share] of shares.entries()) {
          const bytes = held[index]!.reduce((sum, { capacity }) => sum + capacity, 0);
          expect(share.heldBytes).toBe(bytes);
          expect(bytes).toBeLessThanOrEqual(1500);
        }
        for (const slots of held) for (const slot of slots) slot.release();
        await new Promise(setImmediate);
        expect(pool.usedCount).toBe(0);
        expect(retries).toBeLessThanOrEqual(steps.length);
      }),
    );
  });
});

describe('size classes within a bound', () => {
  it.each([80, 160, 1024])('of %i MiB take about that much', (mib) => {
    const bytes = sizeClassesWithin(mib * MIB).reduce(
      (sum, { slotBytes, slotsMax }) => sum + slotBytes * slotsMax,
      0,
    );
    // The largest class never has fewer than two slots, and rounds down to whole ones.
    expect(bytes).toBeGreaterThan(64 * MIB);
    expect(bytes).toBeLessThanOrEqual(Math.max(mib, 110) * MIB);
  });

  it('are the default ones for their own size', () => {
    const bytes = DEFAULT_SIZE_CLASSES.reduce((sum, c) => sum + c.slotBytes * c.slotsMax, 0);
    expect(sizeClassesWithin(bytes)).toEqual(DEFAULT_SIZE_CLASSES);
  });
});
