import { Ring } from '../../common/ring.js';
import type { BufferSlot, SlabPool } from '../../common/slab.js';
import type { CommandTask } from './command-task.js';

/**
 * One session's share of the portal's buffers. A task without a buffer waits: in the queue of this share while the
 * session uses its full share, otherwise in the queue of the pool. So memory is bounded, and a session that keeps its
 * buffers blocks itself first.
 */
export class BufferShare {
  readonly #pool: SlabPool;
  readonly #bytesMax: number;
  readonly #waiting: Ring<CommandTask>;
  #usedBytes = 0;

  constructor(pool: SlabPool, bytesMax: number, tasksMax: number) {
    this.#pool = pool;
    this.#bytesMax = bytesMax;
    this.#waiting = new Ring(tasksMax);
  }

  /**
   * A buffer for the task. Null when no buffer is free; the task's `bufferAvailable` is then called when the task
   * should ask again.
   */
  acquire(task: CommandTask): BufferSlot | null {
    // The last buffer may exceed the share, so that a session can always get one buffer of any size.
    if (this.#usedBytes >= this.#bytesMax) {
      this.#waiting.push(task);
      return null;
    }
    const { transferBytes } = task.command;
    const slot = this.#pool.acquire(transferBytes);
    if (slot === null) this.#pool.whenAvailable(transferBytes, task.bufferAvailable);
    else this.#usedBytes += slot.capacity;
    return slot;
  }

  release(slot: BufferSlot): void {
    this.#usedBytes -= slot.capacity;
    slot.release();
    while (this.#usedBytes < this.#bytesMax) {
      const task = this.#waiting.shift();
      if (task === undefined) return;
      task.bufferAvailable();
    }
  }
}
