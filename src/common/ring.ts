import { assert } from './assert.js';

/**
 * A first-in first-out queue of bounded size. It allocates once:
 *
 *     slots  [ . | c | d | e | . | . | . | . ]     capacity is a power of two
 *                  ^head        ^tail              index = counter & mask
 */
export class Ring<T> {
  readonly capacity: number;
  readonly #slots: (T | undefined)[];
  readonly #mask: number;
  #head = 0;
  #tail = 0;

  /** `capacityMin` is rounded up to a power of two. */
  constructor(capacityMin: number) {
    assert(capacityMin > 0 && capacityMin <= 1 << 24, `ring capacity ${capacityMin}`);
    this.capacity = 1 << Math.ceil(Math.log2(capacityMin));
    this.#mask = this.capacity - 1;
    this.#slots = new Array<T | undefined>(this.capacity).fill(undefined);
  }

  get length(): number {
    return (this.#tail - this.#head) | 0;
  }

  get isFull(): boolean {
    return this.length === this.capacity;
  }

  /** The caller has checked {@link isFull}. */
  push(item: T): void {
    assert(!this.isFull, 'ring overflow');
    this.#slots[this.#tail & this.#mask] = item;
    this.#tail = (this.#tail + 1) | 0;
  }

  peek(): T | undefined {
    return this.#slots[this.#head & this.#mask];
  }

  shift(): T | undefined {
    if (this.#head === this.#tail) return undefined;
    const index = this.#head & this.#mask;
    const item = this.#slots[index];
    this.#slots[index] = undefined;
    this.#head = (this.#head + 1) | 0;
    return item;
  }
}
