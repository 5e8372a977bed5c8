import type { ScsiCommand } from '../scsi/port.js';
import type { DatamoverTask } from '../iscsi/datamover.js';
import type { LunPort } from './lun-port.js';
import type { TaskManagementResponsePdu, TextResponsePdu } from '../iscsi/response-wire.js';
import { RESERVED_TAG } from '../iscsi/wire.js';

/** What a task tag stands for now. */
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
 * How far a command's timeout has come:
 *
 *     active ──timeout──▶ aborting ──refused, or timeout──▶ resetting ──refused, or timeout──▶ connection fails
 *        │                   │  └──"task does not exist"──▶ unknown ──a while──▶ done
 *        └───────────────────┴── response, or function complete ──┴──▶ done
 */
export const CommandPhase = { active: 0, aborting: 1, resetting: 2, unknown: 3 } as const;
export type CommandPhase = (typeof CommandPhase)[keyof typeof CommandPhase];

/** Takes the answer to a control PDU; null when there will be none. */
export interface ControlHandler {
  onTaskManagement?(response: TaskManagementResponsePdu | null): void;
  onText?(response: TextResponsePdu | null, view: DataView, offset: number, length: number): void;
  /** The answer to a ping or a logout; `isAnswered` is false when the target rejected it. */
  onAnswer?(isAnswered: boolean): void;
}

/**
 * One entry of the connection's task table; its tag is the Initiator Task Tag. Commands and control PDUs draw from
 * the same tags, because they must not collide; a control PDU leaves its `task` unused.
 */
export class TaskSlot {
  readonly task: DatamoverTask;
  tag = RESERVED_TAG;
  kind: TaskKind = TaskKind.idle;

  command: ScsiCommand | null = null;
  port: LunPort | null = null;
  cmdSn = 0;
  phase: CommandPhase = CommandPhase.active;
  /** The tick of the connection's clock at which the phase has lasted too long. */
  deadlineTick = 0;
  hasTimedOut = false;
  /** Somebody else may have ended it: it gets little time more. */
  isQuestioned = false;

  control: ControlHandler | null = null;

  constructor(task: DatamoverTask) {
    this.task = task;
  }
}
