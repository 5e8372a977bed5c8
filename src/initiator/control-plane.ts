import type { TaskTag } from '../iscsi/wire.js';
import { assert } from '../common/assert.js';
import { IscsiSessionError } from '../iscsi/errors.js';
import { LogoutReason } from '../iscsi/codes.js';
import { BHS_BYTES } from '../iscsi/wire.js';
import type { DatamoverConnection } from '../iscsi/datamover.js';
import { CONTROL_QUEUE_PER_TASK } from './limits.js';
import type { LunPort } from './lun-port.js';
import {
  LogoutRequestPdu,
  NopOutPdu,
  TaskManagementRequestPdu,
  TextRequestPdu,
  encodeLogoutRequest,
  encodeNopOut,
  encodeTaskManagementRequest,
  encodeTextRequest,
} from '../iscsi/request-wire.js';
import type { NopInPdu, TextResponsePdu } from '../iscsi/response-wire.js';
import type { TaskTable } from './task-table.js';
import { TaskKind } from './task-slot.js';
import type { ControlHandler, TaskSlot } from './task-slot.js';
import { RESERVED_TAG } from '../iscsi/wire.js';
import type { CommandWindow, StatusSequence } from './window.js';

const NO_DATA = new Uint8Array(0);

/** A task management request. `task` is the task to abort, or null for a function on the whole LUN. */
export interface TaskManagementOptions {
  readonly function: number;
  readonly port: LunPort;
  readonly task: { readonly tag: TaskTag; readonly cmdSn: number } | null;
}

/**
 * Sends the PDUs that are not SCSI commands. All are immediate: each takes a task tag, but no CmdSN. At most
 * `pdusMax` are unanswered at the same time, because each takes one of the target's receives. Further PDUs wait in
 * order.
 */
export class ControlPlane {
  readonly #datamover: DatamoverConnection;
  readonly #tasks: TaskTable;
  readonly #window: CommandWindow;
  readonly #status: StatusSequence;
  readonly #pdusMax: number;
  readonly #waiting: (() => void)[] = [];
  readonly #bhs = new Uint8Array(BHS_BYTES);
  readonly #view = new DataView(this.#bhs.buffer);
  readonly #nopOut = new NopOutPdu();
  readonly #taskManagement = new TaskManagementRequestPdu();
  readonly #text = new TextRequestPdu();
  readonly #logout = new LogoutRequestPdu();
  #unanswered = 0;

  constructor(options: {
    datamover: DatamoverConnection;
    tasks: TaskTable;
    window: CommandWindow;
    status: StatusSequence;
    pdusMax: number;
  }) {
    this.#datamover = options.datamover;
    this.#tasks = options.tasks;
    this.#window = options.window;
    this.#status = options.status;
    this.#pdusMax = options.pdusMax;
  }

  get unanswered(): number {
    return this.#unanswered;
  }

  /**
   * Sends a NOP-Out to check that the target answers. False when too many PDUs are unanswered. The NOP-Out always has
   * a valid task tag: LIO never reposts the receive of a NOP-Out without a tag.
   */
  ping(control: ControlHandler): boolean {
    if (this.#unanswered >= this.#pdusMax) return false;
    this.#sendNopOut(this.#acquire(TaskKind.ping, control), RESERVED_TAG, 0, 0);
    return true;
  }

  /** Answers the target's ping (RFC 7143 11.18), without a task tag, and with the target's transfer tag and LUN. */
  answerPing(ping: NopInPdu): void {
    this.#sendNopOut(RESERVED_TAG as TaskTag, ping.targetTransferTag, ping.lunHigh, ping.lunLow);
  }

  /** Sends the request when its turn comes, unless `isStillWanted` then returns false. */
  manageTasks(
    options: TaskManagementOptions,
    control: ControlHandler,
    isStillWanted: () => boolean = () => true,
  ): void {
    this.#whenPossible(() => {
      if (!isStillWanted()) return;
      const pdu = this.#taskManagement;
      pdu.initiatorTaskTag = this.#acquire(TaskKind.taskManagement, control);
      pdu.immediate = true;
      pdu.function = options.function;
      pdu.lunHigh = options.port.lunHigh;
      pdu.referencedTaskTag = options.task?.tag ?? RESERVED_TAG;
      pdu.refCmdSn = options.task?.cmdSn ?? 0;
      pdu.cmdSn = this.#window.cmdSn;
      pdu.expStatSn = this.#status.expStatSn;
      encodeTaskManagementRequest(this.#view, 0, pdu);
      this.#datamover.sendControl(this.#bhs, NO_DATA);
    });
  }

  /** Starts a text exchange. The handler receives each answer, and calls {@link continueText} for the next. */
  text(data: Uint8Array, control: ControlHandler): void {
    this.#whenPossible(() => {
      this.#text.lunHigh = 0;
      this.#text.lunLow = 0;
      this.#sendText(this.#acquire(TaskKind.text, control), RESERVED_TAG, data);
    });
  }

  /** Asks for the next part of a text answer, with the same tags, LUN and handler. */
  continueText(answer: TextResponsePdu): void {
    this.#text.lunHigh = answer.lunHigh;
    this.#text.lunLow = answer.lunLow;
    this.#sendText(answer.initiatorTaskTag as TaskTag, answer.targetTransferTag, NO_DATA);
  }

  logout(control: ControlHandler): void {
    this.#whenPossible(() => {
      const pdu = this.#logout;
      pdu.initiatorTaskTag = this.#acquire(TaskKind.logout, control);
      pdu.immediate = true;
      pdu.reason = LogoutReason.closeSession;
      pdu.cmdSn = this.#window.cmdSn;
      pdu.expStatSn = this.#status.expStatSn;
      encodeLogoutRequest(this.#view, 0, pdu);
      this.#datamover.sendControl(this.#bhs, NO_DATA);
    });
  }

  /** Call when the control PDU of `slot` has its last answer. Returns its handler. */
  release(slot: TaskSlot): ControlHandler | null {
    const { control } = slot;
    this.#tasks.release(slot);
    this.#unanswered--;
    while (this.#hasPlace) {
      const next = this.#waiting.shift();
      if (next === undefined) break;
      next();
    }
    return control;
  }

  /** Ends the control plane. It sends nothing any more. */
  close(): void {
    this.#waiting.length = 0;
  }

  /**
   * True when a request may be sent. The last place is kept for the ping, so that slow task management does not look
   * like a dead target.
   */
  get #hasPlace(): boolean {
    return this.#unanswered < Math.max(1, this.#pdusMax - 1);
  }

  #whenPossible(send: () => void): void {
    if (this.#hasPlace) {
      send();
      return;
    }
    if (this.#waiting.length >= CONTROL_QUEUE_PER_TASK * this.#tasks.capacity) {
      throw new IscsiSessionError(
        'iscsi-control-queue-full',
        'too many control requests are waiting',
      );
    }
    this.#waiting.push(send);
  }

  #acquire(kind: TaskKind, control: ControlHandler): TaskTag {
    const slot = this.#tasks.acquire(kind);
    assert(slot !== null, 'no task tag is free for a control PDU');
    slot.control = control;
    this.#unanswered++;
    return slot.tag;
  }

  #sendNopOut(tag: TaskTag, transferTag: number, lunHigh: number, lunLow: number): void {
    const pdu = this.#nopOut;
    pdu.immediate = true;
    pdu.initiatorTaskTag = tag;
    pdu.targetTransferTag = transferTag;
    pdu.lunHigh = lunHigh;
    pdu.lunLow = lunLow;
    pdu.cmdSn = this.#window.cmdSn;
    pdu.expStatSn = this.#status.expStatSn;
    encodeNopOut(this.#view, 0, pdu);
    this.#datamover.sendControl(this.#bhs, NO_DATA);
  }

  #sendText(tag: TaskTag, transferTag: number, data: Uint8Array): void {
    const pdu = this.#text;
    pdu.immediate = true;
    pdu.initiatorTaskTag = tag;
    pdu.targetTransferTag = transferTag;
    pdu.dataSegmentLength = data.length;
    pdu.cmdSn = this.#window.cmdSn;
    pdu.expStatSn = this.#status.expStatSn;
    encodeTextRequest(this.#view, 0, pdu);
    this.#datamover.sendControl(this.#bhs, data);
  }
}
