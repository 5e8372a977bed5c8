import { assert } from '../../common/assert.js';
import { soon } from '../../common/later.js';
import type {
  CompletionHandler,
  CompletionQueue,
  MemoryKey,
  QueuePair,
  WorkOpcode,
  WorkStatus,
} from '../verbs.js';
import { NO_MEMORY_KEY, VerbsError, WorkCompletion } from '../verbs.js';
import { COMPLETION_QUEUE_DEPTH_MAX } from '../limits.js';

/** The initial number of entries. The queue doubles on demand, up to its depth. */
const ENTRIES_INITIAL = 64;

/** The queue pair of a completion. */
export interface CompletionSource extends QueuePair {
  /** Allows the reuse of the slots up to `position`. */
  releaseSlots(isReceive: boolean, position: number): void;
  afterDelivery(): void;
}

/** A completion whose handler has not run yet. Pooled. */
class CompletionEntry {
  status: WorkStatus = 0;
  opcode: WorkOpcode = 0;
  byteLength = 0;
  withInvalidate = false;
  invalidatedKey = NO_MEMORY_KEY;
  queuePair: CompletionSource | null = null;
  isReceive = false;
  /** The position in its queue up to which this completion frees the slots. */
  position = 0;
  done: CompletionHandler = ignore;
}

function ignore(): void {
  /* The handler of an unused entry. */
}

/**
 * Completions in their order of occurrence. Handlers run in a microtask of the queue. One batch has the completions
 * that exist at its start. Later completions wait for the next batch.
 */
export class SoftCompletionQueue implements CompletionQueue {
  readonly depth: number;
  onBatchEnd: (() => void) | null = null;
  readonly #completion = new WorkCompletion();
  #entries: CompletionEntry[];
  #head = 0;
  #count = 0;
  #scheduled = false;
  #queuePairs = 0;
  #destroyed = false;
  readonly #runBatch = (): void => this.#deliverBatch();

  constructor(depth: number) {
    if (!Number.isInteger(depth) || depth < 1 || depth > COMPLETION_QUEUE_DEPTH_MAX) {
      throw new VerbsError(
        'completion-queue-depth',
        `A completion queue holds 1 to ${COMPLETION_QUEUE_DEPTH_MAX} completions, not ${depth}.`,
        { depth },
      );
    }
    this.depth = depth;
    this.#entries = makeEntries(Math.min(depth, ENTRIES_INITIAL));
  }

  /** Adds a completion. A later turn frees the slots and calls `done`. */
  push(
    queuePair: CompletionSource,
    isReceive: boolean,
    position: number,
    opcode: WorkOpcode,
    status: WorkStatus,
    byteLength: number,
    done: CompletionHandler,
  ): void {
    const entry = this.#claim();
    entry.queuePair = queuePair;
    entry.isReceive = isReceive;
    entry.position = position;
    entry.opcode = opcode;
    entry.status = status;
    entry.byteLength = byteLength;
    entry.withInvalidate = false;
    entry.invalidatedKey = NO_MEMORY_KEY;
    entry.done = done;
  }

  /** Marks the last pushed completion: its message was a Send with Invalidate. */
  noteInvalidated(key: MemoryKey): void {
    const entry = this.#entries[(this.#head + this.#count - 1) % this.#entries.length];
    assert(entry !== undefined && this.#count > 0, 'no completion to mark as invalidating');
    entry.withInvalidate = true;
    entry.invalidatedKey = key;
  }

  attachQueuePair(): void {
    this.#queuePairs++;
  }

  detachQueuePair(): void {
    this.#queuePairs--;
  }

  /** @throws VerbsError while a queue pair uses the completion queue */
  destroy(): void {
    if (this.#destroyed) return;
    if (this.#queuePairs > 0) {
      throw new VerbsError(
        'completion-queue-busy',
        `The completion queue is in use by ${this.#queuePairs} queue pairs; destroy them first.`,
      );
    }
    this.#destroyed = true;
    this.onBatchEnd = null;
  }

  #claim(): CompletionEntry {
    assert(this.#count < this.depth, 'completion queue overflow');
    if (this.#count === this.#entries.length) this.#grow();
    const entry = this.#entries[(this.#head + this.#count) % this.#entries.length];
    assert(entry !== undefined, 'completion queue has no such entry');
    this.#count++;
    this.#schedule();
    return entry;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    soon(this.#runBatch);
  }

  #deliverBatch(): void {
    this.#scheduled = false;
    let left = this.#count;
    try {
      while (left-- > 0) this.#deliverOne();
      this.onBatchEnd?.();
    } finally {
      if (this.#count > 0) this.#schedule();
    }
  }

  #deliverOne(): void {
    const entry = this.#entries[this.#head];
    assert(entry !== undefined, 'completion queue has no such entry');
    const queuePair = entry.queuePair;
    assert(queuePair !== null, 'completion queue entry without a queue pair');
    const completion = this.#completion;
    completion.status = entry.status;
    completion.opcode = entry.opcode;
    completion.byteLength = entry.byteLength;
    completion.withInvalidate = entry.withInvalidate;
    completion.invalidatedKey = entry.invalidatedKey;
    completion.queuePair = queuePair;
    const done = entry.done;
    entry.queuePair = null;
    entry.done = ignore;
    this.#head = (this.#head + 1) % this.#entries.length;
    this.#count--;
    // The slots are free before the handler runs, so that it can post into them.
    queuePair.releaseSlots(entry.isReceive, entry.position);
    done(completion);
    queuePair.afterDelivery();
  }

  #grow(): void {
    const length = this.#entries.length;
    const fresh = makeEntries(Math.min(this.depth, length * 2) - length);
    const ordered = [...this.#entries.slice(this.#head), ...this.#entries.slice(0, this.#head)];
    this.#entries = [...ordered, ...fresh];
    this.#head = 0;
  }
}

function makeEntries(count: number): CompletionEntry[] {
  return Array.from({ length: count }, () => new CompletionEntry());
}
