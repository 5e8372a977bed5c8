import { assert } from './assert.js';

/** What a {@link LinkedQueue} can hold: it brings the link along. */
export interface Linked<T> {
  /** The one behind it in its queue; null at the end, and outside of a queue. Only the queue writes it. */
  next: T | null;
}

/**
 * A first-in first-out queue through its items' own `next`. So it has any length, and takes no memory of its own. An
 * item is in one queue at a time.
 *
 *     head ─► a ─next─► b ─next─► c ─next─► null
 *                                 ▲
 *                                tail
 */
export class LinkedQueue<T extends Linked<T>> {
  #head: T | null = null;
  #tail: T | null = null;

  get isEmpty(): boolean {
    return this.#head === null;
  }

  /** The first item, which stays; null for none. */
  get head(): T | null {
    return this.#head;
  }

  push(item: T): void {
    item.next = null;
    if (this.#tail === null) this.#head = item;
    else this.#tail.next = item;
    this.#tail = item;
  }

  /** Puts an item before all others. */
  unshift(item: T): void {
    item.next = this.#head;
    this.#head = item;
    this.#tail ??= item;
  }

  shift(): T | null {
    const item = this.#head;
    if (item === null) return null;
    this.#head = item.next;
    if (this.#head === null) this.#tail = null;
    item.next = null;
    return item;
  }

  /** Takes all items out: the first of the chain, for {@link LinkedQueue.nextOf}; null for none. */
  takeAll(): T | null {
    const first = this.#head;
    this.#head = null;
    this.#tail = null;
    return first;
  }

  /** Moves all items of `other` behind ours, in their order. */
  append(other: LinkedQueue<T>): void {
    assert(other !== this, 'a queue behind itself');
    const last = other.#tail;
    const first = other.takeAll();
    if (first === null) return;
    if (this.#tail === null) this.#head = first;
    else this.#tail.next = first;
    this.#tail = last;
  }

  /** Takes an item that {@link takeAll} gave out of its chain, and returns the one behind it. */
  static nextOf<T extends Linked<T>>(item: T): T | null {
    const { next } = item;
    item.next = null;
    return next;
  }
}
