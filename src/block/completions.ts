import { LinkedQueue } from '../common/linked-queue.js';
import { soon } from '../common/later.js';
import type { BlockRequest, BlockStatus } from './device.js';

/**
 * Requests that end before the device has begun them. Their `done` must not run inside submit, so it runs when the
 * present turn of JavaScript has ended.
 */
export class Completions {
  readonly #queue = new LinkedQueue<BlockRequest>();
  #isScheduled = false;
  readonly #drain = (): void => this.#run();

  finishSoon(request: BlockRequest, status: BlockStatus): void {
    request.status = status;
    this.#queue.push(request);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    soon(this.#drain);
  }

  #run(): void {
    this.#isScheduled = false;
    for (;;) {
      const request = this.#queue.shift();
      if (request === null) return;
      request.done(request);
    }
  }
}
