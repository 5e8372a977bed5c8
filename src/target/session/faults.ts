import type { SenseKey } from '../../scsi/sense.js';
import { ScsiStatus } from '../../scsi/wire.js';

/** A fault that replaces the normal execution of a command. */
export type InjectedFault =
  | { readonly kind: 'sense'; readonly senseKey: SenseKey; readonly asc: number }
  /** A status without sense, such as BUSY. */
  | { readonly kind: 'status'; readonly status: number }
  /** The connection ends without a response. */
  | { readonly kind: 'drop' }
  /** At most the first `bytes` of the data-in are sent, but the response reports all. */
  | { readonly kind: 'withhold'; readonly bytes: number }
  /** The command waits. `hold` receives a function that resumes the command. */
  | { readonly kind: 'hold'; readonly hold: (resume: () => void) => void };

/** Called once for each SCSI command, before its execution. */
export interface FaultInjector {
  /** Returns the fault, or null. The CDB is borrowed until the call returns. */
  faultFor(cdb: Uint8Array, lun: number): InjectedFault | null;
}

/** The commands of a fault: all, or those with this opcode. */
export interface FaultFilter {
  readonly opcode?: number;
}

interface Planned {
  readonly fault: InjectedFault;
  readonly opcode: number | null;
  left: number;
}

/** Faults that a test plans. They apply in the order of planning, each once. */
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

  /** The next `count` commands are answered as usual, but with at most the first `bytes` of their data. */
  withholdNext(count: number, bytes: number, filter: FaultFilter = {}): void {
    this.#plan({ kind: 'withhold', bytes }, count, filter);
  }

  /** The next `count` commands wait for {@link release}. */
  holdNext(count: number, filter: FaultFilter = {}): void {
    const hold = (resume: () => void) => void this.#held.push(resume);
    this.#plan({ kind: 'hold', hold }, count, filter);
  }

  /** Resumes all held commands, in their order of arrival. */
  release(): void {
    for (const resume of this.#held.splice(0)) resume();
  }

  #plan(fault: InjectedFault, count: number, { opcode }: FaultFilter): void {
    if (count > 0) this.#planned.push({ fault, left: count, opcode: opcode ?? null });
  }
}
