/** A range `[startBytes, endBytes)`, not empty, that a {@link RangeIndex} can hold. */
export interface IndexedRange<Self> {
  readonly startBytes: number;
  readonly endBytes: number;
  /** The range's places in the index. Only the index uses them. */
  readonly firstLink: RangeLink<Self>;
  readonly secondLink: RangeLink<Self>;
}

/** A range's place in one chain of the index. */
export class RangeLink<Range> {
  readonly range: Range;
  next: RangeLink<Range> | null = null;
  previous: RangeLink<Range> | null = null;
  /** The chain's number; -1 outside any chain. */
  chain = -1;

  constructor(range: Range) {
    this.range = range;
  }
}

/** Decides about a range that overlaps the asked one; true ends the search. */
export type Accepts<Range> = (found: Range, asked: Range) => boolean;

/** Bytes per cell of the disk. Requests of usual size lie in one cell or two. */
const CELL_BYTES = 1024 * 1024;
/** A power of two. With a few hundred requests in flight, most chains are empty or have one link. */
const CHAINS = 4096;
/** The chain of ranges that reach over more than two cells. */
const WIDE_CHAIN = CHAINS;

/**
 * Finds the byte ranges that overlap a given one. The disk is cut into cells; each cell hashes to a chain. A range with
 * at most two cells is in the chains of its cells; all wider ranges are in one chain. Adding, removing and searching
 * take constant time, as long as the ranges are spread over the disk.
 */
export class RangeIndex<Range extends IndexedRange<Range>> {
  readonly #heads = new Array<RangeLink<Range> | null>(CHAINS + 1).fill(null);

  add(range: Range): void {
    const first = cellOf(range.startBytes);
    const last = cellOf(range.endBytes - 1);
    if (last - first > 1) {
      this.#push(range.firstLink, WIDE_CHAIN);
      return;
    }
    this.#push(range.firstLink, chainOf(first));
    if (last !== first) this.#push(range.secondLink, chainOf(last));
  }

  remove(range: Range): void {
    this.#unlink(range.firstLink);
    if (range.secondLink.chain >= 0) this.#unlink(range.secondLink);
  }

  /**
   * Calls `accepts` with each range that overlaps `range`, until `accepts` returns true; returns whether it did.
   * `accepts` may get a range twice, and must not change the index.
   */
  some(range: Range, accepts: Accepts<Range>): boolean {
    const first = cellOf(range.startBytes);
    const last = cellOf(range.endBytes - 1);
    if (this.#someOf(WIDE_CHAIN, range, accepts)) return true;
    if (last - first >= CHAINS) return this.#someAnywhere(range, accepts);
    for (let cell = first; cell <= last; cell++) {
      if (this.#someOf(chainOf(cell), range, accepts)) return true;
    }
    return false;
  }

  /** Calls `visit` once for each range. `visit` must not change the index. */
  forEach(visit: (range: Range) => void): void {
    for (const head of this.#heads) {
      for (let link = head; link !== null; link = link.next) {
        const { range } = link;
        if (link === range.firstLink) visit(range);
      }
    }
  }

  #someAnywhere(range: Range, accepts: Accepts<Range>): boolean {
    for (let chain = 0; chain < CHAINS; chain++) {
      if (this.#someOf(chain, range, accepts)) return true;
    }
    return false;
  }

  // `?? null` is for the compiler, here and in #push: a chain's number is masked, so the chain always exists.
  #someOf(chain: number, range: Range, accepts: Accepts<Range>): boolean {
    for (let link = this.#heads[chain] ?? null; link !== null; link = link.next) {
      const found = link.range;
      if (found.startBytes >= range.endBytes || range.startBytes >= found.endBytes) continue;
      if (accepts(found, range)) return true;
    }
    return false;
  }

  #push(link: RangeLink<Range>, chain: number): void {
    const head = this.#heads[chain] ?? null;
    link.chain = chain;
    link.previous = null;
    link.next = head;
    if (head !== null) head.previous = link;
    this.#heads[chain] = link;
  }

  #unlink(link: RangeLink<Range>): void {
    const { next, previous } = link;
    if (previous === null) this.#heads[link.chain] = next;
    else previous.next = next;
    if (next !== null) next.previous = previous;
    link.next = null;
    link.previous = null;
    link.chain = -1;
  }
}

function cellOf(offset: number): number {
  return Math.floor(offset / CELL_BYTES);
}

/** Neighbouring cells have different chains. Cell numbers stay below 2^33, and `&` keeps their low bits exactly. */
function chainOf(cell: number): number {
  return cell & (CHAINS - 1);
}
