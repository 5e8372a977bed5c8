import type { TaskTag } from '../iscsi/wire.js';
import type { Logger } from '../observe/log.js';
import { LogoutStatus, PduOpcode, TaskManagementStatus, opcodeName } from '../iscsi/codes.js';
import type { ControlPlane } from './control-plane.js';
import { IscsiProtocolError } from '../iscsi/errors.js';
import {
  LogoutResponsePdu,
  TaskManagementResponsePdu,
  TextResponsePdu,
  decodeLogoutResponse,
  decodeTaskManagementResponse,
  decodeTextResponse,
} from '../iscsi/response-wire.js';
import { TaskKind } from './task-slot.js';
import type { ControlHandler, TaskSlot } from './task-slot.js';
import type { TaskTable } from './task-table.js';
import { opcodeAt, taskTagAt } from '../iscsi/wire.js';

const NO_VIEW = new DataView(new ArrayBuffer(0));

/** Passes the answers of control PDUs to their handlers. */
export class ControlReplies {
  readonly #tasks: TaskTable;
  readonly #control: ControlPlane;
  readonly #log: Logger;

  constructor(tasks: TaskTable, control: ControlPlane, log: Logger) {
    this.#tasks = tasks;
    this.#control = control;
    this.#log = log;
  }

  /** Takes a PDU. False when its opcode is not an answer to a control PDU. */
  receive(view: DataView, bhs: number, data: number, length: number): boolean {
    switch (opcodeAt(view, bhs)) {
      case PduOpcode.nopIn:
        this.#finish(view, bhs, TaskKind.ping)?.onAnswer?.(true);
        return true;
      case PduOpcode.taskManagementResponse: {
        const response = new TaskManagementResponsePdu();
        decodeTaskManagementResponse(view, bhs, response);
        this.#finish(view, bhs, TaskKind.taskManagement)?.onTaskManagement?.(response);
        return true;
      }
      case PduOpcode.textResponse:
        this.#onText(view, bhs, data, length);
        return true;
      case PduOpcode.logoutResponse:
        this.#onLogout(view, bhs);
        return true;
      default:
        return false;
    }
  }

  /**
   * The target rejected a PDU of ours. The handler of a control PDU hears of it. A rejected command may have left its
   * CmdSN unused and the window stuck, so the connection must end.
   * @throws IscsiProtocolError for a PDU that is not a control PDU
   */
  reject(initiatorTaskTag: TaskTag, reason: string): void {
    const slot = this.#tasks.get(initiatorTaskTag);
    if (slot === undefined || slot.kind === TaskKind.idle || slot.kind === TaskKind.command) {
      throw new IscsiProtocolError(`the target rejected a PDU: ${reason}`);
    }
    const { kind } = slot;
    const control = this.#control.release(slot);
    if (kind === TaskKind.text) control?.onText?.(null, NO_VIEW, 0, 0);
    else if (kind !== TaskKind.taskManagement) control?.onAnswer?.(false);
    else {
      const response = new TaskManagementResponsePdu();
      response.response = TaskManagementStatus.rejected;
      control?.onTaskManagement?.(response);
    }
  }

  /** The connection has ended, so the slot gets no answer. */
  abandon(slot: TaskSlot): void {
    const { control, kind } = slot;
    this.#tasks.release(slot);
    if (kind === TaskKind.text) control?.onText?.(null, NO_VIEW, 0, 0);
  }

  #onText(view: DataView, bhs: number, data: number, length: number): void {
    const response = new TextResponsePdu();
    decodeTextResponse(view, bhs, response);
    const slot = this.#slotOf(view, bhs, TaskKind.text);
    const control = response.final ? this.#control.release(slot) : slot.control;
    control?.onText?.(response, view, data, length);
  }

  #onLogout(view: DataView, bhs: number): void {
    const response = new LogoutResponsePdu();
    decodeLogoutResponse(view, bhs, response);
    const isClosed = response.response === LogoutStatus.closed;
    if (!isClosed) this.#log.warn({ response: response.response }, 'the target refused the logout');
    this.#finish(view, bhs, TaskKind.logout)?.onAnswer?.(isClosed);
  }

  /** The slot of the control PDU that the response at `bhs` answers. */
  #slotOf(view: DataView, bhs: number, kind: TaskKind): TaskSlot {
    const tag = taskTagAt(view, bhs);
    const slot = this.#tasks.get(tag);
    if (slot === undefined || slot.kind !== kind) throw unknownTag(opcodeAt(view, bhs), tag);
    return slot;
  }

  #finish(view: DataView, bhs: number, kind: TaskKind): ControlHandler | null {
    return this.#control.release(this.#slotOf(view, bhs, kind));
  }
}

export function unknownTag(opcode: number, tag: number): IscsiProtocolError {
  return new IscsiProtocolError(
    `the target sent a ${opcodeName(opcode)} for task 0x${tag.toString(16)}, which does not exist`,
    { opcode, tag },
  );
}
