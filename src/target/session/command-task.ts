import { StateMachine } from '../../common/state-machine.js';
import type { Edges } from '../../common/state-machine.js';
import type { BufferSlot } from '../../common/slab.js';
import { IserControlHeader } from '../../iscsi/iser-header.js';
import { SendWorkRequest, WorkOpcode } from '../../transport/verbs.js';
import type { WorkCompletion } from '../../transport/verbs.js';
import { TargetTxDescriptor } from './descriptors.js';
import type { DescriptorMemory, TargetRxDescriptor } from './descriptors.js';
import { DiskCommand } from '../unit/disk-command.js';
import { READS_PER_TASK } from './limits.js';
import { PINNED_PIECES_MAX } from '../../store/limits.js';
import type { LogicalUnit } from '../unit/logical-unit.js';

/**
 *     idle -> executing -> held (by a fault) -> executing
 *                executing -> waitingBuffer -> [waitingRead -> reading] -> executing -> responding -> idle
 *
 * A task may skip any of the waits. A task without a response goes directly to idle.
 */
export type TaskState =
  'idle' | 'held' | 'waitingBuffer' | 'waitingRead' | 'reading' | 'executing' | 'responding';

const EDGES: Edges<TaskState> = {
  idle: ['executing'],
  executing: ['responding', 'waitingBuffer', 'waitingRead', 'held', 'idle'],
  held: ['executing', 'responding', 'idle'],
  waitingBuffer: ['executing', 'waitingRead', 'responding', 'idle'],
  waitingRead: ['reading', 'responding', 'idle'],
  reading: ['executing', 'responding', 'idle'],
  responding: ['idle'],
};

/** The calls of a task to its engine. */
export interface TaskEvents {
  onReadDone(task: CommandTask, completion: WorkCompletion): void;
  onWriteDone(task: CommandTask, completion: WorkCompletion): void;
  onResponseSent(task: CommandTask, completion: WorkCompletion): void;
  onExecuted(task: CommandTask): void;
  onBufferAvailable(task: CommandTask): void;
}

/** A SCSI command of one session, from its PDU to its response: pooled, with all the work requests it may need. */
export class CommandTask {
  readonly #machine = new StateMachine('a command task', EDGES, 'idle');
  initiatorTaskTag = 0;
  lun = -1;
  isImmediate = false;
  /** The expected data transfer length (EDTL), and its directions, from the PDU. */
  expectedBytes = 0;
  isRead = false;
  isWrite = false;
  readonly header = new IserControlHeader();
  readonly command: DiskCommand;
  unit: LogicalUnit | null = null;
  /** The PDU, as long as its immediate data is needed. */
  rx: TargetRxDescriptor | null = null;
  immediateBytes = 0;
  slot: BufferSlot | null = null;
  /** RDMA Reads: the bytes requested, and the outstanding requests. */
  readIssuedBytes = 0;
  readsInFlight = 0;
  /** For an injected fault: the most bytes of data-in to send. */
  dataInBytesMax = Infinity;
  /** The task was aborted. Its result is not wanted any more. */
  isAborted = false;
  /** Another initiator aborted the task, so it is answered with TASK ABORTED. */
  answersAbort = false;
  /** The callbacks that wait for the end of an aborted task. */
  abortWaiters: (() => void)[] | null = null;
  /** The link of the tag table's chain. */
  nextInBucket: CommandTask | null = null;
  readonly tx: TargetTxDescriptor;
  readonly write: SendWorkRequest;
  readonly reads: readonly SendWorkRequest[];
  readonly bufferAvailable: () => void;

  constructor(memory: DescriptorMemory, events: TaskEvents) {
    this.command = new DiskCommand(() => events.onExecuted(this));
    this.tx = new TargetTxDescriptor(memory, (_, completion) =>
      events.onResponseSent(this, completion),
    );
    this.write = new SendWorkRequest(
      (completion) => events.onWriteDone(this, completion),
      PINNED_PIECES_MAX,
    );
    this.write.opcode = WorkOpcode.rdmaWrite;
    // The success of the response implies the success of the RDMA Write before it.
    this.write.signaled = false;
    this.reads = Array.from({ length: READS_PER_TASK }, () => {
      const read = new SendWorkRequest((completion) => events.onReadDone(this, completion), 1);
      read.opcode = WorkOpcode.rdmaRead;
      read.sgeCount = 1;
      return read;
    });
    this.bufferAvailable = () => events.onBufferAvailable(this);
  }

  get state(): TaskState {
    return this.#machine.state;
  }

  /** Enters a state. No effect if the task is already in that state. */
  enter(next: TaskState): void {
    if (this.#machine.state !== next) this.#machine.enter(next);
  }

  /** Clears the completed work requests, so that they keep no dropped chunk alive. */
  forgetChunks(): void {
    const { write } = this;
    for (let index = 0; index < write.sgeCount; index++) write.sge(index).clear();
    write.sgeCount = 0;
    if (this.readIssuedBytes > 0) for (const read of this.reads) read.sge(0).clear();
  }

  /** True while an abort can still prevent the response. */
  get isAbortable(): boolean {
    return this.state !== 'idle' && this.state !== 'responding';
  }
}
