import type { Slab } from '../common/slab.js';
import type { DatamoverTask } from '../iscsi/datamover.js';
import { DataDirection } from '../common/data-direction.js';
import type { TxDescriptor } from './descriptors.js';
import { DataBuffer, MemoryRegistration } from './memory-registration.js';
import type { RegistrationHost } from './registration-host.js';

/** `enum iser_data_dir`: the index of a direction in a task's buffers and registrations. */
export const DATA_IN = 0;
export const DATA_OUT = 1;
export type DataIndex = typeof DATA_IN | typeof DATA_OUT;

/**
 * `enum iser_task_status`:
 *
 *     idle ── sendCommand ──► started ── a descriptor and room in the send queue ──► sent
 *       ▲                        │                                                    │
 *       └───────── finishTask, or the end of the connection ──────────────────────────┘
 */
export type IserTaskStatus = 'idle' | 'started' | 'sent';

/** What a task needs from its connection. */
export interface TaskConnection {
  readonly rdma: RegistrationHost;
  /** See `RegistrationOps`. */
  placedBytes(task: IserTask): number;
}

/** `iscsi_iser_task`: the state of one command. The object is reused for later commands. */
export class IserTask implements DatamoverTask {
  readonly connection: TaskConnection;
  /** Replaced when a command ends before a completion covers its Send. */
  descriptor: TxDescriptor;
  status: IserTaskStatus = 'idle';
  direction: DataDirection = DataDirection.none;
  slab: Slab | null = null;
  slabOffset = 0;
  dataLength = 0;
  immediateLength = 0;
  /** Data and protection buffers and their registrations, by {@link DataIndex}. */
  readonly data: readonly [DataBuffer, DataBuffer] = [new DataBuffer(), new DataBuffer()];
  readonly protection: readonly [DataBuffer, DataBuffer] = [new DataBuffer(), new DataBuffer()];
  readonly registrations: readonly [MemoryRegistration, MemoryRegistration] = [
    new MemoryRegistration(),
    new MemoryRegistration(),
  ];
  /** The number of incomplete Sends that gather from the data buffer. */
  pendingGathers = 0;
  /** Counts the commands of this task. */
  serial = 0;
  /** Membership in the list of commands that wait for room in the send queue. */
  isWaiting = false;
  waitingBefore: IserTask | null = null;
  waitingAfter: IserTask | null = null;

  constructor(connection: TaskConnection, descriptor: TxDescriptor) {
    this.connection = connection;
    this.descriptor = descriptor;
    descriptor.owner = this;
  }

  get view(): DataView {
    return this.descriptor.slab.view;
  }

  get bhsOffset(): number {
    return this.descriptor.bhsOffset;
  }

  get placedBytes(): number {
    return this.connection.placedBytes(this);
  }

  get isActive(): boolean {
    return this.status !== 'idle';
  }
}
