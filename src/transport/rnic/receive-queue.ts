import { assert } from '../../common/assert.js';
import type { ReceiveWorkRequest } from '../verbs.js';
import { VerbsError } from '../verbs.js';

/**
 * The ring of posted receives. A message takes the receive at `next`. The receives before `next` have their
 * completion in the completion queue, and are freed when it is delivered.
 */
export class ReceiveQueue {
  readonly requestsMax: number;
  readonly #requests: (ReceiveWorkRequest | null)[];
  readonly #mask: number;
  #head = 0;
  #next = 0;
  #tail = 0;

  constructor(requestsMax: number) {
    this.requestsMax = requestsMax;
    const capacity = 1 << Math.ceil(Math.log2(Math.max(requestsMax, 1)));
    this.#requests = new Array<ReceiveWorkRequest | null>(capacity).fill(null);
    this.#mask = capacity - 1;
  }

  get postedCount(): number {
    return (this.#tail - this.#head) | 0;
  }

  get tail(): number {
    return this.#tail;
  }

  /** The position after the last receive that {@link consume} returned. */
  get position(): number {
    return this.#next;
  }

  isReleased(position: number): boolean {
    return ((position - this.#head) | 0) <= 0;
  }

  /**
   * Appends a complete chain, or nothing.
   * @throws VerbsError when the queue has no room
   */
  post(first: ReceiveWorkRequest): void {
    let count = 0;
    for (let request: ReceiveWorkRequest | null = first; request !== null; request = request.next) {
      count++;
    }
    if (this.postedCount + count > this.requestsMax) {
      throw new VerbsError(
        'receive-queue-full',
        `The receive queue holds ${this.requestsMax} work requests and has no room for ${count} more.`,
        { requestsMax: this.requestsMax, posted: this.postedCount, count },
      );
    }
    for (let request: ReceiveWorkRequest | null = first; request !== null; request = request.next) {
      this.#requests[this.#tail & this.#mask] = request;
      this.#tail = (this.#tail + 1) | 0;
    }
  }

  /** The receive of the current message; null when no receive is posted. */
  peek(): ReceiveWorkRequest | null {
    if (this.#next === this.#tail) return null;
    const request = this.#requests[this.#next & this.#mask];
    assert(request !== undefined && request !== null, 'receive queue without a posted request');
    return request;
  }

  consume(): ReceiveWorkRequest {
    const request = this.peek();
    assert(request !== null, 'no posted receive to complete');
    this.#next = (this.#next + 1) | 0;
    return request;
  }

  release(position: number): void {
    while (((position - this.#head) | 0) > 0) {
      this.#requests[this.#head & this.#mask] = null;
      this.#head = (this.#head + 1) | 0;
    }
  }
}
