import { PLACED_ISLANDS_MAX } from '../limits.js';

/**
 * Which bytes of a registration a peer has placed, exactly: bytes that are placed twice count once, and nothing hides a
 * gap. What matters is how far the bytes reach from the start without one, so that is kept as a number, and what lies
 * beyond a gap as islands.
 *
 *     0        front                      start   end    start end
 *     |xxxxxxxxx|. . . . . . . . . . . . . |xxxxxxx|. . . |xxx|
 *
 * A peer that writes in order, as all known targets do, costs two comparisons per segment. Islands exist only while it
 * does not; the memory for them is taken when a region first needs it. An island too many is not counted, and the bytes
 * in it count as missing: an error for a peer that does what none does, and never a gap that is overlooked.
 */
// `?? 0` below is for the compiler: the indexes are below the island count, and so within the arrays.
export class PlacedRanges {
  #front = 0;
  #islandCount = 0;
  #starts: Int32Array | null = null;
  #ends: Int32Array | null = null;

  /** Bytes from the start on that are all placed. */
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

  /** Lets the front go on over the islands that it has come to. */
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
      // The front has moved, so one that was passed over may be in reach now.
      index = 0;
    }
  }

  /** Joins the range with all islands that it touches, and keeps what comes of it. */
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
