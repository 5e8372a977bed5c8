import { TaskManagementFunction, TaskManagementStatus } from '../../iscsi/codes.js';
import type { TaskManagementRequestPdu } from '../../iscsi/request-wire.js';
import { Barrier } from '../unit/barrier.js';
import type { Aborter } from './command-engine.js';
import type { CommandTask } from './command-task.js';
import { Attention } from '../unit/nexus.js';

/** The view of a session for task management on any session of the target. */
export interface ManagedSession {
  /** Aborts the tasks for which `isMeant` is true, and returns their number. Calls `ended` once for each. */
  abortTasks(isMeant: (task: CommandTask) => boolean, ended: () => void, by: Aborter): number;
  /** True when a task with this tag exists and has no response yet. */
  hasTask(initiatorTaskTag: number): boolean;
  /** Establishes a unit attention, which the initiator receives with its next command to the LUN. */
  establishAttention(lun: number, attention: number): void;
  /** Ends the session. */
  end(reason: string): void;
}

/** The view of the target for task management. */
export interface ManagedTarget {
  readonly lunCount: number;
  /** All sessions, including the session of the request, and ending sessions that may still have commands. */
  sessions(): Iterable<ManagedSession>;
  /** Resets the state of a LUN other than its tasks. */
  resetUnit(lun: number): void;
}

/**
 * Executes a task management function (RFC 7143 11.5). Calls `respond` once with the response code, as soon as no
 * affected task can touch the medium any more.
 */
export function manageTasks(
  request: TaskManagementRequestPdu,
  lun: number,
  own: ManagedSession,
  target: ManagedTarget,
  respond: (status: number) => void,
): void {
  const { complete, noSuchLun, noSuchTask, notSupported, rejected } = TaskManagementStatus;
  const barrier = new Barrier(() => respond(complete));
  const onLun = (task: CommandTask) => task.lun === lun;
  switch (request.function) {
    case TaskManagementFunction.abortTask: {
      const tag = request.referencedTaskTag;
      if (!own.hasTask(tag)) {
        respond(noSuchTask);
        return;
      }
      barrier.add(own.abortTasks((task) => task.initiatorTaskTag === tag, barrier.ended, 'itself'));
      break;
    }
    case TaskManagementFunction.abortTaskSet:
      if (lun < 0) {
        respond(noSuchLun);
        return;
      }
      barrier.add(own.abortTasks(onLun, barrier.ended, 'itself'));
      break;
    case TaskManagementFunction.clearTaskSet:
      if (lun < 0) {
        respond(noSuchLun);
        return;
      }
      for (const session of target.sessions()) {
        const by = session === own ? 'itself' : 'another';
        barrier.add(session.abortTasks(onLun, barrier.ended, by));
      }
      break;
    case TaskManagementFunction.logicalUnitReset:
      if (lun < 0) {
        respond(noSuchLun);
        return;
      }
      resetUnits([lun], own, target, barrier);
      break;
    case TaskManagementFunction.targetWarmReset:
    case TaskManagementFunction.targetColdReset:
      resetUnits([...Array(target.lunCount).keys()], own, target, barrier);
      break;
    case TaskManagementFunction.clearAca:
    case TaskManagementFunction.taskReassign:
    case TaskManagementFunction.queryTask:
    case TaskManagementFunction.queryTaskSet:
    case TaskManagementFunction.nexusReset:
    case TaskManagementFunction.queryAsyncEvent:
      respond(notSupported);
      return;
    default:
      respond(rejected);
      return;
  }
  barrier.close();
}

/** SAM-5 6.3.3: ends all tasks of the units, and establishes a unit attention for every initiator. */
function resetUnits(
  luns: readonly number[],
  own: ManagedSession,
  target: ManagedTarget,
  barrier: Barrier,
): void {
  for (const lun of luns) target.resetUnit(lun);
  for (const session of target.sessions()) {
    const by = session === own ? 'itself' : 'another';
    barrier.add(session.abortTasks((task) => luns.includes(task.lun), barrier.ended, by));
    for (const lun of luns) session.establishAttention(lun, Attention.reset);
  }
}
