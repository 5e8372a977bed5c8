import { assert } from '../../common/assert.js';
import type { SendWorkRequest } from '../verbs.js';
import { NO_MEMORY_KEY, VerbsError, WorkOpcode, WorkStatus } from '../verbs.js';

/** The state of a send slot. `executed`: nothing uses the request's memory any more, and its status is known. */
type SendState = 'free' | 'posted' | 'taken' | 'executed';

/** One slot of a send queue, made once. A driver holds the slot from `takeSend` to `completeSend`. */
export class SendSlot {
  request: SendWorkRequest | null = null;
  state: SendState = 'free';
  status: WorkStatus = WorkStatus.success;
  byteLength = 0;
  /** RDMA Read: the key of the memory for the response. */
  sinkKey = NO_MEMORY_KEY;
  /** RDMA Read: the bytes that the response has placed. */
  readPlaced = 0;

  /** The request. It is set from posting to completion. */
  get posted(): SendWorkRequest {
    assert(this.request !== null, 'send slot without a request');
    return this.request;
  }

  /** True for an RDMA Read. It waits for its response, and the wire holds none of its memory. */
  get isRead(): boolean {
    return this.request?.opcode === WorkOpcode.rdmaRead;
  }
}

/** Passes a finished request to the completion queue. `position` is for a later {@link SendQueue.release}. */
export type SendReport = (
  request: SendWorkRequest,
  position: number,
  status: WorkStatus,
  byteLength: number,
) => void;

/**
 * The ring of posted send requests. Its counters never pass the counter to their right:
 *
 *     head        covered          reported        next          tail
 *      |  delivered  |  unsignalled   | with the wire  |  waiting  |
 *      |  soon       |  successes     |                |           |
 *
 * Slots before `covered` have a completion in the completion queue: their own, or a later one that implies theirs.
 * They are freed when that completion is delivered. Successes between `covered` and `reported` are unsignalled and
 * wait for a signalled one. If the queue pair fails first, they are flushed like the rest.
 */
export class SendQueue {
  readonly requestsMax: number;
  readonly #slots: SendSlot[];
  readonly #mask: number;
  readonly #report: SendReport;
  #head = 0;
  #covered = 0;
  #reported = 0;
  #next = 0;
  #tail = 0;

  constructor(requestsMax: number, report: SendReport) {
    this.requestsMax = requestsMax;
    const capacity = 1 << Math.ceil(Math.log2(Math.max(requestsMax, 1)));
    this.#slots = Array.from({ length: capacity }, () => new SendSlot());
    this.#mask = capacity - 1;
    this.#report = report;
  }

  get postedCount(): number {
    return (this.#tail - this.#head) | 0;
  }

  get waitingCount(): number {
    return (this.#tail - this.#next) | 0;
  }

  /** The number of requests that are taken, or executed after a taken one. */
  get unreportedCount(): number {
    return (this.#next - this.#reported) | 0;
  }

  get tail(): number {
    return this.#tail;
  }

  /** True when every request before `position` has been taken. */
  hasTaken(position: number): boolean {
    return ((position - this.#next) | 0) <= 0;
  }

  /** True when every request up to `position` has been delivered or freed. */
  isReleased(position: number): boolean {
    return ((position - this.#head) | 0) <= 0;
  }

  /**
   * Appends a complete chain, or nothing.
   * @throws VerbsError when the queue has no room
   */
  post(first: SendWorkRequest): void {
    let count = 0;
    for (let request: SendWorkRequest | null = first; request !== null; request = request.next) {
      count++;
    }
    if (this.postedCount + count > this.requestsMax) {
      throw new VerbsError(
        'send-queue-full',
        `The send queue holds ${this.requestsMax} work requests and has no room for ${count} more.`,
        { requestsMax: this.requestsMax, posted: this.postedCount, count },
      );
    }
    for (let request: SendWorkRequest | null = first; request !== null; request = request.next) {
      const slot = this.#slot(this.#tail);
      slot.request = request;
      slot.state = 'posted';
      slot.status = WorkStatus.success;
      slot.byteLength = 0;
      slot.readPlaced = 0;
      this.#tail = (this.#tail + 1) | 0;
    }
  }

  /** The next request to execute, or null. */
  peek(): SendSlot | null {
    return this.#next === this.#tail ? null : this.#slot(this.#next);
  }

  /** Moves the peeked request to the wire. */
  take(): void {
    this.#slot(this.#next).state = 'taken';
    this.#next = (this.#next + 1) | 0;
  }

  /** Reports the executed requests in order, up to the first unexecuted request. All of them succeeded. */
  reportExecuted(): void {
    while (this.#reported !== this.#next) {
      const slot = this.#slot(this.#reported);
      if (slot.state !== 'executed' || slot.status !== WorkStatus.success) return;
      this.#reported = (this.#reported + 1) | 0;
      const request = slot.posted;
      if (!request.signaled) continue;
      this.#covered = this.#reported;
      this.#report(request, this.#reported, WorkStatus.success, slot.byteLength);
    }
  }

  /**
   * Call in the error state. Reports every request without a completion, in posting order, up to a request whose
   * memory the wire still holds. Each is flushed, but the failed request keeps its own status.
   */
  flush(): void {
    while (this.#covered !== this.#tail) {
      const slot = this.#slot(this.#covered);
      if (slot.state === 'taken' && !slot.isRead) return;
      const status = slot.status === WorkStatus.success ? WorkStatus.flushed : slot.status;
      this.#covered = (this.#covered + 1) | 0;
      // A counter that was passed moves too, so that the counters stay in order.
      if (((this.#covered - this.#reported) | 0) > 0) this.#reported = this.#covered;
      if (((this.#covered - this.#next) | 0) > 0) this.#next = this.#covered;
      slot.state = 'executed';
      this.#report(slot.posted, this.#covered, status, 0);
    }
  }

  /** Frees the slots before `position`, because their completion is being delivered. */
  release(position: number): void {
    while (((position - this.#head) | 0) > 0) {
      const slot = this.#slot(this.#head);
      slot.request = null;
      slot.state = 'free';
      this.#head = (this.#head + 1) | 0;
    }
  }

  #slot(position: number): SendSlot {
    const slot = this.#slots[position & this.#mask];
    assert(slot !== undefined, 'send queue has no such slot');
    return slot;
  }
}
