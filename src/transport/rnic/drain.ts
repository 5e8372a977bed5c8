import type { ReceiveQueue } from './receive-queue.js';
import type { SendQueue } from './send-queue.js';

interface DrainWaiter {
  readonly sendPosition: number;
  readonly receivePosition: number;
  readonly resolve: () => void;
}

/** The promises that wait until all posted requests of both queues have been delivered. */
export class DrainWaiters {
  readonly #sendQueue: SendQueue;
  readonly #receiveQueue: ReceiveQueue;
  #waiters: DrainWaiter[] = [];

  constructor(sendQueue: SendQueue, receiveQueue: ReceiveQueue) {
    this.#sendQueue = sendQueue;
    this.#receiveQueue = receiveQueue;
  }

  /** Resolves when the handlers of all present requests have run. Does not wait for later requests. */
  wait(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiters.push({
        sendPosition: this.#sendQueue.tail,
        receivePosition: this.#receiveQueue.tail,
        resolve,
      });
      this.settle();
    });
  }

  /** Call after each delivery. Resolves the promises whose requests have all been delivered. */
  settle(): void {
    if (this.#waiters.length === 0) return;
    const waiting: DrainWaiter[] = [];
    for (const waiter of this.#waiters) {
      const isReleased =
        this.#sendQueue.isReleased(waiter.sendPosition) &&
        this.#receiveQueue.isReleased(waiter.receivePosition);
      if (isReleased) waiter.resolve();
      else waiting.push(waiter);
    }
    this.#waiters = waiting;
  }
}
