import { Slab } from '../../../src/common/slab.js';
import { BHS_BYTES } from '../../../src/iscsi/wire.js';
import type {
  DatamoverConnection,
  DatamoverHandler,
  DatamoverLimits,
  DatamoverTask,
} from '../../../src/iscsi/datamover.js';
import { PduOpcode } from '../../../src/iscsi/codes.js';
import { opcodeAt, taskTagAt } from '../../../src/iscsi/wire.js';
import { DataDirection } from '../../../src/common/data-direction.js';

/** A PDU that iSCSI sent. */
export class SentPdu {
  readonly view: DataView;

  constructor(
    readonly bhs: Uint8Array,
    readonly data: Uint8Array,
    /** The task of a command; null for a control PDU. */
    readonly task: ScriptedTask | null,
  ) {
    this.view = new DataView(bhs.buffer, bhs.byteOffset, bhs.length);
  }

  get opcode(): number {
    return opcodeAt(this.view, 0);
  }

  get tag(): number {
    return taskTagAt(this.view, 0);
  }
}

export class ScriptedTask implements DatamoverTask {
  readonly view: DataView;
  readonly bhsOffset: number;
  direction: DataDirection = DataDirection.none;
  slab: Slab | null = null;
  slabOffset = 0;
  dataLength = 0;
  immediateLength = 0;
  isActive = false;
  placedBytes = 0;
  finishCount = 0;

  constructor(slab: Slab, index: number) {
    this.view = slab.view;
    this.bhsOffset = index * 76 + 28;
  }
}

export const SCRIPTED_LIMITS: DatamoverLimits = {
  transferBytesMax: 1 << 20,
  countsDataIn: false,
  immediateBytesMax: 8192,
  controlDataBytesMax: 8192,
  receiveDataBytesMax: 8192,
  tasksMax: 128,
  controlPdusMax: 6,
  readBytesOutstandingMax: 8 << 20,
  writeBytesOutstandingMax: 8 << 20,
  receivesPerAbort: 1,
};

/**
 * A datamover without RDMA: the test is the target. It records what is sent, delivers what the test says, and checks
 * that iSCSI keeps its side of the contract.
 */
export class ScriptedDatamover implements DatamoverConnection {
  readonly peerName = 'scripted:3260';
  readonly limits: DatamoverLimits;
  readonly sent: SentPdu[] = [];
  readonly events: string[] = [];
  tasks: ScriptedTask[] = [];
  #handler: DatamoverHandler | null = null;
  #endedWith: { error: Error | null } | null = null;
  /** Called for each PDU sent, in a turn of its own; tests answer from it. */
  onSent: ((pdu: SentPdu) => void) | null = null;
  /** False makes `terminate` hang, as a datamover whose device is stuck would. */
  terminates = true;
  /** Targets close the connection behind their logout response. */
  closesAfterLogout = true;
  isFullFeature = false;
  isTerminated = false;
  /** `terminate` was called: nothing is sent, and nothing goes up any more but the end. */
  isEnding = false;

  constructor(limits: Partial<DatamoverLimits> = {}) {
    this.limits = { ...SCRIPTED_LIMITS, ...limits };
  }

  get handler(): DatamoverHandler {
    return this.#handler ?? this.#violation('no handler');
  }

  set handler(handler: DatamoverHandler) {
    this.#handler = handler;
    // The end can come before anybody listens.
    const ended = this.#endedWith;
    this.#endedWith = null;
    if (ended !== null) queueMicrotask(() => handler.terminateNotify(ended.error));
  }

  sendControl(bhs: Uint8Array, data: Uint8Array): void {
    if (bhs.length !== BHS_BYTES) this.#violation(`a BHS of ${bhs.length} bytes`);
    if (data.length > this.limits.controlDataBytesMax) this.#violation('too much control data');
    // Not slice: that of a Buffer copies nothing.
    this.#record(new SentPdu(Uint8Array.from(bhs), Uint8Array.from(data), null));
  }

  allocateTasks(count: number): readonly DatamoverTask[] {
    if (this.tasks.length > 0 || count > this.limits.tasksMax) this.#violation('allocateTasks');
    const slab = new Slab(count * 76);
    this.tasks = Array.from({ length: count }, (_, index) => new ScriptedTask(slab, index));
    return this.tasks;
  }

  enterFullFeature(): void {
    if (this.isTerminated) return;
    if (this.tasks.length === 0) this.#violation('enterFullFeature without tasks');
    if (this.isFullFeature) this.#violation('enterFullFeature twice');
    this.isFullFeature = true;
    this.events.push('full feature');
  }

  sendCommand(task: DatamoverTask): void {
    const scripted = task as ScriptedTask;
    if (scripted.isActive) this.#violation('sendCommand of an active task');
    scripted.placedBytes = 0;
    if (!this.isFullFeature && !this.isTerminated) this.#violation('a command before full feature');
    if (task.immediateLength !== 0 && task.immediateLength !== task.dataLength) {
      this.#violation('a part of the data as immediate data');
    }
    scripted.isActive = true;
    const bytes = new Uint8Array(task.view.buffer, task.view.byteOffset + task.bhsOffset, 48);
    const immediate =
      task.slab?.bytes.subarray(task.slabOffset, task.slabOffset + task.immediateLength) ??
      new Uint8Array(0);
    this.#record(new SentPdu(bytes.slice(), Uint8Array.from(immediate), scripted));
  }

  finishTask(task: DatamoverTask): void {
    const scripted = task as ScriptedTask;
    if (!scripted.isActive) this.#violation('finishTask of an inactive task');
    scripted.isActive = false;
    scripted.finishCount++;
    this.events.push('finish');
  }

  terminate(): Promise<void> {
    this.events.push('terminate');
    this.isEnding = true;
    if (!this.terminates) return new Promise(() => undefined);
    return Promise.resolve().then(() => this.drop(null));
  }

  /** The connection ends now. */
  drop(error: Error | null): void {
    if (this.isTerminated) return;
    this.isTerminated = true;
    for (const task of this.tasks) task.isActive = false;
    if (this.#handler === null) this.#endedWith = { error };
    else this.#handler.terminateNotify(error);
  }

  /** Brings a PDU up, at an odd place in a buffer that is overwritten right after. */
  deliver(bhs: Uint8Array, data: Uint8Array = new Uint8Array(0)): void {
    if (this.isTerminated || this.isEnding) return;
    const bytes = new Uint8Array(3 + 48 + data.length);
    bytes.set(bhs, 3);
    bytes.set(data, 51);
    const view = new DataView(bytes.buffer, 1);
    // As a datamover does that looks which registration a response is about.
    if (opcodeAt(view, 2) === PduOpcode.scsiResponse) this.handler.taskByTag(taskTagAt(view, 2));
    this.handler.controlNotify(view, 2, 50, data.length);
    bytes.fill(0xdd);
    const isLogoutResponse = ((bhs[0] ?? 0) & 0x3f) === 0x26;
    if (isLogoutResponse && this.closesAfterLogout) queueMicrotask(() => this.drop(null));
  }

  /** Takes the oldest PDU that no one took. */
  take(): SentPdu {
    const pdu = this.sent.shift();
    if (pdu === undefined) throw new Error('nothing was sent');
    return pdu;
  }

  #record(pdu: SentPdu): void {
    if (this.isTerminated || this.isEnding) return;
    this.sent.push(pdu);
    const { onSent } = this;
    if (onSent !== null) queueMicrotask(() => onSent(pdu));
  }

  #violation(what: string): never {
    throw new Error(`datamover contract: ${what}`);
  }
}
