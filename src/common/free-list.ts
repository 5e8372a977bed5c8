import { assert } from './assert.js';

/**
 * Objects that are made once and used again and again. The object that was given back last is taken first, as it is
 * still in the processor's cache. There are never more than `countMax` objects: a user that finds the list exhausted
 * waits. Where something else bounds the users, the list has no bound of its own (`Infinity`).
 */
export class FreeList<T> {
  readonly countMax: number;
  readonly #make: () => T;
  readonly #free: T[] = [];
  #count = 0;

  /** `make` is called for the first `countMax` objects, one at a time, when they are needed. */
  constructor(countMax: number, make: () => T) {
    assert(countMax > 0, 'a free list of nothing');
    this.countMax = countMax;
    this.#make = make;
  }

  /** How many objects are in use. */
  get usedCount(): number {
    return this.#count - this.#free.length;
  }

  get isExhausted(): boolean {
    return this.#free.length === 0 && this.#count === this.countMax;
  }

  /** The caller has checked {@link isExhausted} where there is a bound. */
  take(): T {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    assert(this.#count < this.countMax, 'a free list is exhausted');
    this.#count++;
    return this.#make();
  }

  /** Gives back what {@link take} returned. */
  give(item: T): void {
    assert(this.#free.length < this.#count, 'given back what was not taken');
    this.#free.push(item);
  }

  /** Forgets the objects that nobody uses. */
  trim(): void {
    this.#count -= this.#free.length;
    this.#free.length = 0;
  }
}
