import { assert } from '../common/assert.js';
import type { CompletionQueue, RdmaDevice } from '../transport/verbs.js';

/** `iser_comp`: a completion queue that several connections share, and the number of their queue pairs. */
export class CompletionContext {
  readonly completionQueue: CompletionQueue;
  activeQps = 0;
  #reservedCompletions = 0;

  constructor(device: RdmaDevice, vector: number, depth: number) {
    this.completionQueue = device.createCompletionQueue({ depth, vector });
  }

  /** True when the queue has room for a queue pair with up to `completions` posted work requests. */
  hasRoomFor(completions: number): boolean {
    return this.#reservedCompletions + completions <= this.completionQueue.depth;
  }

  attach(completions: number): void {
    assert(this.hasRoomFor(completions), 'completion queue too short for another queue pair');
    this.#reservedCompletions += completions;
    this.activeQps++;
  }

  detach(completions: number): void {
    assert(this.activeQps > 0, 'completion context without queue pairs');
    this.#reservedCompletions -= completions;
    this.activeQps--;
  }
}
