import type { BlockRequest } from './device.js';

/** Requests in order, linked through their `next`: of any length, and without memory of its own. */
export class RequestQueue {
  #head: BlockRequest | null = null;
  #tail: BlockRequest | null = null;

  get isEmpty(): boolean {
    return this.#head === null;
  }

  push(request: BlockRequest): void {
    request.next = null;
    if (this.#tail === null) this.#head = request;
    else this.#tail.next = request;
    this.#tail = request;
  }

  shift(): BlockRequest | null {
    const request = this.#head;
    if (request === null) return null;
    this.#head = request.next;
    if (this.#head === null) this.#tail = null;
    request.next = null;
    return request;
  }
}
