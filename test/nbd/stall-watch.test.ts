import { beforeEach, describe, expect, it } from 'vitest';
import { SlabGroup } from '../../src/common/slab-share.js';
import type { SlabShare } from '../../src/common/slab-share.js';
import { SlabPool } from '../../src/common/slab.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { StallWatch } from '../../src/nbd/stall-watch.js';

const LIMITS = { ...DEFAULT_LIMITS, stallMs: 10_000, contendedStallMs: 3_000 };
const client = { progress: 0, awaitsPeer: false };
let pool: SlabPool;
let share: SlabShare;
let watch: StallWatch;

beforeEach(() => {
  client.progress = 0;
  client.awaitsPeer = false;
  pool = new SlabPool([{ slotBytes: 100, slotsMax: 1, slotsPerSlab: 1 }]);
  share = new SlabGroup(pool).share(1000);
  watch = new StallWatch(client, share, LIMITS);
});

function looks(count: number): (number | null)[] {
  return Array.from({ length: count }, () => watch.look());
}

describe('a client that is watched', () => {
  it('is left alone while it is idle, or goes on', () => {
    expect(looks(100)).toEqual(new Array(100).fill(null));
    client.awaitsPeer = true;
    for (let count = 0; count < 100; count++) {
      client.progress++;
      expect(watch.look()).toBeNull();
    }
  });

  it('is to be cut off when it stands still for long', () => {
    client.awaitsPeer = true;
    expect(looks(10)).toEqual([...new Array<null>(9).fill(null), 10_000]);
  });

  it('is to be cut off sooner when it has what others lack', () => {
    share.acquire(1);
    new SlabGroup(pool).share(1000).whenAvailable(1, () => undefined);
    client.awaitsPeer = true;
    expect(looks(3)).toEqual([null, null, 3000]);
  });

  it('is proven when it went on twice, until it stands still', () => {
    client.progress++;
    watch.look();
    expect(share.isProven).toBe(false);
    // What it does not do for a while says nothing.
    looks(10);
    client.progress++;
    watch.look();
    looks(10);
    expect(share.isProven).toBe(true);
    client.awaitsPeer = true;
    watch.look();
    expect(share.isProven).toBe(false);
    // What the kernel takes in one go for a client that does not read is no proof.
    client.progress++;
    watch.look();
    watch.look();
    client.progress++;
    watch.look();
    expect(share.isProven).toBe(false);
  });
});
