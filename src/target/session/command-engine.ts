import { assert } from '../../common/assert.js';
import type { SlabPool } from '../../common/slab.js';
import { TaskAttribute } from '../../iscsi/codes.js';
import { decodeCdbOf } from '../../iscsi/request-wire.js';
import type { ScsiCommandPdu } from '../../iscsi/request-wire.js';
import { decodeControlHeader } from '../../iscsi/iser-header.js';
import type { IserControlHeader } from '../../iscsi/iser-header.js';
import { ScsiStatus } from '../../scsi/wire.js';
import { WorkStatus, workStatusName } from '../../transport/verbs.js';
import type { WorkCompletion } from '../../transport/verbs.js';
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
 * Who has a task aborted. `itself`, its own initiator: it gets no response, and has ended when nothing of it is left,
 * since the initiator will use its memory again. Or `another`: then it is answered with TASK ABORTED (SAM-5 5.6, TAS),
 * and has ended for whoever waits as soon as it cannot touch the medium any more. That must not wait for an initiator
 * that has died and answers no RDMA Read.
 */
export type Aborter = 'itself' | 'another';

/** What an engine works with; the session's and the portal's. */
export interface EngineContext {
  readonly channel: Channel;
  readonly device: TargetDevice;
  readonly pool: SlabPool;
  readonly units: LogicalUnits;
  readonly nexuses: readonly Nexus[];
  readonly window: TargetWindow;
  readonly faults: FaultInjector | null;
  readonly counters: PortalCounters;
  /** RDMA Reads that may be outstanding. */
  readonly readDepth: number;
  /** The initiator takes Send with Invalidate. */
  readonly mayInvalidate: boolean;
  /** The longest immediate data that was agreed on. */
  readonly immediateBytesMax: number;
}

/** What an engine asks of its session. */
export interface EngineEvents {
  /** The peer broke the protocol, or the connection its promise; the connection must end. */
  onViolation(reason: string): void;
  /** The PDU in this receive is done with. */
  onReceiveDone(rx: TargetRxDescriptor): void;
  /** A task came free, for a PDU that waits for one. */
  onTaskFree(): void;
}

/**
 * Carries a session's SCSI commands from PDU to response. One task per command; see {@link CommandTask} for its
 * states. Nothing is allocated and no promise made per command.
 */
export class CommandEngine implements TaskEvents {
  /** RDMA Reads that have completed: a sign of life. */
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

  /** `memory` gives the room for task `index`'s response. */
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

  /** Starts the command of a PDU that was admitted. The caller has seen {@link hasIdleTask}. */
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

  /** Aborts the tasks that `isMeant` picks; `ended` is called for each, see {@link Aborter}. Returns how many. */
  abort(isMeant: (task: CommandTask) => boolean, ended: () => void, by: Aborter): number {
    let count = 0;
    for (const task of this.#tasks) {
      if (!task.isAbortable || !isMeant(task)) continue;
      count += 1;
      // Who has aborted its own task does not want to hear of it any more.
      task.answersAbort = by === 'another' && (task.answersAbort || !task.isAborted);
      task.isAborted = true;
      task.command.isAborted = true;
      // Whose data is not there yet will not be executed, however long the initiator takes to send it.
      if (by === 'another' && task.state !== 'executing') ended();
      else (task.abortWaiters ??= []).push(ended);
      if (task.state === 'held') this.#endAborted(task);
    }
    return count;
  }

  /** The queue pair is going away: nothing will be answered any more. */
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

  /** Resolves when there is no command: none uses a buffer or a store, no response is on its way. */
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
    // What did not arrive must not be written. That the queue pair is gone is heard of only later, in `stop`.
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
    // Not signalled, so it is heard of only when it failed; the response behind it is flushed.
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
        this.#events.onViolation('a planned fault');
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

  /** Has the CDB read and its lengths compared with what the initiator said. */
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

  /** Has the command work on what came with it, where that lies, or finds a buffer for its data. */
  #takeData(task: CommandTask): void {
    const { command, rx, immediateBytes, isImmediate } = task;
    // The receive is held until the response. Of the window's commands each may hold one, for it brought one along:
    // those that the window lets in afterwards find theirs. Immediate commands come on top, so they hold none.
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

  /** Answers a read from where its data lies. False when it needs a buffer. */
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

  /** Has the logical unit lend the memory for what is to be fetched, and registers it. */
  #borrow(task: CommandTask): boolean {
    const { command, unit } = task;
    // Each chunk takes a Read of its own. One after the other they would be slower than a buffer's one.
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
      write.remoteKey = header.readStag;
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

  /** A task that was aborted, or whose data or connection is lost, comes to nothing. */
  #endAborted(task: CommandTask): void {
    if (this.#isStopped || !task.answersAbort) {
      this.#end(task);
      return;
    }
    const { command, abortWaiters } = task;
    command.status = ScsiStatus.taskAborted;
    command.dataInBytes = 0;
    // Whoever waits for its end does not wait for its initiator to take the answer.
    task.abortWaiters = null;
    this.#respond(task);
    if (abortWaiters !== null) for (const ended of abortWaiters) ended();
  }

  /** Nothing of the task is in use any more. */
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

/** The key that the initiator advertised for the command's data; of two, the one that data was written to. 0: none. */
function keyToInvalidate(header: IserControlHeader): number {
  if (header.isReadStagValid) return header.readStag;
  return header.isWriteStagValid ? header.writeStag : 0;
}
