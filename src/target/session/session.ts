import { soon } from '../../common/later.js';
import { Ring } from '../../common/ring.js';
import {
  LogoutReason,
  LogoutStatus,
  PduOpcode,
  RejectReason,
  TaskManagementFunction,
  TaskManagementStatus,
  opcodeName,
  rejectReasonName,
  taskManagementFunctionName,
} from '../../iscsi/codes.js';
import { IscsiProtocolError } from '../../iscsi/errors.js';
import {
  LogoutRequestPdu,
  NopOutPdu,
  ScsiCommandPdu,
  TaskManagementRequestPdu,
  TextRequestPdu,
  decodeLogoutRequest,
  decodeNopOut,
  decodeScsiCommand,
  decodeTaskManagementRequest,
  decodeTextRequest,
} from '../../iscsi/request-wire.js';
import { AT_CMD_SN, RESERVED_TAG, isImmediateAt, opcodeAt } from '../../iscsi/wire.js';
import type { Logger } from '../../observe/log.js';
import { CommandEngine } from './command-engine.js';
import type { Aborter, EngineContext, EngineEvents } from './command-engine.js';
import type { CommandTask } from './command-task.js';
import { ControlResponses } from './control-responses.js';
import type { TargetRxDescriptor } from './descriptors.js';
import type { InitiatorPort } from '../../scsi/wire.js';
import type { Nexus } from '../unit/nexus.js';
import { RECEIVES, TASK_MANAGEMENT_MAX } from './limits.js';
import type { SessionMemory } from './session-memory.js';
import { manageTasks } from './task-management.js';
import type { ManagedSession, ManagedTarget } from './task-management.js';
import { TargetTextExchange } from './text-exchange.js';
import type { TargetListing } from './text-exchange.js';

/** What a session needs from its connection and portal. */
export interface SessionContext extends Omit<EngineContext, 'nexuses'> {
  readonly isDiscovery: boolean;
  readonly cid: number;
  readonly port: InitiatorPort;
  readonly listing: TargetListing;
  readonly target: ManagedTarget;
  readonly log: Logger;
  readonly memory: SessionMemory;
}

/** The session's calls to its connection. */
export interface SessionEvents {
  /** Ends the connection at once. */
  onViolation(reason: string): void;
  /** Ends the connection in order, after sent data has left. */
  onLogout(): void;
}

/** The opcodes whose CmdSN counts (RFC 7143 4.2.2.1). */
const NUMBERED: ReadonlySet<number> = new Set([
  PduOpcode.nopOut,
  PduOpcode.scsiCommand,
  PduOpcode.taskManagementRequest,
  PduOpcode.textRequest,
  PduOpcode.logoutRequest,
]);

/**
 * The opcodes that a discovery session may send (RFC 7143 4.3). It is often unauthenticated, so it must not affect
 * other sessions.
 */
const ALLOWED_IN_DISCOVERY: ReadonlySet<number> = new Set([
  PduOpcode.nopOut,
  PduOpcode.textRequest,
  PduOpcode.logoutRequest,
]);

/**
 * A session in full feature phase: takes PDUs in order, numbers responses, and passes commands to its engine. The
 * session ends with its connection, because MaxConnections is 1 and the error recovery level is 0.
 */
export class TargetSession implements EngineEvents, ManagedSession {
  readonly #context: SessionContext;
  readonly #events: SessionEvents;
  readonly #nexuses: readonly Nexus[];
  readonly #engine: CommandEngine | null;
  readonly #responses: ControlResponses;
  readonly #text: TargetTextExchange;
  /** PDUs that wait for a free task or response, in order. */
  readonly #waiting = new Ring<TargetRxDescriptor>(RECEIVES);
  readonly #command = new ScsiCommandPdu();
  readonly #nopOut = new NopOutPdu();
  readonly #taskManagement = new TaskManagementRequestPdu();
  readonly #textRequest = new TextRequestPdu();
  readonly #logout = new LogoutRequestPdu();
  readonly #retry = (): void => this.#handleWaiting();
  #retryScheduled = false;
  #managementCount = 0;
  #isEnding = false;
  #isLoggedOut = false;

  constructor(context: SessionContext, events: SessionEvents) {
    this.#context = context;
    this.#events = events;
    const { units, listing, isDiscovery, channel, window, memory, port } = context;
    this.#nexuses = isDiscovery ? [] : units.enter(port);
    this.#responses = new ControlResponses({
      channel,
      window,
      memory: (index) => memory.controlResponse(index),
      freed: () => this.onTaskFree(),
    });
    this.#text = new TargetTextExchange(listing, isDiscovery);
    this.#engine = isDiscovery
      ? null
      : new CommandEngine({ ...context, nexuses: this.#nexuses }, this, (index) =>
          memory.taskResponse(index),
        );
  }

  /** Takes a PDU whose lengths are checked. The session owns `rx` until it is posted again. */
  receive(rx: TargetRxDescriptor): void {
    if (this.#isEnding) return;
    if (this.#waiting.length > 0 || !this.#handle(rx)) this.#waiting.push(rx);
  }

  /** Pings the initiator. */
  ping(): void {
    this.#responses.ping();
  }

  /** Takes no more PDUs. Running commands are still answered. */
  quiesce(): void {
    this.#isEnding = true;
  }

  /** The queue pair is in the error state, so no answer is possible any more. */
  stop(): void {
    this.#isEnding = true;
    this.#engine?.stop();
  }

  /** Resolves when no command uses a buffer or a store any more. */
  idle(): Promise<void> {
    return this.#engine?.idle() ?? Promise.resolve();
  }

  /** The session and all its commands have ended. */
  leave(): void {
    this.#context.units.leave(this.#nexuses);
  }

  /** The number of completed RDMA Reads. */
  get readsDone(): number {
    return this.#engine?.readsDone ?? 0;
  }

  // Of the engine.

  onViolation(reason: string): void {
    this.#isEnding = true;
    this.#events.onViolation(reason);
  }

  onReceiveDone(rx: TargetRxDescriptor): void {
    this.#context.channel.receive(rx.request);
  }

  onTaskFree(): void {
    if (this.#waiting.length === 0 || this.#retryScheduled) return;
    // In a later turn, because the caller may be in the middle of a task's end.
    this.#retryScheduled = true;
    soon(this.#retry);
  }

  // For task management, from any session of the target.

  abortTasks(isMeant: (task: CommandTask) => boolean, ended: () => void, by: Aborter): number {
    return this.#engine?.abort(isMeant, ended, by) ?? 0;
  }

  hasTask(initiatorTaskTag: number): boolean {
    return this.#engine?.find(initiatorTaskTag)?.isAbortable ?? false;
  }

  establishAttention(lun: number, attention: number): void {
    this.#nexuses[lun]?.establish(attention);
  }

  end(reason: string): void {
    this.onViolation(reason);
  }

  #handleWaiting(): void {
    this.#retryScheduled = false;
    while (!this.#isEnding) {
      const rx = this.#waiting.peek();
      if (rx === undefined || !this.#handle(rx)) return;
      this.#waiting.shift();
    }
  }

  /** False, without any effect, when the PDU has to wait for a task or a response. */
  #handle(rx: TargetRxDescriptor): boolean {
    const opcode = opcodeAt(rx.view, rx.bhsOffset);
    const isImmediate = isImmediateAt(rx.view, rx.bhsOffset);
    if (!this.#responses.hasIdle) return false;
    if (opcode === PduOpcode.scsiCommand && this.#engine?.hasIdleTask === false) return false;
    if (this.#isLoggedOut) {
      this.onReceiveDone(rx);
      return true;
    }
    if (NUMBERED.has(opcode) && !this.#admit(rx, isImmediate)) return true;
    if (this.#engine === null && !ALLOWED_IN_DISCOVERY.has(opcode)) {
      this.#rejectInDiscovery(rx, opcode, isImmediate);
      return true;
    }
    switch (opcode) {
      case PduOpcode.scsiCommand:
        this.#handleCommand(rx);
        return true;
      case PduOpcode.nopOut:
        this.#handleNopOut(rx);
        break;
      case PduOpcode.taskManagementRequest:
        this.#handleTaskManagement(rx);
        break;
      case PduOpcode.textRequest:
        this.#handleText(rx);
        break;
      case PduOpcode.logoutRequest:
        this.#handleLogout(rx);
        break;
      case PduOpcode.dataOut:
        // InitialR2T=Yes was agreed, so no Data-Out is expected, and solicited ones do not exist on iSER.
        this.#reject(rx, RejectReason.protocolError);
        break;
      case PduOpcode.snackRequest:
        this.#reject(rx, RejectReason.snackReject);
        break;
      case PduOpcode.loginRequest:
        this.onViolation('a Login Request in full feature phase');
        return true;
      default:
        this.#reject(rx, RejectReason.commandNotSupported);
    }
    this.onReceiveDone(rx);
    return true;
  }

  /** Checks a PDU's CmdSN. False: do not handle the PDU. */
  #admit(rx: TargetRxDescriptor, isImmediate: boolean): boolean {
    const { window, log } = this.#context;
    const cmdSn = rx.view.getUint32(rx.bhsOffset + AT_CMD_SN);
    switch (window.admit(cmdSn, isImmediate)) {
      case 'accept':
        return true;
      case 'drop': {
        const { expCmdSn, maxCmdSn } = window;
        log.warn({ cmdSn, expCmdSn, maxCmdSn }, 'a command outside the window was ignored');
        this.onReceiveDone(rx);
        return false;
      }
      case 'gap':
        this.onViolation(`CmdSN ${cmdSn} arrived, but ${window.expCmdSn} is missing`);
        return false;
    }
  }

  #handleCommand(rx: TargetRxDescriptor): void {
    const pdu = this.#command;
    const engine = this.#engine;
    decodeScsiCommand(rx.view, rx.bhsOffset, pdu);
    const { initiatorTaskTag, immediate } = pdu;
    if (engine === null) return;
    if (initiatorTaskTag === RESERVED_TAG) {
      this.#rejectCommand(rx, RejectReason.invalidPduField, immediate);
    } else if (engine.find(initiatorTaskTag) !== null) {
      this.#rejectCommand(rx, RejectReason.taskInProgress, immediate);
    } else {
      engine.start(rx, pdu);
    }
  }

  #rejectInDiscovery(rx: TargetRxDescriptor, opcode: number, isImmediate: boolean): void {
    if (opcode === PduOpcode.loginRequest) {
      this.onViolation('a Login Request in full feature phase');
      return;
    }
    if (NUMBERED.has(opcode)) this.#ended(isImmediate);
    this.#reject(rx, RejectReason.commandNotSupported);
    this.onReceiveDone(rx);
  }

  #rejectCommand(rx: TargetRxDescriptor, reason: number, isImmediate: boolean): void {
    this.#ended(isImmediate);
    this.#reject(rx, reason);
    this.onReceiveDone(rx);
  }

  #handleNopOut(rx: TargetRxDescriptor): void {
    const pdu = this.#nopOut;
    decodeNopOut(rx.view, rx.bhsOffset, pdu);
    this.#ended(pdu.immediate);
    // A NOP-Out without a task tag answers our ping. Its arrival is enough.
    if (pdu.initiatorTaskTag === RESERVED_TAG) return;
    this.#responses.nopIn(pdu, rx);
  }

  #handleTaskManagement(rx: TargetRxDescriptor): void {
    const pdu = this.#taskManagement;
    decodeTaskManagementRequest(rx.view, rx.bhsOffset, pdu);
    const { units, target, log } = this.#context;
    const lun = units.indexOf(pdu.lunHigh, pdu.lunLow);
    const { initiatorTaskTag, immediate } = pdu;
    const isColdReset = pdu.function === TaskManagementFunction.targetColdReset;
    log.info({ function: taskManagementFunctionName(pdu.function), lun }, 'task management');
    if (this.#managementCount === TASK_MANAGEMENT_MAX) {
      this.#ended(immediate);
      this.#responses.taskManagement(initiatorTaskTag, TaskManagementStatus.rejected, () => {});
      return;
    }
    this.#managementCount += 1;
    manageTasks(pdu, lun, this, target, (status) => {
      this.#managementCount -= 1;
      this.#ended(immediate);
      this.#responses.taskManagement(initiatorTaskTag, status, () => {
        if (!isColdReset) return;
        for (const session of target.sessions()) session.end('target cold reset');
      });
    });
  }

  #handleText(rx: TargetRxDescriptor): void {
    const pdu = this.#textRequest;
    decodeTextRequest(rx.view, rx.bhsOffset, pdu);
    this.#ended(pdu.immediate);
    try {
      this.#text.receive(pdu, rx.view, rx.dataOffset, rx.dataLength);
    } catch (error) {
      if (!(error instanceof IscsiProtocolError)) throw error;
      this.#context.log.warn({ reason: error.message }, 'a text request was rejected');
      this.#reject(rx, RejectReason.protocolError);
      return;
    }
    this.#responses.text(pdu, this.#text);
  }

  #handleLogout(rx: TargetRxDescriptor): void {
    const pdu = this.#logout;
    decodeLogoutRequest(rx.view, rx.bhsOffset, pdu);
    this.#ended(pdu.immediate);
    const status = this.#logoutStatus(pdu);
    this.#isLoggedOut = status === LogoutStatus.closed;
    this.#responses.logout(pdu.initiatorTaskTag, status, () => {
      if (this.#isLoggedOut) this.#events.onLogout();
    });
  }

  #logoutStatus({ reason, cid }: LogoutRequestPdu): number {
    switch (reason) {
      case LogoutReason.closeSession:
        return LogoutStatus.closed;
      case LogoutReason.closeConnection:
        return cid === this.#context.cid ? LogoutStatus.closed : LogoutStatus.connectionNotFound;
      default:
        return LogoutStatus.recoveryNotSupported;
    }
  }

  #reject(rx: TargetRxDescriptor, reason: number): void {
    const { log } = this.#context;
    const opcode = opcodeName(opcodeAt(rx.view, rx.bhsOffset));
    log.warn({ opcode, reason: rejectReasonName(reason) }, 'a PDU was rejected');
    this.#responses.reject(rx, reason);
  }

  /** A PDU other than a command is handled. If it used a CmdSN, the window moves. */
  #ended(isImmediate: boolean): void {
    if (!isImmediate) this.#context.window.ended();
  }
}
