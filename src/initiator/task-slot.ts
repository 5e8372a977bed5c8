import type { ScsiCommand } from '../scsi/port.js';
import type { DatamoverTask } from '../iscsi/datamover.js';
import type { LunPort } from './lun-port.js';
import type { TaskManagementResponsePdu, TextResponsePdu } from '../iscsi/response-wire.js';
import { RESERVED_TAG } from '../iscsi/wire.js';
import type { TaskTag } from '../iscsi/wire.js';

/** The present use of a task tag. */
export const TaskKind = {
  idle: 0,
  command: 1,
  ping: 2,
  taskManagement: 3,
  text: 4,
  logout: 5,
} as const;
export type TaskKind = (typeof TaskKind)[keyof typeof TaskKind];

/**
 * The phases of a command's timeout:
 *
 *     active ──timeout──▶ aborting ──refused, or timeout──▶ resetting ──refused, or timeout──▶ connection fails
 *        │                   │  └──"task does not exist"──▶ unknown ──a while──▶ done
 *        └───────────────────┴── response, or function complete ──┴──▶ done
 */
export const CommandPhase = { active: 0, aborting: 1, resetting: 2, unknown: 3 } as const;
export type CommandPhase = (typeof CommandPhase)[keyof typeof CommandPhase];

/** Receives the answer to a control PDU, or null when no answer will come. */
export interface ControlHandler {
  onTaskManagement?(response: TaskManagementResponsePdu | null): void;
  onText?(response: TextResponsePdu | null, view: DataView, offset: number, length: number): void;
  /** The answer to a ping or a logout. `isAnswered` is false when the target rejected the PDU. */
  onAnswer?(isAnswered: boolean): void;
}

/**
 * One entry of the connection's task table. Its tag is the Initiator Task Tag. Commands and control PDUs share one
 * range of tags, because tags must not collide. A control PDU does not use its `task`.
 */
export class TaskSlot {
  readonly task: DatamoverTask;
  tag = RESERVED_TAG as TaskTag;
  kind: TaskKind = TaskKind.idle;

  command: ScsiCommand | null = null;
  port: LunPort | null = null;
  cmdSn = 0;
  phase: CommandPhase = CommandPhase.active;
  /** The tick of the connection's clock at which the phase times out. */
  deadlineTick = 0;
  hasTimedOut = false;
  /** Another initiator may have ended the command, so its deadline is near. */
  isQuestioned = false;

  control: ControlHandler | null = null;

  constructor(task: DatamoverTask) {
    this.task = task;
  }
}
