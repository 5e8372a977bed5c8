import type { TaskTag } from '../iscsi/wire.js';
import { StateMachine } from '../common/state-machine.js';
import type { Edges } from '../common/state-machine.js';
import { assert } from '../common/assert.js';
import type { Clock, Timer } from '../common/clock.js';
import { IserNbdError } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { DeliveryOutcome } from '../scsi/port.js';
import { DataDirection } from '../common/data-direction.js';
import type { ScsiCommand } from '../scsi/port.js';
import { PduOpcode, ScsiServiceResponse, TaskAttribute, opcodeName } from '../iscsi/codes.js';
import { ControlPlane } from './control-plane.js';
import { ControlReplies, unknownTag } from './control-replies.js';
import type {
  DatamoverConnection,
  DatamoverHandler,
  DatamoverLimits,
  DatamoverTask,
} from '../iscsi/datamover.js';
import { IscsiProtocolError, IscsiSessionError } from '../iscsi/errors.js';
import { ABORTED_SHARE_LEFT_MIN, DEADLINE_TICK_MS, LOGOUT_CLOSE_MS } from './limits.js';
import { Liveness, ticksFor } from './liveness.js';
import type { LoginResult } from './login.js';
import type { LunPort } from './lun-port.js';
import { isDataMissing, readScsiResult } from './scsi-result.js';
import { TargetEvents } from './target-events.js';
import { TaskManager } from './task-management.js';
import { TaskKind } from './task-slot.js';
import type { TaskSlot } from './task-slot.js';
import { TaskTable } from './task-table.js';
import type { IscsiTimeouts } from './timeouts.js';
import { ScsiCommandPdu, encodeScsiCommand } from '../iscsi/request-wire.js';
import {
  NopInPdu,
  ScsiResponsePdu,
  decodeNopIn,
  decodeScsiResponse,
} from '../iscsi/response-wire.js';
import {
  RESERVED_TAG,
  ResponseNumbers,
  decodeResponseNumbers,
  opcodeAt,
  taskTagAt,
} from '../iscsi/wire.js';
import { CommandWindow, StatusSequence } from './window.js';

/** The session that uses the connection. */
export interface ConnectionOwner {
  /** The connection may now send another command. */
  capacityFreed(): void;
  /** True when commands wait until the connection can take them. */
  readonly hasQueued: boolean;
  /** Called once, when every command of the connection has ended. `error` is null after our own logout. */
  connectionEnded(error: IserNbdError | null): void;
}

export interface IscsiConnectionOptions {
  readonly datamover: DatamoverConnection;
  readonly tasks: readonly DatamoverTask[];
  readonly login: LoginResult;
  readonly immediateBytesMax: number;
  readonly owner: ConnectionOwner;
  readonly timeouts: IscsiTimeouts;
  readonly clock: Clock;
  readonly log: Logger;
}

type ConnectionState = 'up' | 'draining' | 'logging out' | 'terminating' | 'ended';

const EDGES: Edges<ConnectionState> = {
  up: ['draining', 'terminating', 'ended'],
  draining: ['logging out', 'terminating', 'ended'],
  'logging out': ['terminating', 'ended'],
  terminating: ['ended'],
  ended: [],
};

/**
 * A connection in full feature phase:
 *
 *     up ──drain──▶ draining ──last command──▶ logging out ──answer──▶ terminating ──▶ ended
 *      └───────────────┴──── fail ─────────────────┴──────────────────────▲
 *
 * Every command that was sent ends exactly once: with its response, by task management, or with the connection.
 */
export class IscsiConnection implements DatamoverHandler {
  readonly window: CommandWindow;
  readonly control: ControlPlane;
  readonly taskManager: TaskManager;
  readonly #options: IscsiConnectionOptions;
  readonly #datamover: DatamoverConnection;
  readonly #limits: DatamoverLimits;
  readonly #log: Logger;
  readonly #tasks: TaskTable;
  readonly #status: StatusSequence;
  readonly #events: TargetEvents;
  readonly #replies: ControlReplies;
  readonly #liveness: Liveness;
  readonly #commandsAtStart: number;
  /** The target loses receives with aborted commands, so this shrinks by their number. */
  #commandsMax: number;
  #commands = 0;
  readonly #machine = new StateMachine('an iSCSI connection', EDGES, 'up');
  #error: IserNbdError | null = null;
  #drainDeadlineTick = 0;
  /** The data of the outstanding read commands, and of the outstanding write commands. */
  #readBytes = 0;
  #writeBytes = 0;

  #timer: Timer | null = null;
  #nowTick = 0;

  readonly #commandPdu = new ScsiCommandPdu();
  readonly #responsePdu = new ScsiResponsePdu();
  readonly #numbers = new ResponseNumbers();
  readonly #nopIn = new NopInPdu();

  constructor(options: IscsiConnectionOptions) {
    const { datamover, login } = options;
    this.#options = options;
    this.#datamover = datamover;
    this.#limits = datamover.limits;
    this.#log = options.log;
    this.#tasks = new TaskTable(options.tasks);
    this.window = new CommandWindow(login.cmdSn, login.expCmdSn, login.maxCmdSn);
    this.#status = new StatusSequence(login.expStatSn);
    const pdusMax = controlPlaces(options);
    this.#commandsAtStart = this.#tasks.capacity - pdusMax;
    this.#commandsMax = this.#commandsAtStart;
    this.control = new ControlPlane({
      datamover,
      tasks: this.#tasks,
      window: this.window,
      status: this.#status,
      pdusMax,
    });
    const { timeouts, log } = options;
    const tasks = this.#tasks;
    this.taskManager = new TaskManager({ host: this, tasks, control: this.control, timeouts, log });
    this.#events = new TargetEvents(this, log);
    this.#replies = new ControlReplies(tasks, this.control, log);
    this.#liveness = new Liveness(this.control, timeouts);
    this.#armTick();
  }

  /** Our own limit of outstanding commands. The target's window may be smaller. */
  get commandsMax(): number {
    return this.#commandsMax;
  }

  get commandCount(): number {
    return this.#commands;
  }

  get isUp(): boolean {
    return this.#machine.state === 'up';
  }

  get canSend(): boolean {
    return this.#machine.state === 'up' && this.#commands < this.#commandsMax && this.window.isOpen;
  }

  /**
   * True when the connection can send the command now: a slot is free, and its data fits. A command with more data
   * than the limit is sent alone.
   */
  canTake({ direction, dataLength }: ScsiCommand): boolean {
    if (!this.canSend) return false;
    const { readBytesOutstandingMax, writeBytesOutstandingMax } = this.#limits;
    if (direction === DataDirection.in) {
      const bytes = this.#readBytes;
      return bytes === 0 || bytes + dataLength <= readBytesOutstandingMax;
    }
    if (direction !== DataDirection.out) return true;
    const bytes = this.#writeBytes;
    return bytes === 0 || bytes + dataLength <= writeBytesOutstandingMax;
  }

  /** Sends a command. The caller has checked {@link canTake}. */
  send(command: ScsiCommand, port: LunPort): void {
    const slot = this.#tasks.acquire(TaskKind.command);
    assert(slot !== null, 'no task tag is free for a command');
    slot.command = command;
    slot.port = port;
    slot.cmdSn = this.window.take();
    const timeoutMs = command.timeoutMs > 0 ? command.timeoutMs : this.#options.timeouts.commandMs;
    slot.deadlineTick = this.#nowTick + ticksFor(timeoutMs);
    this.#commands++;
    this.#countBytes(command, 1);
    this.#fillTask(slot, command);
    this.#datamover.sendCommand(slot.task);
  }

  /** Stops sending, waits up to `withinMs` for the outstanding commands, then logs out. The owner receives `reason`. */
  drain(reason: IserNbdError | null, withinMs: number): void {
    if (this.#machine.state !== 'up') return;
    this.#machine.enter('draining');
    this.#error = reason;
    this.#drainDeadlineTick = this.#nowTick + ticksFor(withinMs);
    if (this.#commands === 0) this.#logout();
  }

  /** Ends the connection because of `error`. Commands end when the datamover has released their buffers. */
  fail(error: IserNbdError): void {
    if (this.#machine.state === 'terminating' || this.#machine.state === 'ended') return;
    this.#log.warn({ err: error, code: error.code }, 'connection failed');
    this.#error = error;
    this.#terminate();
  }

  controlNotify(view: DataView, bhsOffset: number, dataOffset: number, dataLength: number): void {
    if (this.#machine.state === 'terminating' || this.#machine.state === 'ended') return;
    this.#liveness.heard();
    try {
      this.#dispatch(view, bhsOffset, dataOffset, dataLength);
    } catch (error) {
      this.#failBecause(error);
    }
  }

  taskByTag(initiatorTaskTag: TaskTag): DatamoverTask | null {
    const slot = this.#tasks.get(initiatorTaskTag);
    return slot !== undefined && slot.kind === TaskKind.command ? slot.task : null;
  }

  terminateNotify(error: Error | null): void {
    if (this.#machine.state === 'ended') return;
    const isExpected =
      this.#machine.state === 'terminating' || this.#machine.state === 'logging out';
    if (!isExpected) {
      const reason = error === null ? 'the target closed the connection' : error.message;
      this.#error = new IscsiSessionError('iscsi-connection-lost', reason, {}, error ?? undefined);
    }
    this.#end();
  }

  /** Ends a command. The task manager calls this for commands without a response. */
  finishCommand(slot: TaskSlot, outcome: DeliveryOutcome): void {
    const { command, task } = slot;
    assert(command !== null, 'the slot holds a command');
    // The target must lose access to the buffer before the owner gets the buffer back.
    if (task.isActive) this.#datamover.finishTask(task);
    task.slab = null;
    this.#tasks.release(slot);
    this.#commands--;
    this.#countBytes(command, -1);
    command.outcome = outcome;
    command.done(command);
  }

  #countBytes({ direction, dataLength }: ScsiCommand, sign: 1 | -1): void {
    if (direction === DataDirection.in) this.#readBytes += sign * dataLength;
    else if (direction === DataDirection.out) this.#writeBytes += sign * dataLength;
  }

  /** `count` commands ended without a response. The target may have lost receives with them. */
  commandsAborted(count: number): void {
    this.#commandsMax -= count * this.#limits.receivesPerAbort;
    if (this.#commandsMax < Math.max(1, this.#commandsAtStart * ABORTED_SHARE_LEFT_MIN)) {
      this.fail(
        new IscsiSessionError(
          'iscsi-too-many-aborts',
          'too many commands were aborted; the target may have no receive buffers left',
        ),
      );
      return;
    }
    this.#commandEnded();
  }

  #fillTask(slot: TaskSlot, command: ScsiCommand): void {
    const { task, port } = slot;
    const length = command.dataLength;
    const isWrite = command.direction === DataDirection.out && length > 0;
    const isRead = command.direction === DataDirection.in && length > 0;
    // isert on siw corrupts partial immediate data, so a write sends all its data as immediate data, or none.
    const immediateLength = isWrite && length <= this.#options.immediateBytesMax ? length : 0;
    const pdu = this.#commandPdu;
    pdu.read = isRead;
    pdu.write = isWrite;
    pdu.attribute = TaskAttribute.simple;
    pdu.dataSegmentLength = immediateLength;
    pdu.lunHigh = port === null ? 0 : port.lunHigh;
    pdu.initiatorTaskTag = slot.tag;
    pdu.expectedDataTransferLength = isRead || isWrite ? length : 0;
    pdu.cmdSn = slot.cmdSn;
    pdu.expStatSn = this.#status.expStatSn;
    encodeScsiCommand(task.view, task.bhsOffset, pdu, command.cdbView);
    task.direction = isRead || isWrite ? command.direction : DataDirection.none;
    task.slab = command.slab;
    task.slabOffset = command.slabOffset;
    task.dataLength = isRead || isWrite ? length : 0;
    task.immediateLength = immediateLength;
  }

  #dispatch(view: DataView, bhs: number, data: number, length: number): void {
    const opcode = opcodeAt(view, bhs);
    if (opcode === PduOpcode.nopIn && taskTagAt(view, bhs) === RESERVED_TAG) {
      // The StatSN of this NOP-In is the number of the next response (RFC 7143 11.19).
      this.#takeNumbers(view, bhs, false);
      this.#onTargetPing(view, bhs);
      this.#options.owner.capacityFreed();
      return;
    }
    this.#takeNumbers(view, bhs, true);
    if (opcode === PduOpcode.scsiResponse) {
      this.#onScsiResponse(view, bhs, data, length);
      return;
    }
    if (opcode === PduOpcode.asyncMessage) this.#events.onAsyncMessage(view, bhs);
    else if (opcode === PduOpcode.reject) this.#events.onReject(view, bhs, data, length);
    else if (!this.#replies.receive(view, bhs, data, length)) {
      throw new IscsiProtocolError(`the target sent a ${opcodeName(opcode)}`, { opcode });
    }
    this.#options.owner.capacityFreed();
  }

  #takeNumbers(view: DataView, bhs: number, takesStatSn: boolean): void {
    decodeResponseNumbers(view, bhs, this.#numbers);
    this.window.update(this.#numbers.expCmdSn, this.#numbers.maxCmdSn);
    if (takesStatSn) this.#status.received(this.#numbers.statSn);
  }

  #onScsiResponse(view: DataView, bhs: number, data: number, length: number): void {
    const response = this.#responsePdu;
    decodeScsiResponse(view, bhs, response);
    const slot = this.#tasks.get(taskTagAt(view, bhs));
    if (slot === undefined || slot.kind !== TaskKind.command || slot.command === null) {
      throw unknownTag(PduOpcode.scsiResponse, response.initiatorTaskTag);
    }
    readScsiResult(slot.command, response, view, data, length);
    let outcome: DeliveryOutcome = DeliveryOutcome.delivered;
    if (response.response !== ScsiServiceResponse.commandCompleted) {
      this.#log.warn({ response: response.response }, 'the target could not finish a command');
      outcome = DeliveryOutcome.aborted;
    } else if (this.#datamover.limits.countsDataIn && isDataMissing(slot.command, slot.task)) {
      outcome = DeliveryOutcome.dataMissing;
    }
    this.finishCommand(slot, outcome);
    this.#commandEnded();
  }

  #commandEnded(): void {
    if (this.#machine.state === 'up') this.#options.owner.capacityFreed();
    else if (this.#machine.state === 'draining' && this.#commands === 0) this.#logout();
  }

  #onTargetPing(view: DataView, bhs: number): void {
    decodeNopIn(view, bhs, this.#nopIn);
    // A NOP-In without a transfer tag only updates the sequence numbers.
    if (this.#nopIn.targetTransferTag !== RESERVED_TAG) this.control.answerPing(this.#nopIn);
  }

  /** Called by the target's events: the target rejected the PDU with this tag. */
  rejectTask(initiatorTaskTag: TaskTag, reason: string): void {
    this.#replies.reject(initiatorTaskTag, reason);
  }

  #logout(): void {
    this.#machine.enter('logging out');
    this.#drainDeadlineTick = this.#nowTick + ticksFor(this.#options.timeouts.logoutMs);
    this.control.logout({ onAnswer: () => this.#loggedOut() });
  }

  /** The target should close the connection now. If it does not, we close the connection. */
  #loggedOut(): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(LOGOUT_CLOSE_MS, () => this.#terminate());
  }

  #armTick(): void {
    this.#timer = this.#options.clock.after(DEADLINE_TICK_MS, () => this.#tick());
  }

  #tick(): void {
    this.#nowTick++;
    this.#armTick();
    if (this.#machine.state === 'draining' && this.#nowTick >= this.#drainDeadlineTick)
      this.#logout();
    if (this.#machine.state === 'logging out') {
      if (this.#nowTick < this.#drainDeadlineTick) return;
      this.#log.warn('the target did not answer the logout');
      this.#terminate();
      return;
    }
    try {
      const isShut = this.#commands === 0 && !this.window.isOpen && this.#options.owner.hasQueued;
      const trouble = this.#liveness.tick(this.#nowTick, isShut);
      if (trouble !== null) this.fail(trouble);
      else this.taskManager.tick(this.#nowTick);
    } catch (error) {
      this.#failBecause(error);
    }
  }

  /** An operating error ends the connection. Any other error is a bug and goes to the caller. */
  #failBecause(error: unknown): void {
    if (!(error instanceof IserNbdError)) throw error;
    this.fail(error);
  }

  #terminate(): void {
    this.#machine.enter('terminating');
    this.control.close();
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(this.#options.timeouts.closeMs, () => {
      this.#log.warn('the datamover did not end its connection in time');
      this.#end();
    });
    this.#datamover.terminate().catch((error: unknown) => {
      this.#log.warn({ err: error }, 'the datamover could not end its connection');
    });
  }

  #end(): void {
    this.#machine.enter('ended');
    this.#timer?.cancel();
    this.control.close();
    this.taskManager.close();
    this.#tasks.forEach((slot) => {
      if (slot.kind === TaskKind.command) {
        this.finishCommand(slot, DeliveryOutcome.connectionLost);
        return;
      }
      this.#replies.abandon(slot);
    });
    this.#options.owner.connectionEnded(this.#error);
  }
}

/** The number of tasks that are kept for control PDUs. */
function controlPlaces({ datamover, tasks, login }: IscsiConnectionOptions): number {
  // 0 means no limit by the target (RFC 7145 6.7).
  const declared = login.declared.MaxOutstandingUnexpectedPDUs ?? 0;
  const { controlPdusMax } = datamover.limits;
  const wanted = declared === 0 ? controlPdusMax : Math.min(declared, controlPdusMax);
  return Math.max(1, Math.min(wanted, Math.floor(tasks.length / 2)));
}
