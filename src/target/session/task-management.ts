import { TaskManagementFunction, TaskManagementStatus } from '../../iscsi/codes.js';
import type { TaskManagementRequestPdu } from '../../iscsi/request-wire.js';
import { Barrier } from '../unit/barrier.js';
import type { Aborter } from './command-engine.js';
import type { CommandTask } from './command-task.js';
import { Attention } from '../unit/nexus.js';

/** A session as task management on any session of the target sees it. */
export interface ManagedSession {
  /** Aborts tasks; `ended` is called once for each. Returns how many. */
  abortTasks(isMeant: (task: CommandTask) => boolean, ended: () => void, by: Aborter): number;
  /** A task with this tag exists and has no response yet. */
  hasTask(initiatorTaskTag: number): boolean;
  /** Tells a LUN's condition to the session's initiator with its next command. */
  establishAttention(lun: number, attention: number): void;
  /** Ends the session. */
  end(reason: string): void;
}

/** The target, as far as task management acts on it. */
export interface ManagedTarget {
  readonly lunCount: number;
  /** All sessions, the asking one included, and those that are ending but may have commands yet. */
  sessions(): Iterable<ManagedSession>;
  /** Takes away what a LUN's reset takes from it besides its tasks. */
  resetUnit(lun: number): void;
}

/**
 * Carries out a task management function (RFC 7143 11.5). `respond` is called once with the response code, when no
 * affected task can touch the medium any more: at once, or when the last of them has ended.
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

/** SAM-5 6.3.3: all tasks of the units end, and every initiator is told with its next command. */
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
