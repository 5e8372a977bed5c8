import { assert } from './assert.js';

const INDEX_BITS = 12;
const INDEX_MASK = (1 << INDEX_BITS) - 1;
/** The generation never has all its bits set, so no tag is 0xffffffff, which iSCSI reserves. */
const GENERATION_LIMIT = 2 ** (32 - INDEX_BITS) - 1;

/** The most slots that one table holds. */
export const SLOT_TABLE_CAPACITY_MAX = 1 << INDEX_BITS;

/**
 * Preallocated objects, each known by a 32-bit tag, `generation << 12 | index`. A lookup is an array access. The table
 * recognizes a tag that was given back, until its generation number is used again.
 */
export class SlotTable<T> {
  readonly capacity: number;
  readonly #items: readonly T[];
  readonly #generations: Uint32Array;
  readonly #used: Uint8Array;
  readonly #free: Uint16Array;
  #freeCount: number;

  constructor(items: readonly T[]) {
    assert(
      items.length > 0 && items.length <= SLOT_TABLE_CAPACITY_MAX,
      `slot table of ${items.length}`,
    );
    this.capacity = items.length;
    this.#items = items;
    this.#generations = new Uint32Array(items.length);
    this.#used = new Uint8Array(items.length);
    this.#free = Uint16Array.from(items.keys()).reverse();
    this.#freeCount = items.length;
  }

  get freeCount(): number {
    return this.#freeCount;
  }

  get usedCount(): number {
    return this.capacity - this.#freeCount;
  }

  /** Takes a slot and returns its tag (unsigned 32 bits), or -1 when all slots are in use. */
  acquire(): number {
    if (this.#freeCount === 0) return -1;
    const index = this.#free[--this.#freeCount] ?? 0;
    this.#used[index] = 1;
    return (((this.#generations[index] ?? 0) << INDEX_BITS) | index) >>> 0;
  }

  /** The object of a tag that is in use now; undefined for a stale or foreign tag, or one that was never issued. */
  get(tag: number): T | undefined {
    const index = tag & INDEX_MASK;
    if (index >= this.capacity || this.#used[index] === 0) return undefined;
    return this.#generations[index] === tag >>> INDEX_BITS ? this.#items[index] : undefined;
  }

  /** Gives back a tag that {@link acquire} returned. */
  release(tag: number): void {
    assert(this.get(tag) !== undefined, 'release of a slot tag that is not in use');
    const index = tag & INDEX_MASK;
    this.#used[index] = 0;
    this.#generations[index] = ((this.#generations[index] ?? 0) + 1) % GENERATION_LIMIT;
    this.#free[this.#freeCount++] = index;
  }

  /** Calls `visit` for each slot in use. `visit` may release the slot that it gets. */
  forEachUsed(visit: (item: T, tag: number) => void): void {
    for (let index = 0; index < this.capacity; index++) {
      if (this.#used[index] === 0) continue;
      const item = this.#items[index];
      if (item !== undefined)
        visit(item, (((this.#generations[index] ?? 0) << INDEX_BITS) | index) >>> 0);
    }
  }
}
