import { assert } from '../../common/assert.js';
import type { SlabPool } from '../../common/slab.js';
import { TaskAttribute } from '../../iscsi/codes.js';
import { decodeCdbOf } from '../../iscsi/request-wire.js';
import type { ScsiCommandPdu } from '../../iscsi/request-wire.js';
import { decodeControlHeader } from '../../iscsi/iser-header.js';
import type { IserControlHeader } from '../../iscsi/iser-header.js';
import { ScsiStatus } from '../../scsi/wire.js';
import { WorkStatus, workStatusName } from '../../transport/verbs.js';
import type { MemoryKey, WorkCompletion } from '../../transport/verbs.js';
import { BufferShare } from './buffer-share.js';
import type { Channel } from './channel.js';
import { checkLengths, missingKeyOf, violationOf } from './command-checks.js';
import { CommandTask } from './command-task.js';
import type { TaskEvents } from './command-task.js';
import { prepareResponse } from './command-response.js';
import type { DescriptorMemory, TargetRxDescriptor } from './descriptors.js';
import { DataDirection } from '../../common/data-direction.js';
import type { Nexus } from '../unit/nexus.js';
import type { InjectedFault, FaultInjector } from './faults.js';
import { SESSION_BUFFER_BYTES_MAX, TASKS } from './limits.js';
import { LENT_PIECES_MAX } from '../../store/limits.js';
import type { LogicalUnits } from '../unit/logical-units.js';
import type { PortalCounters } from './portal-counters.js';
import { ReadScheduler } from './read-scheduler.js';
import { TagTable } from './tag-table.js';
import type { TargetDevice } from './target-device.js';
import type { TargetWindow } from './target-window.js';

/**
 * The initiator that aborts a task. `itself`: the task's own initiator. The task gets no response, and ends when the
 * target uses none of the initiator's memory, because the initiator will reuse its memory. `another`: another
 * initiator. The task is answered with TASK ABORTED (SAM-5 5.6, TAS), and counts as ended as soon as it cannot touch
 * the medium any more, without a wait for a dead initiator that answers no RDMA Read.
 */
export type Aborter = 'itself' | 'another';

/** What an engine needs from its session and its portal. */
export interface EngineContext {
  readonly channel: Channel;
  readonly device: TargetDevice;
  readonly pool: SlabPool;
  readonly units: LogicalUnits;
  readonly nexuses: readonly Nexus[];
  readonly window: TargetWindow;
  readonly faults: FaultInjector | null;
  readonly counters: PortalCounters;
  /** The RDMA Reads that may be outstanding. */
  readonly readDepth: number;
  /** The initiator supports Send with Invalidate. */
  readonly mayInvalidate: boolean;
  /** The negotiated longest immediate data. */
  readonly immediateBytesMax: number;
}

/** The engine's calls to its session. */
export interface EngineEvents {
  /** The peer broke the protocol, or a work request failed. The connection must end. */
  onViolation(reason: string): void;
  /** The PDU in this receive is no longer needed. */
  onReceiveDone(rx: TargetRxDescriptor): void;
  /** A task is free for a waiting PDU. */
  onTaskFree(): void;
}

/**
 * Processes a session's SCSI commands from PDU to response, with one task per command; see {@link CommandTask} for
 * the states. A command allocates no memory and makes no promise.
 */
export class CommandEngine implements TaskEvents {
  /** The number of completed RDMA Reads. A change shows that the initiator is alive. */
  readsDone = 0;
  readonly #context: EngineContext;
  readonly #events: EngineEvents;
  readonly #tasks: readonly CommandTask[];
  readonly #idle: CommandTask[];
  readonly #tags = new TagTable();
  readonly #buffers: BufferShare;
  readonly #reads: ReadScheduler;
  #isStopped = false;
  readonly #idleWaiters: (() => void)[] = [];

  /** `memory` returns the memory for the response of task `index`. */
  constructor(
    context: EngineContext,
    events: EngineEvents,
    memory: (index: number) => DescriptorMemory,
  ) {
    this.#context = context;
    this.#events = events;
    this.#tasks = Array.from({ length: TASKS }, (_, index) => new CommandTask(memory(index), this));
    this.#idle = [...this.#tasks];
    this.#buffers = new BufferShare(context.pool, SESSION_BUFFER_BYTES_MAX, TASKS);
    const { channel, device, readDepth } = context;
    this.#reads = new ReadScheduler({ channel, device, depth: readDepth }, TASKS, (task) =>
      this.#endAborted(task),
    );
  }

  get hasIdleTask(): boolean {
    return this.#idle.length > 0;
  }

  find(initiatorTaskTag: number): CommandTask | null {
    return this.#tags.find(initiatorTaskTag);
  }

  /** Starts the command of an admitted PDU. The caller has checked {@link hasIdleTask}. */
  start(rx: TargetRxDescriptor, pdu: ScsiCommandPdu): void {
    const task = this.#idle.pop();
    assert(task !== undefined, 'no idle task');
    const { units, nexuses, counters, faults } = this.#context;
    counters.commands.add();
    task.initiatorTaskTag = pdu.initiatorTaskTag;
    task.isImmediate = pdu.immediate;
    task.expectedBytes = pdu.expectedDataTransferLength;
    task.isRead = pdu.read;
    task.isWrite = pdu.write;
    task.isAborted = false;
    task.answersAbort = false;
    task.readIssuedBytes = 0;
    task.dataInBytesMax = Infinity;
    task.lun = units.indexOf(pdu.lunHigh, pdu.lunLow);
    task.rx = rx;
    task.immediateBytes = rx.dataLength;
    decodeControlHeader(rx.view, rx.offset, task.header);
    const { command } = task;
    decodeCdbOf(rx.view, rx.bhsOffset, command.cdbView);
    command.nexus = nexuses[task.lun] ?? null;
    command.isAborted = false;
    command.isOrdered = pdu.attribute === TaskAttribute.ordered;
    task.enter('executing');
    this.#tags.add(task);
    const fault = faults === null ? null : faults.faultFor(command.cdb, task.lun);
    if (fault !== null) this.#befall(task, fault, pdu.final);
    else this.#prepare(task, pdu.final);
  }

  /**
   * Aborts the tasks for which `isMeant` is true, and returns their number. Calls `ended` for each; see
   * {@link Aborter}.
   */
  abort(isMeant: (task: CommandTask) => boolean, ended: () => void, by: Aborter): number {
    let count = 0;
    for (const task of this.#tasks) {
      if (!task.isAbortable || !isMeant(task)) continue;
      count += 1;
      // An initiator that aborts its own task expects no response, even after an abort by another.
      task.answersAbort = by === 'another' && (task.answersAbort || !task.isAborted);
      task.isAborted = true;
      task.command.isAborted = true;
      // A task that still waits for its data will never be executed, so it counts as ended now.
      if (by === 'another' && task.state !== 'executing') ended();
      else (task.abortWaiters ??= []).push(ended);
      if (task.state === 'held') this.#endAborted(task);
    }
    return count;
  }

  /** The queue pair is ending, so no task is answered any more. */
  stop(): void {
    this.#isStopped = true;
    this.#reads.stop();
    for (const task of this.#tasks) {
      const { state } = task;
      const waitsForNothing =
        state === 'held' ||
        state === 'waitingBuffer' ||
        ((state === 'waitingRead' || state === 'reading') && task.readsInFlight === 0);
      if (waitsForNothing) this.#end(task);
    }
  }

  /** Resolves when no command exists: no command uses a buffer or a store, and no response is on its way. */
  idle(): Promise<void> {
    if (this.#idle.length === this.#tasks.length) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  onBufferAvailable(task: CommandTask): void {
    if (task.state !== 'waitingBuffer') return;
    if (task.isAborted) this.#endAborted(task);
    else this.#acquireBuffer(task);
  }

  onReadDone(task: CommandTask, completion: WorkCompletion): void {
    const { status } = completion;
    this.readsDone += 1;
    this.#context.counters.readBytes.add(completion.byteLength);
    // Data that did not arrive must not be written. `stop` reports the end of the queue pair only later.
    if (status !== WorkStatus.success) {
      task.isAborted = true;
      task.answersAbort = false;
    }
    this.#reads.completed(task);
    if (status !== WorkStatus.success) this.#workFailed('RDMA Read', status);
    if (this.#isStopped || task.isAborted) {
      if (task.readsInFlight === 0) this.#endAborted(task);
    } else if (this.#reads.isFetched(task)) {
      this.#execute(task);
    }
  }

  onWriteDone(_task: CommandTask, completion: WorkCompletion): void {
    // The RDMA Write is unsignalled, so a completion means a failure. The response after it is flushed.
    if (completion.status !== WorkStatus.success) this.#workFailed('RDMA Write', completion.status);
  }

  onResponseSent(task: CommandTask, completion: WorkCompletion): void {
    if (completion.status !== WorkStatus.success) this.#workFailed('Send', completion.status);
    this.#end(task);
  }

  onExecuted(task: CommandTask): void {
    if (this.#isStopped || task.isAborted) this.#endAborted(task);
    else this.#respond(task);
  }

  #befall(task: CommandTask, fault: InjectedFault, isFinal: boolean): void {
    switch (fault.kind) {
      case 'sense':
        task.command.reset();
        task.command.check(fault.senseKey, fault.asc);
        this.#respond(task);
        return;
      case 'status':
        task.command.reset();
        task.command.status = fault.status;
        this.#respond(task);
        return;
      case 'drop':
        this.#end(task);
        this.#events.onViolation('an injected fault');
        return;
      case 'withhold':
        task.dataInBytesMax = fault.bytes;
        this.#prepare(task, isFinal);
        return;
      case 'hold':
        task.enter('held');
        fault.hold(() => {
          if (task.state === 'held') this.#prepare(task, isFinal);
        });
    }
  }

  /** Lets the unit read the CDB, and compares its lengths with those of the PDU. */
  #prepare(task: CommandTask, isFinal: boolean): void {
    const { command } = task;
    const unit = this.#context.units.unitFor(task.lun, command);
    task.unit = unit;
    task.enter('executing');
    const violation = violationOf(task, this.#context.immediateBytesMax);
    if (violation !== null) {
      this.#violated(task, violation);
      return;
    }
    if (!unit.prepare(command) || !checkLengths(task, isFinal, this.#reads.depth)) {
      this.#respond(task);
      return;
    }
    const missing = missingKeyOf(task);
    if (missing !== null) {
      this.#violated(task, missing);
      return;
    }
    if (command.direction !== DataDirection.out) this.#dropReceive(task);
    if (command.transferBytes === 0) this.#execute(task);
    else if (command.direction === DataDirection.out) this.#takeData(task);
    else if (this.#readInPlace(task)) this.#respond(task);
    else this.#acquireBuffer(task);
  }

  /** Uses the immediate data in the receive as the command's data, or finds a buffer for the data. */
  #takeData(task: CommandTask): void {
    const { command, rx, immediateBytes, isImmediate } = task;
    // The receive is held until the response. Each command of the window may hold its own receive, because later
    // commands of the window have receives of their own. Immediate commands are outside the window, so they hold
    // none.
    if (rx === null || isImmediate || immediateBytes < command.transferBytes) {
      if (immediateBytes > 0 || !this.#borrow(task)) {
        this.#acquireBuffer(task);
        return;
      }
      this.#dropReceive(task);
      this.#reads.enqueue(task);
      return;
    }
    command.slab = rx.slab;
    command.slabOffset = rx.dataOffset;
    this.#execute(task);
  }

  #violated(task: CommandTask, reason: string): void {
    this.#end(task);
    this.#events.onViolation(reason);
  }

  #acquireBuffer(task: CommandTask): void {
    task.enter('waitingBuffer');
    const slot = this.#buffers.acquire(task);
    if (slot === null) return;
    const { command } = task;
    task.slot = slot;
    command.slab = slot.slab;
    command.slabOffset = slot.offset;
    if (command.direction !== DataDirection.out) {
      this.#execute(task);
      return;
    }
    const { rx, immediateBytes } = task;
    if (rx !== null && immediateBytes > 0) {
      const end = rx.dataOffset + immediateBytes;
      rx.slab.bytes.copy(slot.slab.bytes, slot.offset, rx.dataOffset, end);
    }
    this.#dropReceive(task);
    if (immediateBytes === command.transferBytes) this.#execute(task);
    else this.#reads.enqueue(task);
  }

  /** Answers a read without a copy of its data. False when the read needs a buffer. */
  #readInPlace(task: CommandTask): boolean {
    const { command, unit, write } = task;
    if (unit === null || task.dataInBytesMax !== Infinity) return false;
    if (!unit.readInPlace(command)) return false;
    const { device } = this.#context;
    const { pinned } = command;
    let left = task.isRead ? Math.min(task.expectedBytes, command.dataInBytes) : 0;
    write.sgeCount = 0;
    for (let index = 0; index < pinned.count && left > 0; index++) {
      const piece = pinned.pieces[index];
      const region =
        piece === undefined || piece.chunk === null ? null : device.regionOfChunk(piece.chunk);
      if (piece === undefined || region === null || index >= device.sgesMax) {
        task.forgetChunks();
        pinned.release();
        return false;
      }
      const length = Math.min(piece.length, left);
      write.sge(index).set(region, piece.offset, length);
      write.sgeCount = index + 1;
      left -= length;
    }
    return true;
  }

  /** Borrows memory from the logical unit for the data to fetch, and registers the memory. */
  #borrow(task: CommandTask): boolean {
    const { command, unit } = task;
    // Each chunk needs its own RDMA Read. In sequence they would be slower than one Read into a buffer.
    if (this.#reads.depth < LENT_PIECES_MAX) return false;
    if (unit === null || !unit.lend(command)) return false;
    const { lent } = command;
    for (let index = 0; index < lent.count; index++) {
      if (this.#context.device.regionOfChunk(lent.chunkAt(index)) !== null) continue;
      lent.release();
      return false;
    }
    return true;
  }

  #execute(task: CommandTask): void {
    task.enter('executing');
    assert(task.unit !== null, 'a task without its unit');
    task.unit.execute(task.command);
  }

  #respond(task: CommandTask): void {
    const { channel, device, window, mayInvalidate, counters } = this.#context;
    const { header, slot, write, tx } = task;
    task.enter('responding');
    this.#dropReceive(task);
    this.#tags.remove(task);
    if (!task.isImmediate) window.ended();
    const key = mayInvalidate ? keyToInvalidate(header) : 0;
    const dataInBytes = Math.min(prepareResponse(task, window, key), task.dataInBytesMax);
    if (dataInBytes > 0) {
      write.remoteKey = header.readStag as MemoryKey;
      write.remoteAddressHigh = header.readAddressHigh;
      write.remoteAddressLow = header.readAddressLow;
      if (slot !== null) {
        write.sgeCount = 1;
        write.sge(0).set(device.regionOf(slot.slab), slot.offset, dataInBytes);
      }
      counters.writtenBytes.add(dataInBytes);
      channel.send(write);
    }
    channel.send(tx.request);
  }

  /** Ends a task that was aborted, or whose data or connection is lost. */
  #endAborted(task: CommandTask): void {
    if (this.#isStopped || !task.answersAbort) {
      this.#end(task);
      return;
    }
    const { command, abortWaiters } = task;
    command.status = ScsiStatus.taskAborted;
    command.dataInBytes = 0;
    // The waiters for the task's end do not wait until the initiator has received the answer.
    task.abortWaiters = null;
    this.#respond(task);
    if (abortWaiters !== null) for (const ended of abortWaiters) ended();
  }

  /** Ends a task. Nothing uses its resources any more. */
  #end(task: CommandTask): void {
    const { slot, abortWaiters, state, command } = task;
    if (state !== 'responding') {
      this.#tags.remove(task);
      if (!task.isImmediate) this.#context.window.ended();
    }
    this.#dropReceive(task);
    if (slot === null) task.forgetChunks();
    command.pinned.release();
    command.lent.release();
    task.enter('idle');
    task.unit = null;
    task.slot = null;
    task.abortWaiters = null;
    this.#idle.push(task);
    if (slot !== null) this.#buffers.release(slot);
    if (abortWaiters !== null) for (const ended of abortWaiters) ended();
    if (this.#idle.length === this.#tasks.length) {
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
    if (!this.#isStopped) this.#events.onTaskFree();
  }

  #dropReceive(task: CommandTask): void {
    const { rx } = task;
    if (rx === null) return;
    task.rx = null;
    this.#events.onReceiveDone(rx);
  }

  #workFailed(what: string, status: WorkStatus): void {
    if (this.#isStopped || status === WorkStatus.flushed) return;
    this.#events.onViolation(`an ${what} failed: ${workStatusName(status)}`);
  }
}

/**
 * The key that the initiator advertised for the command's data. Of two keys, the key that data was written to. 0 for
 * no key.
 */
function keyToInvalidate(header: IserControlHeader): number {
  if (header.isReadStagValid) return header.readStag;
  return header.isWriteStagValid ? header.writeStag : 0;
}
