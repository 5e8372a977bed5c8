import type { CommandTask } from './command-task.js';

/** Twice the window, so that chains are short. */
const BUCKETS = 256;

/**
 * The tasks of a session by Initiator Task Tag. The initiator chooses tags freely from 32 bits. The tasks are chained
 * in buckets, without any allocation.
 */
// `?? null` below is for the compiler: a bucket's number is masked.
export class TagTable {
  readonly #buckets = new Array<CommandTask | null>(BUCKETS).fill(null);

  find(tag: number): CommandTask | null {
    let task = this.#buckets[bucketOf(tag)] ?? null;
    while (task !== null && task.initiatorTaskTag !== tag) task = task.nextInBucket;
    return task;
  }

  add(task: CommandTask): void {
    const bucket = bucketOf(task.initiatorTaskTag);
    task.nextInBucket = this.#buckets[bucket] ?? null;
    this.#buckets[bucket] = task;
  }

  remove(task: CommandTask): void {
    const bucket = bucketOf(task.initiatorTaskTag);
    let before: CommandTask | null = null;
    let at = this.#buckets[bucket] ?? null;
    while (at !== null && at !== task) {
      before = at;
      at = at.nextInBucket;
    }
    if (at === null) return;
    if (before === null) this.#buckets[bucket] = task.nextInBucket;
    else before.nextInBucket = task.nextInBucket;
    task.nextInBucket = null;
  }
}

/** Initiators count in the low bits (Linux, libiscsi), some with a generation in the high bits. */
function bucketOf(tag: number): number {
  return (tag ^ (tag >>> 8) ^ (tag >>> 16) ^ (tag >>> 24)) & (BUCKETS - 1);
}
