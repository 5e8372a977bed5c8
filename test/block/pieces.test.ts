import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkRequest } from '../../src/block/check.js';
import { BlockOp, BlockRequest, BlockStatus } from '../../src/block/device.js';
import { ExtentList, clipExtents } from '../../src/block/extents.js';
import { RangeLock } from '../../src/block/range-lock.js';
import type { RangeHolder } from '../../src/block/range-lock.js';
import { RequestQueue } from '../../src/block/request-queue.js';
import { MemoryBlockDevice } from '../support/block-memory-device.js';

function holder(startBytes: number, endBytes: number, isExclusive: boolean) {
  const self: RangeHolder & { isHeld: boolean } = {
    startBytes,
    endBytes,
    isExclusive,
    isHeld: false,
    onRange: () => (self.isHeld = true),
    lockIndex: 0,
    nextWaiting: null,
  };
  return self;
}

describe('RangeLock', () => {
  it('lets holders share that are not exclusive', () => {
    const lock = new RangeLock();
    const [first, second] = [holder(0, 10, false), holder(5, 15, false)];
    lock.acquire(first);
    lock.acquire(second);
    expect([first.isHeld, second.isHeld]).toEqual([true, true]);
  });

  it('makes overlapping exclusive holders wait for each other, in order', () => {
    const lock = new RangeLock();
    const holders = [holder(0, 10, true), holder(9, 20, true), holder(19, 30, true)];
    for (const each of holders) lock.acquire(each);
    expect(holders.map((each) => each.isHeld)).toEqual([true, false, false]);
    lock.release(holders[0]!);
    expect(holders.map((each) => each.isHeld)).toEqual([true, true, false]);
    lock.release(holders[1]!);
    expect(holders.map((each) => each.isHeld)).toEqual([true, true, true]);
  });

  it('lets nobody overtake a waiting holder that it overlaps', () => {
    const lock = new RangeLock();
    const shared = holder(0, 10, false);
    const exclusive = holder(0, 10, true);
    const late = holder(5, 6, false);
    const elsewhere = holder(10, 20, false);
    for (const each of [shared, exclusive, late, elsewhere]) lock.acquire(each);
    expect([exclusive.isHeld, late.isHeld, elsewhere.isHeld]).toEqual([false, false, true]);
    lock.release(shared);
    expect([exclusive.isHeld, late.isHeld]).toEqual([true, false]);
    lock.release(exclusive);
    expect(late.isHeld).toBe(true);
  });

  it('never has conflicting holders at once, and serves all of them', () => {
    const range = fc.record({
      start: fc.nat(20),
      length: fc.integer({ min: 1, max: 8 }),
      isExclusive: fc.boolean(),
      picks: fc.nat(1000),
    });
    fc.assert(
      fc.property(fc.array(range, { maxLength: 40 }), (ranges) => {
        const lock = new RangeLock();
        const active: (RangeHolder & { isHeld: boolean })[] = [];
        let served = 0;
        const enter = (self: RangeHolder & { isHeld: boolean }) => {
          for (const other of active) {
            const overlaps = self.startBytes < other.endBytes && other.startBytes < self.endBytes;
            expect(overlaps && (self.isExclusive || other.isExclusive)).toBe(false);
          }
          active.push(self);
          served++;
        };
        for (const { start, length, isExclusive, picks } of ranges) {
          const next = holder(start, start + length, isExclusive);
          next.onRange = () => enter(next);
          lock.acquire(next);
          if (picks % 3 === 0 && active.length > 0) {
            lock.release(active.splice(picks % active.length, 1)[0]!);
          }
        }
        while (active.length > 0) lock.release(active.shift()!);
        expect(served).toBe(ranges.length);
      }),
    );
  });
});

describe('extents', () => {
  it('become one where neighbours are alike', () => {
    const list = new ExtentList();
    list.add(512, true, true);
    list.add(0, false, false);
    list.add(512, true, true);
    list.add(512, true, false);
    expect(list.lengthBytes).toBe(1536);
    expect(list.extents).toEqual([
      { lengthBytes: 1024, hole: true, zero: true },
      { lengthBytes: 512, hole: true, zero: false },
    ]);
  });

  it('are clipped to a part of what they cover, as a slow byte map says', () => {
    const extent = fc.record({
      lengthBytes: fc.integer({ min: 1, max: 20 }),
      hole: fc.boolean(),
      zero: fc.boolean(),
    });
    const mapOf = (extents: readonly { lengthBytes: number; hole: boolean; zero: boolean }[]) =>
      extents.flatMap(({ lengthBytes, hole, zero }) =>
        new Array<string>(lengthBytes).fill(`${hole}${zero}`),
      );
    fc.assert(
      fc.property(fc.array(extent), fc.nat(50), fc.nat(50), (extents, skip, length) => {
        const clipped = clipExtents(extents, skip, length);
        expect(mapOf(clipped)).toEqual(mapOf(extents).slice(skip, skip + length));
      }),
    );
  });
});

describe('RequestQueue', () => {
  it('gives requests back in order and lets go of them', () => {
    const queue = new RequestQueue();
    const requests = [1, 2, 3].map(() => new BlockRequest(() => undefined));
    for (const request of requests) queue.push(request);
    expect(queue.isEmpty).toBe(false);
    expect([queue.shift(), queue.shift(), queue.shift(), queue.shift()]).toEqual([
      ...requests,
      null,
    ]);
    expect(queue.isEmpty).toBe(true);
    expect(requests.every((request) => request.next === null)).toBe(true);
  });
});

describe('checkRequest', () => {
  const { info } = new MemoryBlockDevice({ sizeBytes: 4096 });

  function check(fields: Partial<BlockRequest>, changed: object = {}): BlockStatus {
    const request = Object.assign(new BlockRequest(() => undefined), fields);
    return checkRequest({ ...info, ...changed }, request);
  }

  it('permits no change of a read-only device, and everything else', () => {
    for (const op of [BlockOp.write, BlockOp.trim, BlockOp.writeZeroes]) {
      expect(check({ op, length: 512 }, { readOnly: true })).toBe(BlockStatus.notPermitted);
    }
    expect(check({ op: BlockOp.flush }, { readOnly: true })).toBe(BlockStatus.ok);
    expect(check({ op: BlockOp.cache, length: 512 }, { readOnly: true })).toBe(BlockStatus.ok);
  });

  it('says which operations do not exist', () => {
    expect(check({ op: BlockOp.flush }, { canFlush: false })).toBe(BlockStatus.notSupported);
    expect(check({ op: BlockOp.trim, length: 512 }, { canTrim: false })).toBe(
      BlockStatus.notSupported,
    );
    expect(check({ op: 17 as BlockOp, length: 512 })).toBe(BlockStatus.notSupported);
  });
});
