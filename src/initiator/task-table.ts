import { SlotTable } from '../common/slot-table.js';
import type { DatamoverTask } from '../iscsi/datamover.js';
import type { TaskTag } from '../iscsi/wire.js';
import { CommandPhase, TaskKind, TaskSlot } from './task-slot.js';

/** The tasks of a connection, by their Initiator Task Tags. */
export class TaskTable {
  readonly #slots: SlotTable<TaskSlot>;

  constructor(tasks: readonly DatamoverTask[]) {
    this.#slots = new SlotTable(tasks.map((task) => new TaskSlot(task)));
  }

  get capacity(): number {
    return this.#slots.capacity;
  }

  get usedCount(): number {
    return this.#slots.usedCount;
  }

  /** Takes a slot with a new tag. Null when all slots are in use. */
  acquire(kind: TaskKind): TaskSlot | null {
    const tag = this.#slots.acquire();
    const slot = tag === -1 ? undefined : this.#slots.get(tag);
    if (slot === undefined) return null;
    // Made here: the table's tags are our Initiator Task Tags.
    slot.tag = tag as TaskTag;
    slot.kind = kind;
    return slot;
  }

  /** The slot in use with `tag`; undefined for an old or unknown tag. */
  get(tag: TaskTag): TaskSlot | undefined {
    return this.#slots.get(tag);
  }

  release(slot: TaskSlot): void {
    slot.kind = TaskKind.idle;
    slot.command = null;
    slot.port = null;
    slot.control = null;
    slot.phase = CommandPhase.active;
    slot.hasTimedOut = false;
    slot.isQuestioned = false;
    this.#slots.release(slot.tag);
  }

  /** Visits the slots in use. `visit` may release its slot. */
  forEach(visit: (slot: TaskSlot) => void): void {
    this.#slots.forEachUsed(visit);
  }
}
