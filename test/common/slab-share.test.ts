import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SlabGroup } from '../../src/common/slab-share.js';
import type { SlabShare } from '../../src/common/slab-share.js';
import { DEFAULT_SIZE_CLASSES, SlabPool, sizeClassesWithin } from '../../src/common/slab.js';
import type { BufferSlot } from '../../src/common/slab.js';
import { turn } from '../support/waiting.js';

const MIB = 1024 * 1024;
const KIB = 1024;

function poolOf(slotsMax: number): SlabPool {
  return new SlabPool([
    { slotBytes: 100, slotsMax, slotsPerSlab: 2 },
    { slotBytes: 1000, slotsMax: 2, slotsPerSlab: 1 },
  ]);
}

/** A holder that is alone in its group. */
function single(pool: SlabPool, bytesMax = MIB): SlabShare {
  return new SlabGroup(pool).share(bytesMax);
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

/** Takes all that it can get, gives nothing back, and waits for more. */
function hog(share: SlabShare, lengthBytes = 1): number {
  const { length } = takeAll(share, lengthBytes);
  share.whenAvailable(lengthBytes, () => hog(share, lengthBytes));
  return length;
}

describe('what a slot held before', () => {
  /** Takes a slot, leaves `mark` in its first `lengthBytes`, and gives it back. Returns what it found there. */
  function pass(share: SlabShare | SlabPool, lengthBytes: number, mark: number): Buffer {
    const slot = share.acquire(lengthBytes);
    if (slot === null) throw new Error('no slot');
    const bytes = slot.slab.bytes.subarray(slot.offset, slot.offset + lengthBytes);
    const found = Buffer.from(bytes);
    bytes.fill(mark);
    slot.release();
    return found;
  }

  function shareFor(pool: SlabPool, user: object, clears: boolean): SlabShare {
    const share = single(pool);
    share.serve(user, clears);
    return share;
  }

  const [near, far] = [{}, {}];

  it('is shown to nobody who asks not to see it', () => {
    const pool = poolOf(1);
    pass(shareFor(pool, near, false), 100, 7);
    expect(pass(shareFor(pool, far, true), 100, 8)).toEqual(Buffer.alloc(100));
    pass(shareFor(pool, near, false), 40, 7);
    expect(pass(shareFor(pool, far, true), 100, 8)).toEqual(Buffer.alloc(100));
  });

  it('is cleared as far as anybody before used it, however little the next one takes', () => {
    const pool = poolOf(1);
    pass(shareFor(pool, near, false), 100, 7);
    const share = shareFor(pool, far, true);
    pass(share, 10, 8);
    expect(pass(share, 100, 8)).toEqual(Buffer.concat([Buffer.alloc(10, 8), Buffer.alloc(90)]));
  });

  it('is left alone for its own user, over all its shares', () => {
    const pool = poolOf(1);
    pass(shareFor(pool, far, true), 100, 8);
    expect(pass(shareFor(pool, far, true), 100, 8)).toEqual(Buffer.alloc(100, 8));
  });

  it('is cleared too when its user did not ask for that before, or is not known', () => {
    const pool = poolOf(1);
    pass(shareFor(pool, near, false), 100, 7);
    pass(shareFor(pool, far, false), 10, 8);
    expect(pass(shareFor(pool, far, true), 100, 8)).toEqual(Buffer.alloc(100));
    pass(pool, 50, 6);
    expect(pass(shareFor(pool, far, true), 100, 8)).toEqual(Buffer.alloc(100));
  });
});

describe('a share of a pool', () => {
  it('is less than half of a class for one holder, and leaves a part for each that comes later', () => {
    const pool = poolOf(16);
    expect([1, 2, 3, 4, 5].map(() => takeAll(single(pool)).length)).toEqual([6, 4, 2, 1, 1]);
  });

  it('is at least one slot of the rarest class, while there is one', () => {
    const pool = poolOf(16);
    const [first, second, third] = [single(pool), single(pool), single(pool)];
    expect(takeAll(first, 1000)).toHaveLength(1);
    expect(takeAll(second, 1000)).toHaveLength(1);
    expect(takeAll(third, 1000)).toHaveLength(0);
  });

  it('is bounded in bytes over all classes, but lets one slot through', () => {
    const share = single(poolOf(16), 250);
    expect(takeAll(share)).toHaveLength(2);
    expect(share.heldBytes).toBe(200);
    expect(share.acquire(1000)).toBeNull();
    const small = single(poolOf(16), 10);
    const slot = small.acquire(1000);
    expect(slot).not.toBeNull();
    expect(small.acquire(1)).toBeNull();
    slot?.release();
    expect(small.heldBytes).toBe(0);
    expect(small.acquire(1)).not.toBeNull();
  });

  it('calls its holder when a slot of its own comes free, of another class too', async () => {
    const share = single(poolOf(16), 1000);
    const big = share.acquire(1000);
    expect(share.acquire(1)).toBeNull();
    const again = new Promise<void>((resolve) => share.whenAvailable(1, resolve));
    big?.release();
    await again;
    expect(share.acquire(1)).not.toBeNull();
  });

  it('calls its holder when somebody else gives back', async () => {
    const pool = poolOf(2);
    const [one, other] = [single(pool), single(pool)];
    const [slot] = takeAll(one);
    expect(takeAll(other)).toHaveLength(1);
    const third = single(pool);
    expect(third.acquire(1)).toBeNull();
    const again = new Promise<void>((resolve) => third.whenAvailable(1, resolve));
    slot?.release();
    await again;
    expect(third.acquire(1)).not.toBeNull();
  });

  it('is wanted when it holds what others lack, not when only its holder wants more', () => {
    const pool = poolOf(2);
    const [one, other, third] = [single(pool), single(pool), single(pool)];
    takeAll(one);
    one.whenAvailable(1, () => undefined);
    expect(one.isWanted).toBe(false);
    takeAll(other);
    expect(one.isWanted).toBe(false);
    third.whenAvailable(1, () => undefined);
    expect([one.isWanted, other.isWanted, third.isWanted]).toEqual([true, true, false]);
    third.close();
    expect(one.isWanted).toBe(false);
  });

  it('is not wanted by a neighbour that has some, nor by another group while others are free', () => {
    const pool = poolOf(64);
    const group = new SlabGroup(pool);
    const [slow, greedy] = [group.share(MIB), group.share(MIB)];
    takeAll(slow);
    takeAll(greedy);
    greedy.whenAvailable(1, () => undefined);
    const elsewhere = new SlabGroup(pool).share(0);
    elsewhere.acquire(1000);
    elsewhere.whenAvailable(1, () => undefined);
    expect(slow.isWanted).toBe(false);
  });
});

describe('a group of holders', () => {
  it('leaves to others what it takes, however many holders it has', () => {
    const pool = new SlabPool();
    const group = new SlabGroup(pool);
    const hogs = Array.from({ length: 200 }, () => group.share(64 * MIB));
    for (const { slotBytes, slotsMax } of DEFAULT_SIZE_CLASSES) {
      const taken = hogs.reduce((sum, share) => sum + hog(share, slotBytes), 0);
      // A first slot for each comes on top of the half.
      expect(taken).toBeLessThanOrEqual((2 * slotsMax) / 3);
      const other = takeAll(single(pool), slotBytes).length;
      expect(other).toBeGreaterThanOrEqual(Math.max(1, Math.floor(slotsMax / 32)));
    }
  });

  it.each(DEFAULT_SIZE_CLASSES.map(({ slotBytes }) => slotBytes))(
    'of hogs lets one that gives back go on, in slots of %i bytes',
    async (slotBytes) => {
      const pool = new SlabPool();
      const group = new SlabGroup(pool);
      const good = group.share(64 * MIB);
      good.isProven = true;
      for (let count = 0; count < 200; count++) hog(group.share(64 * MIB), slotBytes);
      for (let count = 0; count < 50; count++) {
        const slot = good.acquire(slotBytes);
        expect(slot).not.toBeNull();
        slot?.release();
        await turn();
      }
    },
  );

  it('has no second slot for one while another one waits for its first, until that has left', async () => {
    const pool = poolOf(16);
    const group = new SlabGroup(pool);
    const [one, gone] = [group.share(MIB), group.share(MIB)];
    expect(one.acquire(1)).not.toBeNull();
    gone.whenAvailable(1, () => expect.fail('it was called though it had left'));
    expect(one.acquire(1)).toBeNull();
    const again = new Promise<void>((resolve) => one.whenAvailable(1, resolve));
    gone.close();
    await again;
    expect(one.acquire(1)).not.toBeNull();
    await turn();
  });

  it('neither loses nor invents slots, and forgets nobody, whatever its holders do', async () => {
    const step = fc.record({
      holder: fc.nat(5),
      does: fc.constantFrom('take', 'take', 'take', 'give', 'give', 'prove', 'wait'),
      big: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const pool = poolOf(8);
        const groups = [new SlabGroup(pool), new SlabGroup(pool), new SlabGroup(pool)];
        const shares = Array.from({ length: 6 }, (_, index) => groups[index % 3]!.share(1500));
        const held: BufferSlot[][] = shares.map(() => []);
        let waiting = 0;
        for (const { holder, does, big } of steps) {
          const share = shares[holder]!;
          if (does === 'give') held[holder]!.shift()?.release();
          else if (does === 'prove') share.isProven = !share.isProven;
          else if (does === 'wait') await turn();
          else {
            const slot = share.acquire(big ? 1000 : 1);
            if (slot !== null) held[holder]!.push(slot);
            else {
              waiting++;
              share.whenAvailable(big ? 1000 : 1, () => waiting--);
            }
          }
        }
        expect(pool.usedCount).toBe(held.flat().length);
        for (const [index, share] of shares.entries()) {
          const bytes = held[index]!.reduce((sum, { capacity }) => sum + capacity, 0);
          expect(share.heldBytes).toBe(bytes);
          expect(bytes).toBeLessThanOrEqual(1500);
        }
        for (const slots of held) for (const slot of slots) slot.release();
        await turn();
        expect(pool.usedCount).toBe(0);
        expect(waiting).toBe(0);
        for (const { heldCounts, starvingCounts } of groups) {
          expect([...heldCounts, ...starvingCounts]).toEqual([0, 0, 0, 0]);
        }
      }),
    );
  });

  it('serves each of several that take turns, in a pool that is too small for all', async () => {
    const pool = new SlabPool([{ slotBytes: KIB, slotsMax: 3, slotsPerSlab: 1 }]);
    const group = new SlabGroup(pool);
    const done = [0, 0, 0, 0, 0];
    const work = async (index: number): Promise<void> => {
      const share = group.share(MIB);
      for (let count = 0; count < 40; count++) {
        let slot = share.acquire(1);
        while (slot === null) {
          await new Promise<void>((resolve) => share.whenAvailable(1, resolve));
          slot = share.acquire(1);
        }
        await turn();
        slot.release();
        done[index]!++;
      }
    };
    await Promise.all(done.map((_, index) => work(index)));
    expect(done).toEqual([40, 40, 40, 40, 40]);
    expect(pool.usedCount).toBe(0);
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
