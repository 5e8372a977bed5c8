import { DeliveryOutcome } from '../scsi/port.js';
import type { Logger } from '../observe/log.js';
import {
  TaskManagementFunction,
  TaskManagementStatus,
  taskManagementFunctionName,
  taskManagementStatusText,
} from '../iscsi/codes.js';
import type { ControlPlane } from './control-plane.js';
import { IscsiSessionError } from '../iscsi/errors.js';
import { ABORT_GRACE_MS, QUESTIONED_MS } from './limits.js';
import { ticksFor } from './liveness.js';
import type { LunPort } from './lun-port.js';
import { CommandPhase, TaskKind } from './task-slot.js';
import type { TaskSlot } from './task-slot.js';
import type { TaskTable } from './task-table.js';
import type { IscsiTimeouts } from './timeouts.js';

/** What {@link TaskManager} needs from its connection. */
export interface TaskManagementHost {
  /** Ends a command without a response. */
  finishCommand(slot: TaskSlot, outcome: DeliveryOutcome): void;
  /** `count` commands ended without a response. Slots may be free now. */
  commandsAborted(count: number): void;
  fail(error: IscsiSessionError): void;
}

interface Reset {
  readonly port: LunPort;
  readonly deadlineTick: number;
  readonly settle: (error: IscsiSessionError | null) => void;
}

/**
 * Command timeouts and resets (RFC 7143 11.5). The manager aborts a command that takes too long. If the abort fails,
 * the manager resets the logical unit. If the reset fails, the connection fails. The caller counts the time in ticks.
 *
 * A target that does not know the task to abort has most likely ended the task because of another initiator's reset.
 * We then send no reset: it would end the commands of that initiator, and two gateways would reset the unit in turn
 * for ever.
 */
export class TaskManager {
  readonly #host: TaskManagementHost;
  readonly #tasks: TaskTable;
  readonly #control: ControlPlane;
  readonly #timeouts: IscsiTimeouts;
  readonly #log: Logger;
  readonly #resets = new Set<Reset>();
  #nowTick = 0;
  /** The number of commands that ended during the present {@link tick}. */
  #endedCount = 0;
  readonly #look = (slot: TaskSlot): void => this.#lookAt(slot);

  constructor(options: {
    host: TaskManagementHost;
    tasks: TaskTable;
    control: ControlPlane;
    timeouts: IscsiTimeouts;
    log: Logger;
  }) {
    this.#host = options.host;
    this.#tasks = options.tasks;
    this.#control = options.control;
    this.#timeouts = options.timeouts;
    this.#log = options.log;
  }

  tick(nowTick: number): void {
    this.#nowTick = nowTick;
    this.#endedCount = 0;
    this.#tasks.forEach(this.#look);
    if (this.#endedCount > 0) this.#host.commandsAborted(this.#endedCount);
    for (const reset of this.#resets) {
      if (reset.deadlineTick > nowTick) continue;
      this.#host.fail(
        new IscsiSessionError(
          'iscsi-reset-timeout',
          `the target did not answer LOGICAL UNIT RESET for ${reset.port.name}`,
        ),
      );
      return;
    }
  }

  /** Resets the port's logical unit. Calls `settle` once, with null after success. */
  resetLogicalUnit(port: LunPort, settle: (error: IscsiSessionError | null) => void): void {
    const deadlineTick = this.#nowTick + ticksFor(this.#timeouts.resetMs);
    const reset: Reset = { port, deadlineTick, settle };
    this.#control.manageTasks(
      { function: TaskManagementFunction.logicalUnitReset, port, task: null },
      {
        onTaskManagement: (response) => {
          this.#resets.delete(reset);
          this.#resetAnswered(reset, response === null ? null : response.response);
        },
      },
    );
    this.#resets.add(reset);
    port.isResetting = true;
    this.#tasks.forEach((slot) => {
      if (isCommandOf(slot, port)) slot.phase = CommandPhase.resetting;
    });
  }

  /**
   * Another initiator's reset may have ended the port's commands without an answer. The manager aborts a command that
   * gets no answer soon.
   */
  questionOutstanding(port: LunPort): void {
    const deadlineTick = this.#nowTick + ticksFor(QUESTIONED_MS);
    this.#tasks.forEach((slot) => {
      if (!isCommandOf(slot, port) || slot.phase !== CommandPhase.active) return;
      if (slot.deadlineTick <= deadlineTick) return;
      slot.deadlineTick = deadlineTick;
      slot.isQuestioned = true;
    });
  }

  /** The connection has ended. Every pending reset fails. */
  close(): void {
    for (const reset of [...this.#resets]) {
      this.#resets.delete(reset);
      this.#resetAnswered(reset, null);
    }
  }

  #lookAt(slot: TaskSlot): void {
    const { port } = slot;
    if (slot.kind !== TaskKind.command || port === null || slot.deadlineTick > this.#nowTick)
      return;
    switch (slot.phase) {
      case CommandPhase.active:
        slot.hasTimedOut = !slot.isQuestioned;
        this.#log.warn(
          { lun: port.lun, tag: slot.tag },
          slot.isQuestioned
            ? 'no answer to a command after a reset of the unit; aborting the command'
            : 'command timed out; aborting the command',
        );
        this.#abort(slot, port);
        return;
      case CommandPhase.aborting:
        this.#escalate(port);
        return;
      case CommandPhase.resetting:
        slot.hasTimedOut = true;
        return;
      case CommandPhase.unknown:
        this.#host.finishCommand(slot, outcomeOf(slot));
        this.#endedCount++;
        return;
    }
  }

  #abort(slot: TaskSlot, port: LunPort): void {
    const { tag, cmdSn } = slot;
    slot.phase = CommandPhase.aborting;
    slot.deadlineTick = this.#nowTick + ticksFor(this.#timeouts.abortMs);
    const isAborting = (): boolean => this.#tasks.get(tag)?.phase === CommandPhase.aborting;
    this.#control.manageTasks(
      { function: TaskManagementFunction.abortTask, port, task: { tag, cmdSn } },
      {
        onTaskManagement: (response) => {
          const current = this.#tasks.get(tag);
          // The command's own response may have arrived first, or a reset may cover the command now.
          if (response === null || current === undefined || !isAborting()) return;
          this.#abortAnswered(current, port, response.response);
        },
      },
      isAborting,
    );
  }

  #abortAnswered(slot: TaskSlot, port: LunPort, status: number): void {
    switch (status) {
      case TaskManagementStatus.complete:
        this.#host.finishCommand(slot, outcomeOf(slot));
        this.#host.commandsAborted(1);
        return;
      case TaskManagementStatus.noSuchTask:
        // The response of the command may be on its way.
        slot.phase = CommandPhase.unknown;
        slot.deadlineTick = this.#nowTick + ticksFor(ABORT_GRACE_MS);
        return;
      default:
        this.#log.warn(
          { lun: port.lun, answer: taskManagementStatusText(status) },
          `${taskManagementFunctionName(TaskManagementFunction.abortTask)} failed`,
        );
        this.#escalate(port);
    }
  }

  #escalate(port: LunPort): void {
    if (port.isResetting) return;
    this.#log.warn({ lun: port.lun }, 'resetting the logical unit');
    this.resetLogicalUnit(port, (error) => {
      if (error !== null) this.#host.fail(error);
    });
  }

  #resetAnswered({ port, settle }: Reset, status: number | null): void {
    port.isResetting = false;
    if (status === null) {
      settle(
        new IscsiSessionError('iscsi-connection-lost', 'the connection was lost during the reset'),
      );
      return;
    }
    if (status !== TaskManagementStatus.complete) {
      this.#resetRefused(port, status, settle);
      return;
    }
    let count = 0;
    this.#tasks.forEach((slot) => {
      if (!isCommandOf(slot, port) || slot.phase !== CommandPhase.resetting) return;
      this.#host.finishCommand(slot, outcomeOf(slot));
      count++;
    });
    settle(null);
    this.#host.commandsAborted(count);
  }

  #resetRefused(port: LunPort, status: number, settle: Reset['settle']): void {
    const error = new IscsiSessionError(
      'iscsi-reset-refused',
      `the target refused LOGICAL UNIT RESET for ${port.name}: ${taskManagementStatusText(status)}`,
      { port: port.name, response: status },
    );
    let isCommandStuck = false;
    this.#tasks.forEach((slot) => {
      if (!isCommandOf(slot, port)) return;
      slot.phase = CommandPhase.active;
      if (slot.hasTimedOut) isCommandStuck = true;
    });
    settle(error);
    if (isCommandStuck) this.#host.fail(error);
    else this.#host.commandsAborted(0);
  }
}

function outcomeOf({ hasTimedOut }: TaskSlot): DeliveryOutcome {
  return hasTimedOut ? DeliveryOutcome.timedOut : DeliveryOutcome.aborted;
}

function isCommandOf(slot: TaskSlot, port: LunPort): boolean {
  return slot.kind === TaskKind.command && slot.port === port;
}
