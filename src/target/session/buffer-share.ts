import { Ring } from '../../common/ring.js';
import type { BufferSlot, SlabPool } from '../../common/slab.js';
import type { CommandTask } from './command-task.js';

/**
 * One session's part of the portal's buffers. Tasks that find none wait: in line here while the session has its full
 * share, with everybody else in the pool otherwise. So memory is bounded, and a session that holds on to its buffers
 * starves itself first.
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

  /** A buffer for the task, or null: then `bufferAvailable` of the task is called when to ask again. */
  acquire(task: CommandTask): BufferSlot | null {
    // The last one may go above the share, so that a single buffer of any size can always be had.
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
