import type { ReceiveQueue } from './receive-queue.js';
import type { SendQueue } from './send-queue.js';

interface DrainWaiter {
  readonly sendPosition: number;
  readonly receivePosition: number;
  readonly resolve: () => void;
}

/** Those who wait until everything that is posted now has been delivered, on both queues. */
export class DrainWaiters {
  readonly #sendQueue: SendQueue;
  readonly #receiveQueue: ReceiveQueue;
  #waiters: DrainWaiter[] = [];

  constructor(sendQueue: SendQueue, receiveQueue: ReceiveQueue) {
    this.#sendQueue = sendQueue;
    this.#receiveQueue = receiveQueue;
  }

  /** Resolves when what is posted now, and not what is posted later, has had its handlers called. */
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

  /** After each delivery: resolves whoever has nothing left to wait for. */
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
