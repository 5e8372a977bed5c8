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
 * Any of the waits may be left out. A task that comes to nothing goes to idle without responding.
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

/** What a task tells its engine. */
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
  /** EDTL and which way the initiator says it goes. */
  expectedBytes = 0;
  isRead = false;
  isWrite = false;
  readonly header = new IserControlHeader();
  readonly command: DiskCommand;
  unit: LogicalUnit | null = null;
  /** The PDU, for as long as its immediate data is needed. */
  rx: TargetRxDescriptor | null = null;
  immediateBytes = 0;
  slot: BufferSlot | null = null;
  /** RDMA Reads: bytes asked for, requests out. */
  readIssuedBytes = 0;
  readsInFlight = 0;
  /** A planned fault: no more of the data-in than this is sent. */
  dataInBytesMax = Infinity;
  /** The result is not wanted any more. */
  isAborted = false;
  /** It was aborted by another initiator, and its own is told so. */
  answersAbort = false;
  /** Who waits for the end of an aborted task. */
  abortWaiters: (() => void)[] | null = null;
  /** Chain of the tag table. */
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
    // Its success is implied by the response's, which follows it.
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

  /** Goes on to another state; stays, where it is in that one. */
  enter(next: TaskState): void {
    if (this.#machine.state !== next) this.#machine.enter(next);
  }

  /** Work requests that are over keep no chunk alive which the store has dropped. */
  forgetChunks(): void {
    const { write } = this;
    for (let index = 0; index < write.sgeCount; index++) write.sge(index).clear();
    write.sgeCount = 0;
    if (this.readIssuedBytes > 0) for (const read of this.reads) read.sge(0).clear();
  }

  /** Can still be stopped from having a response. */
  get isAbortable(): boolean {
    return this.state !== 'idle' && this.state !== 'responding';
  }
}
