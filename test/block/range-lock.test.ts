import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { HeldRange, RangeLock } from '../../src/block/range-lock.js';
import type { RangeAccess } from '../../src/block/range-lock.js';
import { Requester } from '../../src/common/requester.js';

const MIB = 1024 * 1024;

class TestRange extends HeldRange {
  isHeld = false;

  constructor(
    startBytes: number,
    endBytes: number,
    access: RangeAccess,
    requester: Requester,
    onHeld: (range: TestRange) => void = () => undefined,
  ) {
    super(() => {
      this.isHeld = true;
      onHeld(this);
    });
    this.startBytes = startBytes;
    this.endBytes = endBytes;
    this.access = access;
    this.requester = requester;
  }
}

function overlap(a: HeldRange, b: HeldRange): boolean {
  return a.startBytes < b.endBytes && b.startBytes < a.endBytes;
}

describe('RangeLock', () => {
  const [ours, theirs, third] = [new Requester(), new Requester(), new Requester()];

  it('lets changes of one requester overlap', () => {
    const lock = new RangeLock();
    const [first, second] = [
      new TestRange(0, 10, 'change', ours),
      new TestRange(5, 15, 'change', ours),
    ];
    lock.acquire(first);
    lock.acquire(second);
    expect([first.isHeld, second.isHeld]).toEqual([true, true]);
  });

  it.each(['look', 'change', 'revise'] as const)(
    'makes a %s of another requester wait for a change that it overlaps, and for no other',
    (access) => {
      const lock = new RangeLock();
      const change = new TestRange(1000, 2000, 'change', ours);
      const before = new TestRange(0, 1000, access, theirs);
      const within = new TestRange(1999, 2010, access, theirs);
      const behind = new TestRange(2010, 3000, access, theirs);
      for (const range of [change, before, within, behind]) lock.acquire(range);
      expect([before.isHeld, within.isHeld, behind.isHeld]).toEqual([true, false, true]);
      lock.release(change);
      expect(within.isHeld).toBe(true);
    },
  );

  it('lets nobody wait for a look', () => {
    const lock = new RangeLock();
    lock.acquire(new TestRange(0, 10, 'look', ours));
    const change = new TestRange(0, 10, 'change', theirs);
    lock.acquire(change);
    expect(change.isHeld).toBe(true);
  });

  it('makes overlapping revisions of one requester wait for each other, in order', () => {
    const lock = new RangeLock();
    const ranges = [
      new TestRange(0, 10, 'revise', ours),
      new TestRange(9, 20, 'revise', ours),
      new TestRange(19, 30, 'revise', ours),
    ];
    for (const range of ranges) lock.acquire(range);
    expect(ranges.map(({ isHeld }) => isHeld)).toEqual([true, false, false]);
    lock.release(ranges[0]!);
    expect(ranges.map(({ isHeld }) => isHeld)).toEqual([true, true, false]);
    lock.release(ranges[1]!);
    expect(ranges.map(({ isHeld }) => isHeld)).toEqual([true, true, true]);
  });

  it('lets nobody overtake a waiting change that it overlaps', () => {
    const lock = new RangeLock();
    const shared = new TestRange(0, 10, 'change', ours);
    const revision = new TestRange(0, 10, 'revise', ours);
    const late = new TestRange(5, 6, 'change', ours);
    const reader = new TestRange(5, 6, 'look', theirs);
    const elsewhere = new TestRange(10, 20, 'change', ours);
    for (const range of [shared, revision, late, reader, elsewhere]) lock.acquire(range);
    expect([revision.isHeld, late.isHeld, reader.isHeld, elsewhere.isHeld]).toEqual([
      false,
      false,
      false,
      true,
    ]);
    lock.release(shared);
    expect([revision.isHeld, late.isHeld, reader.isHeld]).toEqual([true, false, false]);
    lock.release(revision);
    expect([late.isHeld, reader.isHeld]).toEqual([true, false]);
    lock.release(late);
    expect(reader.isHeld).toBe(true);
  });

  it('does not let changes that came after a look keep it waiting', () => {
    const lock = new RangeLock();
    const early = new TestRange(0, 10, 'change', ours);
    const look = new TestRange(0, 10, 'look', theirs);
    const late = new TestRange(0, 10, 'change', ours);
    for (const range of [early, look, late]) lock.acquire(range);
    expect([look.isHeld, late.isHeld]).toEqual([false, true]);
    lock.release(early);
    expect(look.isHeld).toBe(true);
  });

  it('makes everybody wait for a change that was seized', () => {
    const lock = new RangeLock();
    const seized = new TestRange(0, 10, 'change', third);
    lock.seize(seized);
    const waiting = new TestRange(0, 1, 'look', ours);
    lock.acquire(waiting);
    expect(waiting.isHeld).toBe(false);
    lock.release(seized);
    expect(waiting.isHeld).toBe(true);
  });

  it('shows what is held, each once, and since when', () => {
    const lock = new RangeLock();
    const small = new TestRange(0, 512, 'change', ours);
    const acrossCells = new TestRange(MIB - 512, MIB + 512, 'change', ours);
    lock.acquire(small);
    expect(lock.tick()).toBe(1);
    lock.acquire(acrossCells);
    const wide = new TestRange(0, 1024 * MIB, 'change', ours);
    lock.acquire(wide);
    lock.acquire(new TestRange(0, 512, 'change', theirs));
    const shown = new Map<HeldRange, number>();
    lock.forEachHeld((range) => {
      expect(shown.has(range)).toBe(false);
      shown.set(range, range.heldSinceTick);
    });
    expect(shown).toEqual(
      new Map([
        [small, 0],
        [acrossCells, 1],
        [wide, 1],
      ]),
    );
  });

  /** Ranges within a cell, across cells, over many, and over more cells than there are chains. */
  const start = fc.oneof(
    fc.nat(40),
    fc.nat(12).map((cell) => cell * MIB - (cell === 0 ? 0 : 20)),
  );
  const length = fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 1, max: 40 }) },
    { weight: 1, arbitrary: fc.integer({ min: MIB, max: 6 * MIB }) },
    { weight: 1, arbitrary: fc.constant(6000 * MIB) },
  );
  const step = fc.record({
    start,
    length,
    access: fc.constantFrom<RangeAccess>('look', 'change', 'revise'),
    requester: fc.nat(2),
    picks: fc.nat(1000),
  });

  it('never lets conflicting ranges be held at once, keeps the order, and serves all', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const lock = new RangeLock();
        const requesters = [new Requester(), new Requester(), new Requester()];
        const held: TestRange[] = [];
        const waiting: TestRange[] = [];
        let served = 0;
        const conflict = (a: TestRange, b: TestRange): boolean => {
          if (!overlap(a, b) || b.access === 'look') return false;
          if (a.requester !== b.requester) return true;
          return a.access !== 'look' && (a.access === 'revise' || b.access === 'revise');
        };
        const onHeld = (range: TestRange): void => {
          const at = waiting.indexOf(range);
          if (at >= 0) waiting.splice(at, 1);
          const earlier = [...held, ...waiting].filter(({ turn }) => turn < range.turn);
          expect(earlier.some((other) => conflict(range, other))).toBe(false);
          if (range.access !== 'look') held.push(range);
          served++;
        };
        for (const { start, length, access, requester, picks } of steps) {
          const range = new TestRange(
            start,
            start + length,
            access,
            requesters[requester]!,
            onHeld,
          );
          lock.acquire(range);
          if (!range.isHeld) {
            waiting.push(range);
            expect(held.some((other) => conflict(range, other)) || waiting.length > 1).toBe(true);
          }
          if (picks % 3 === 0 && held.length > 0) {
            lock.release(held.splice(picks % held.length, 1)[0]!);
          }
        }
        while (held.length > 0) lock.release(held.shift()!);
        expect(served).toBe(steps.length);
        expect(requesters.every((each) => each.heldCount === 0 && lock.isClearFor(each))).toBe(
          true,
        );
      }),
      { numRuns: 500 },
    );
  });
});
