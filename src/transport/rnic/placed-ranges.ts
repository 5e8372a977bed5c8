import { PLACED_ISLANDS_MAX } from '../limits.js';

/**
 * The exact set of bytes that a peer has placed in a registration: bytes that are placed twice count once, and no gap
 * is hidden. `front` is the length of the first part without a gap. Ranges after a gap are islands.
 *
 *     0        front                      start   end    start end
 *     |xxxxxxxxx|. . . . . . . . . . . . . |xxxxxxx|. . . |xxx|
 *
 * All known targets write in order, which costs two comparisons per segment. Islands exist only for other targets,
 * and their memory is allocated when a region first needs it. An island beyond the limit is not counted, so its bytes
 * count as missing. That causes an error for an unusual peer, but never hides a gap.
 */
// `?? 0` below is for the compiler: the indexes are below the island count, and so within the arrays.
export class PlacedRanges {
  #front = 0;
  #islandCount = 0;
  #starts: Int32Array | null = null;
  #ends: Int32Array | null = null;

  /** The number of placed bytes from the start to the first gap. */
  get front(): number {
    return this.#front;
  }

  reset(): void {
    this.#front = 0;
    this.#islandCount = 0;
  }

  /** `[start, end)` is placed. */
  add(start: number, end: number): void {
    if (start > this.#front) {
      if (end > start) this.#addIsland(start, end);
      return;
    }
    if (end <= this.#front) return;
    this.#front = end;
    if (this.#islandCount > 0) this.#reachIslands();
  }

  /** Extends the front over the islands that it touches. */
  #reachIslands(): void {
    const starts = this.#starts;
    const ends = this.#ends;
    if (starts === null || ends === null) return;
    for (let index = 0; index < this.#islandCount;) {
      if ((starts[index] ?? 0) > this.#front) {
        index++;
        continue;
      }
      this.#front = Math.max(this.#front, ends[index] ?? 0);
      this.#drop(starts, ends, index);
      // The front has moved, so it may touch an earlier island now.
      index = 0;
    }
  }

  /** Joins the range with all islands that it touches, and stores the result. */
  #addIsland(start: number, end: number): void {
    const starts = (this.#starts ??= new Int32Array(PLACED_ISLANDS_MAX));
    const ends = (this.#ends ??= new Int32Array(PLACED_ISLANDS_MAX));
    for (let index = 0; index < this.#islandCount;) {
      const islandStart = starts[index] ?? 0;
      const islandEnd = ends[index] ?? 0;
      if (islandStart > end || islandEnd < start) {
        index++;
        continue;
      }
      if (islandStart < start) start = islandStart;
      if (islandEnd > end) end = islandEnd;
      this.#drop(starts, ends, index);
      index = 0;
    }
    if (this.#islandCount === PLACED_ISLANDS_MAX) return;
    starts[this.#islandCount] = start;
    ends[this.#islandCount] = end;
    this.#islandCount++;
  }

  #drop(starts: Int32Array, ends: Int32Array, index: number): void {
    const last = --this.#islandCount;
    starts[index] = starts[last] ?? 0;
    ends[index] = ends[last] ?? 0;
  }
}
