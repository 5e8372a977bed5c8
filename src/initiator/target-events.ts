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

/** What an event does to its connection. */
export interface TargetEventHost {
  readonly control: ControlPlane;
  drain(reason: IserNbdError, withinMs: number): void;
  fail(error: IserNbdError): void;
  rejectTask(initiatorTaskTag: number, reason: string): void;
}

const NO_TEXT = new Uint8Array(0);

/** What a target says unasked: Asynchronous Messages (RFC 7143 11.9) and Rejects (11.17). */
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
        // Half of the time is for commands, the rest for the logout itself.
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
        // We have nothing to ask for; an empty text request is the negotiation that the target wants.
        this.#host.control.text(NO_TEXT, {});
        return;
      default:
      // A SCSI event is seen again as a unit attention; events that we do not know concern us even less.
    }
  }

  /** The data segment is the header of the PDU that the target did not take. */
  onReject(view: DataView, bhs: number, data: number, length: number): void {
    decodeReject(view, bhs, this.#reject);
    const reason = rejectReasonName(this.#reject.reason);
    if (length < BHS_BYTES) {
      throw new IscsiProtocolError(`the target rejected a PDU without showing it: ${reason}`);
    }
    const opcode = opcodeName(opcodeAt(view, data));
    this.#log.warn({ reason, opcode }, 'the target rejected a PDU');
    this.#host.rejectTask(taskTagAt(view, data), `${reason} (${opcode})`);
  }
}
