import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PLACED_ISLANDS_MAX } from '../../../src/transport/limits.js';
import { PlacedRanges } from '../../../src/transport/rnic/placed-ranges.js';

const BYTES = 200;

/** How far `placed` is true from its start. */
function frontOf(placed: readonly boolean[]): number {
  const gap = placed.indexOf(false);
  return gap < 0 ? placed.length : gap;
}

function rangesOf(...pieces: readonly (readonly [number, number])[]): PlacedRanges {
  const ranges = new PlacedRanges();
  for (const [start, end] of pieces) ranges.add(start, end);
  return ranges;
}

describe('the bytes that a peer has placed', () => {
  it('reach from the start as far as there is no gap, in whatever order and however often they come', () => {
    const piece = fc
      .tuple(fc.nat(BYTES), fc.nat(BYTES))
      .map(([one, other]) => [Math.min(one, other), Math.max(one, other)] as const);
    fc.assert(
      fc.property(fc.array(piece, { maxLength: PLACED_ISLANDS_MAX }), (pieces) => {
        const ranges = new PlacedRanges();
        const placed = new Array<boolean>(BYTES).fill(false);
        for (const [start, end] of pieces) {
          ranges.add(start, end);
          placed.fill(true, start, end);
          expect(ranges.front).toBe(frontOf(placed));
        }
      }),
      { numRuns: 2000 },
    );
  });

  it('count once where they are placed twice, so that nothing hides a gap', () => {
    expect(rangesOf([0, 100], [0, 100], [50, 150]).front).toBe(150);
    expect(rangesOf([0, 100], [200, 300], [200, 300], [250, 400]).front).toBe(100);
  });

  it('may come from the end to the start', () => {
    const ranges = new PlacedRanges();
    for (let at = 1000; at > 0; at--) ranges.add(4 * at, 4 * at + 4);
    expect(ranges.front).toBe(0);
    ranges.add(0, 4);
    expect(ranges.front).toBe(4004);
  });

  it('are forgotten with the registration', () => {
    const ranges = rangesOf([0, 10], [20, 30]);
    ranges.reset();
    expect(ranges.front).toBe(0);
    ranges.add(0, 20);
    expect(ranges.front).toBe(20);
  });

  it('count as missing beyond more gaps than are kept, never as there', () => {
    const ranges = new PlacedRanges();
    for (let index = 1; index <= PLACED_ISLANDS_MAX + 1; index++) {
      ranges.add(10 * index, 10 * index + 5);
    }
    for (let index = 0; index <= PLACED_ISLANDS_MAX + 1; index++) {
      ranges.add(10 * index + 5, 10 * index + 10);
    }
    ranges.add(0, 5);
    expect(ranges.front).toBe(10 * (PLACED_ISLANDS_MAX + 1));
  });
});
