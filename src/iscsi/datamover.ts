/**
 * The seam between iSCSI and what moves its data: the Datamover Interface of RFC 5047, arranged as the Linux
 * initiator has it (libiscsi above, ib_iser below). iSCSI fills a command's BHS in place in the datamover's own
 * descriptor; it never learns of work requests or keys.
 */
import type { DataDirection } from '../common/data-direction.js';
import type { Slab } from '../common/slab.js';

/** One command's place in the datamover. As many as the session has command slots, made once per connection. */
export interface DatamoverTask {
  /**
   * The 48-byte BHS is at `view[bhsOffset ..)`; iSCSI writes it there. Read both anew for every command: the task
   * moves to another descriptor while its last one may still be on its way.
   */
  readonly view: DataView;
  readonly bhsOffset: number;
  direction: DataDirection;
  /** `slab.bytes[slabOffset .. slabOffset + dataLength)`; read by `sendCommand`. */
  slab: Slab | null;
  slabOffset: number;
  dataLength: number;
  /** Leading bytes of a write that travel with the command; the BHS's DataSegmentLength says the same. */
  immediateLength: number;
  /** True from `sendCommand` until `finishTask`: the peer may still reach the buffer. */
  readonly isActive: boolean;
  /**
   * Of a read's data, the bytes that are in the buffer, from its start on and without a gap. Between the response and
   * `finishTask`, and only where {@link DatamoverLimits.countsDataIn}.
   */
  readonly placedBytes: number;
}

/** What a datamover can carry. */
export interface DatamoverLimits {
  /** The longest data of one command. */
  readonly transferBytesMax: number;
  /** The datamover knows how much of a read's data has come; without, a target's word has to do. */
  readonly countsDataIn: boolean;
  /** The longest immediate data; longer writes carry none at all (PROTOCOLS: partial immediate data is not safe). */
  readonly immediateBytesMax: number;
  /** The longest data segment of a login or text request that may be sent. */
  readonly controlDataBytesMax: number;
  /** The longest data segment that a posted full-feature receive holds, at least 512; declared to the target. */
  readonly receiveDataBytesMax: number;
  /** Tasks that `allocateTasks` may be asked for: commands and control PDUs that are outstanding at once. */
  readonly tasksMax: number;
  /** Control PDUs (NOP-Out, task management, text, logout) that may be unanswered at once. */
  readonly controlPdusMax: number;
  /** Data of the read commands that may be outstanding at once. One command with more than that goes alone. */
  readonly readBytesOutstandingMax: number;
  /** The same for write commands. */
  readonly writeBytesOutstandingMax: number;
  /** Receives that the target loses for good with each command that is aborted without a response. */
  readonly receivesPerAbort: number;
}

/** Upward calls. PDU bytes are borrowed until the call returns. */
export interface DatamoverHandler {
  /**
   * Control_Notify: a PDU arrived. BHS at `view[bhsOffset ..)`, data segment at `view[dataOffset ..)` with
   * `dataLength` bytes, as the BHS's DataSegmentLength says and the datamover has checked.
   */
  controlNotify(view: DataView, bhsOffset: number, dataOffset: number, dataLength: number): void;
  /**
   * The task that a response's Initiator Task Tag names, or null. The datamover asks before `controlNotify`, to
   * check which registration the peer invalidated.
   */
  taskByTag(initiatorTaskTag: number): DatamoverTask | null;
  /** Connection_Terminate_Notify: once; every task is inactive now. `error` says why, null after our `terminate`. */
  terminateNotify(error: Error | null): void;
}

/** A connected datamover. Calls never block, and upward calls never happen inside downward ones. */
export interface DatamoverConnection {
  readonly limits: DatamoverLimits;
  /** For logs: the portal. */
  readonly peerName: string;
  handler: DatamoverHandler;
  /** Send_Control: copies a 48-byte BHS and its data segment into a descriptor of its own and sends them. */
  sendControl(bhs: Uint8Array, data: Uint8Array): void;
  /** Allocate_Connection_Resources: tasks, registrations and receive buffers for `count` commands. Once, before full feature. */
  allocateTasks(count: number): readonly DatamoverTask[];
  /**
   * Enable_Datamover: call before the login request that will bring full feature phase; receives for it are posted.
   */
  enterFullFeature(): void;
  /** Put_Data and Get_Data with Send_Control: registers the task's buffer and sends its BHS and immediate data. */
  sendCommand(task: DatamoverTask): void;
  /** The command is over: the peer's access to its buffer is revoked when this returns. */
  finishTask(task: DatamoverTask): void;
  /** Connection_Terminate. Resolves when nothing of the connection is left, after `terminateNotify`. */
  terminate(): Promise<void>;
}
