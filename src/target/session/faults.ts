import type { SenseKey } from '../../scsi/sense.js';
import { ScsiStatus } from '../../scsi/wire.js';

/** What befalls a command instead of being executed at once. */
export type InjectedFault =
  | { readonly kind: 'sense'; readonly senseKey: SenseKey; readonly asc: number }
  /** A status without sense, such as BUSY. */
  | { readonly kind: 'status'; readonly status: number }
  /** The connection ends without a word. */
  | { readonly kind: 'drop' }
  /** No more than the first `bytes` of the data-in are sent; the response says that all were. */
  | { readonly kind: 'withhold'; readonly bytes: number }
  /** Nothing happens until `resume`, which `hold` is given, is called; then the command is executed. */
  | { readonly kind: 'hold'; readonly hold: (resume: () => void) => void };

/** Asked once for each SCSI command, before anything is done about it. */
export interface FaultInjector {
  /** The CDB is borrowed until the call returns. Null: no fault. */
  faultFor(cdb: Uint8Array, lun: number): InjectedFault | null;
}

/** Which commands a fault is for: all, or those with this opcode. */
export interface FaultFilter {
  readonly opcode?: number;
}

interface Planned {
  readonly fault: InjectedFault;
  readonly opcode: number | null;
  left: number;
}

/** Faults that a test plans ahead. They are used up in the order in which they were planned. */
export class FaultPlan implements FaultInjector {
  readonly #planned: Planned[] = [];
  readonly #held: (() => void)[] = [];

  faultFor(cdb: Uint8Array): InjectedFault | null {
    const index = this.#planned.findIndex(({ opcode }) => opcode === null || opcode === cdb[0]);
    const planned = this.#planned[index];
    if (planned === undefined) return null;
    planned.left -= 1;
    if (planned.left === 0) this.#planned.splice(index, 1);
    return planned.fault;
  }

  /** The next `count` commands end with CHECK CONDITION and this sense. */
  failNext(count: number, senseKey: SenseKey, asc: number, filter: FaultFilter = {}): void {
    this.#plan({ kind: 'sense', senseKey, asc }, count, filter);
  }

  busyNext(count: number, filter: FaultFilter = {}): void {
    this.#plan({ kind: 'status', status: ScsiStatus.busy }, count, filter);
  }

  taskSetFullNext(count: number, filter: FaultFilter = {}): void {
    this.#plan({ kind: 'status', status: ScsiStatus.taskSetFull }, count, filter);
  }

  /** The next command ends its connection. */
  dropNext(filter: FaultFilter = {}): void {
    this.#plan({ kind: 'drop' }, 1, filter);
  }

  /** The next `count` commands are answered as ever, with the first `bytes` of their data at most. */
  withholdNext(count: number, bytes: number, filter: FaultFilter = {}): void {
    this.#plan({ kind: 'withhold', bytes }, count, filter);
  }

  /** The next `count` commands wait for {@link release}. */
  holdNext(count: number, filter: FaultFilter = {}): void {
    const hold = (resume: () => void) => void this.#held.push(resume);
    this.#plan({ kind: 'hold', hold }, count, filter);
  }

  /** Lets all held commands go on, in the order in which they came. */
  release(): void {
    for (const resume of this.#held.splice(0)) resume();
  }

  #plan(fault: InjectedFault, count: number, { opcode }: FaultFilter): void {
    if (count > 0) this.#planned.push({ fault, left: count, opcode: opcode ?? null });
  }
}
