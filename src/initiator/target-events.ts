import type { TaskTag } from '../iscsi/wire.js';
import type { IserNbdError } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { AsyncEvent, asyncEventName, opcodeName, rejectReasonName } from '../iscsi/codes.js';
import type { ControlPlane } from './control-plane.js';
import { BHS_BYTES } from '../iscsi/wire.js';
import { IscsiProtocolError, IscsiSessionError } from '../iscsi/errors.js';
import { LOGOUT_TIMEOUT_MS } from './limits.js';
import {
  AsyncMessagePdu,
  RejectPdu,
  decodeAsyncMessage,
  decodeReject,
} from '../iscsi/response-wire.js';
import { opcodeAt, taskTagAt } from '../iscsi/wire.js';

/** What {@link TargetEvents} needs from its connection. */
export interface TargetEventHost {
  readonly control: ControlPlane;
  drain(reason: IserNbdError, withinMs: number): void;
  fail(error: IserNbdError): void;
  rejectTask(initiatorTaskTag: TaskTag, reason: string): void;
}

const NO_TEXT = new Uint8Array(0);

/** Handles Asynchronous Messages (RFC 7143 11.9) and Rejects (11.17). */
export class TargetEvents {
  readonly #host: TargetEventHost;
  readonly #log: Logger;
  readonly #message = new AsyncMessagePdu();
  readonly #reject = new RejectPdu();

  constructor(host: TargetEventHost, log: Logger) {
    this.#host = host;
    this.#log = log;
  }

  onAsyncMessage(view: DataView, bhs: number): void {
    const message = this.#message;
    decodeAsyncMessage(view, bhs, message);
    const event = asyncEventName(message.event);
    this.#log.info({ event, vendorCode: message.vendorCode }, 'the target sent an event');
    switch (message.event) {
      case AsyncEvent.logoutRequest:
        // Half of the time is for the commands, the rest is for the logout.
        this.#host.drain(
          new IscsiSessionError('iscsi-target-logout', 'the target asked us to log out'),
          Math.min((message.parameter3 * 1000) / 2, LOGOUT_TIMEOUT_MS),
        );
        return;
      case AsyncEvent.dropConnection:
      case AsyncEvent.dropAllConnections:
        this.#host.fail(
          new IscsiSessionError('iscsi-target-drop', `the target drops the session: ${event}`),
        );
        return;
      case AsyncEvent.negotiationRequest:
        // We have no key to negotiate. An empty text request is the negotiation that the target asks for.
        this.#host.control.text(NO_TEXT, {});
        return;
      default:
      // A SCSI event also appears as a unit attention. Unknown events are ignored.
    }
  }

  /** The data segment is the header of the PDU that the target rejected. */
  onReject(view: DataView, bhs: number, data: number, length: number): void {
    decodeReject(view, bhs, this.#reject);
    const reason = rejectReasonName(this.#reject.reason);
    if (length < BHS_BYTES) {
      throw new IscsiProtocolError(
        `the target rejected a PDU, but did not send the PDU's header: ${reason}`,
      );
    }
    const opcode = opcodeName(opcodeAt(view, data));
    this.#log.warn({ reason, opcode }, 'the target rejected a PDU');
    this.#host.rejectTask(taskTagAt(view, data), `${reason} (${opcode})`);
  }
}
