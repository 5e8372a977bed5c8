/**
 * The interface between iSCSI and the layer that moves its data: the Datamover Interface of RFC 5047, divided as in
 * the Linux initiator (libiscsi above, ib_iser below). iSCSI writes a command's BHS directly into the datamover's
 * descriptor. iSCSI knows nothing of work requests or keys.
 */
import type { TaskTag } from './wire.js';
import type { DataDirection } from '../common/data-direction.js';
import type { Slab } from '../common/slab.js';

/** The datamover's state of one command. A connection makes one task per command slot of the session, once. */
export interface DatamoverTask {
  /**
   * iSCSI writes the 48-byte BHS at `view[bhsOffset ..)`. Read both properties again for every command: the task
   * changes its descriptor while the Send of its last command may be incomplete.
   */
  readonly view: DataView;
  readonly bhsOffset: number;
  direction: DataDirection;
  /** `slab.bytes[slabOffset .. slabOffset + dataLength)`; read by `sendCommand`. */
  slab: Slab | null;
  slabOffset: number;
  dataLength: number;
  /** The leading bytes of a write that travel with the command. Equal to the BHS's DataSegmentLength. */
  immediateLength: number;
  /** True from `sendCommand` until `finishTask`: the peer may still reach the buffer. */
  readonly isActive: boolean;
  /**
   * The bytes of a read's data that have arrived, counted from the start of the buffer to the first gap. Valid
   * between the response and `finishTask`, and only with {@link DatamoverLimits.countsDataIn}.
   */
  readonly placedBytes: number;
}

/** The limits of a datamover. */
export interface DatamoverLimits {
  /** The longest data of one command. */
  readonly transferBytesMax: number;
  /**
   * The datamover counts the data of a read that has arrived. When false, the target's response is the only evidence.
   */
  readonly countsDataIn: boolean;
  /**
   * The longest immediate data. A longer write carries no immediate data, because Linux isert over siw corrupts
   * partial immediate data.
   */
  readonly immediateBytesMax: number;
  /** The longest data segment that a login or text request may have. */
  readonly controlDataBytesMax: number;
  /**
   * The longest data segment that a full-feature receive holds, at least 512. The initiator declares it to the
   * target.
   */
  readonly receiveDataBytesMax: number;
  /** The highest count for `allocateTasks`: the commands and control PDUs that may be outstanding at the same time. */
  readonly tasksMax: number;
  /** The control PDUs (NOP-Out, task management, text, logout) that may be unanswered at the same time. */
  readonly controlPdusMax: number;
  /**
   * The data of all read commands that may be outstanding at the same time. A single command with more data is sent
   * alone.
   */
  readonly readBytesOutstandingMax: number;
  /** The same limit for write commands. */
  readonly writeBytesOutstandingMax: number;
  /** The receives that the target loses with each command that is aborted without a response. */
  readonly receivesPerAbort: number;
}

/** Upward calls. PDU bytes are borrowed until the call returns. */
export interface DatamoverHandler {
  /**
   * Control_Notify: a PDU arrived. Its BHS is at `view[bhsOffset ..)`, its data segment of `dataLength` bytes at
   * `view[dataOffset ..)`. The datamover has checked `dataLength` against the BHS's DataSegmentLength.
   */
  controlNotify(view: DataView, bhsOffset: number, dataOffset: number, dataLength: number): void;
  /**
   * The task of a SCSI response's Initiator Task Tag, or null. The datamover calls this before it hands up that response,
   * and for no other PDU, to check which registration the peer invalidated. A response without a task goes up too.
   */
  taskByTag(initiatorTaskTag: TaskTag): DatamoverTask | null;
  /**
   * Connection_Terminate_Notify, once. Every task is inactive now. `error` is the reason; null after our `terminate`. It
   * is the last upward call.
   */
  terminateNotify(error: Error | null): void;
}

/**
 * A connected datamover. Calls never block, and upward calls never happen inside downward ones. Downward calls may happen
 * inside upward ones. PDUs reach the peer in the order of `sendControl` and `sendCommand`.
 *
 * From the moment the connection begins to end, by `terminate` or otherwise, nothing is sent and no PDU goes up. Until
 * `terminateNotify` and after it, `sendControl`, `enterFullFeature` and `finishTask` do nothing else than make a task
 * inactive, and `sendCommand` makes its task active until `terminateNotify`. After `terminateNotify` iSCSI sends no command.
 */
export interface DatamoverConnection {
  readonly limits: DatamoverLimits;
  /** For logs: the portal. */
  readonly peerName: string;
  /** A handler that is set after the end hears of it, in a turn of its own. */
  handler: DatamoverHandler;
  /**
   * Send_Control: copies a 48-byte BHS and its data segment into a control descriptor and sends them. Asserts 48 bytes and
   * `controlDataBytesMax`.
   */
  sendControl(bhs: Uint8Array, data: Uint8Array): void;
  /**
   * Allocate_Connection_Resources: tasks, registrations and receive buffers for `count` commands. Once, before full
   * feature; asserts both, and `tasksMax`.
   */
  allocateTasks(count: number): readonly DatamoverTask[];
  /**
   * Enable_Datamover: call before the login request whose answer may start full feature phase. Posts the receives for
   * that phase.
   */
  enterFullFeature(): void;
  /**
   * Put_Data and Get_Data with Send_Control: registers the task's buffer and sends its BHS and immediate data. Asserts that
   * full feature phase was entered, that the task is not active, and that immediate data is all of a write or nothing.
   */
  sendCommand(task: DatamoverTask): void;
  /**
   * Ends the command. When this returns, the peer has no access to the buffer. Only a datamover that registers whole slabs
   * leaves the peer that access until the device is let go.
   */
  finishTask(task: DatamoverTask): void;
  /**
   * Connection_Terminate. Resolves after `terminateNotify`, when every resource of the connection is released. May be called
   * again, and after the end.
   */
  terminate(): Promise<void>;
}
