import { assert } from './assert.js';

/** An item that a {@link LinkedQueue} can hold: the item itself has the link. */
export interface Linked<T> {
  /** The next item in the queue; null at the end, and outside any queue. Only the queue writes this field. */
  next: T | null;
}

/**
 * A first-in first-out queue that links its items through their own `next`. So it can have any length, and takes no
 * memory of its own. An item is in one queue at a time.
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

  /** The first item, which stays in the queue; null for an empty queue. */
  get head(): T | null {
    return this.#head;
  }

  push(item: T): void {
    item.next = null;
    if (this.#tail === null) this.#head = item;
    else this.#tail.next = item;
    this.#tail = item;
  }

  /** Puts an item in front of all others. */
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

  /** Takes all items out, and returns the first; {@link LinkedQueue.nextOf} gives the others. Null for an empty queue. */
  takeAll(): T | null {
    const first = this.#head;
    this.#head = null;
    this.#tail = null;
    return first;
  }

  /** Moves all items of `other` to the end of this queue, in their order. */
  append(other: LinkedQueue<T>): void {
    assert(other !== this, 'a queue was appended to itself');
    const last = other.#tail;
    const first = other.takeAll();
    if (first === null) return;
    if (this.#tail === null) this.#head = first;
    else this.#tail.next = first;
    this.#tail = last;
  }

  /** Unlinks an item of the chain that {@link takeAll} returned, and returns the item behind it. */
  static nextOf<T extends Linked<T>>(item: T): T | null {
    const { next } = item;
    item.next = null;
    return next;
  }
}
