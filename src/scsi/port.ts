import { DataDirection } from '../common/data-direction.js';
import { NOBODY } from '../common/requester.js';
import type { Requester } from '../common/requester.js';
import type { Slab } from '../common/slab.js';

/**
 * The result of the service delivery subsystem (SAM-5 4.5). `status`, `residual` and `sense` are valid with `delivered`,
 * `residual` with `dataMissing`, and nothing else with the others.
 */
export const DeliveryOutcome = {
  delivered: 0,
  /** The session has ended or is ending. It is unknown whether the device executed the command. */
  connectionLost: 1,
  /**
   * The command had no answer in time and was aborted. The target has confirmed that it no longer executes the
   * command.
   */
  timedOut: 2,
  /**
   * The target has confirmed an abort or a reset that ended the command, or has itself given up the command, or the port
   * never sent the command because its requester is gone.
   */
  aborted: 3,
  /** The device reports GOOD, but not all data arrived. `residual` is the number of missing bytes. */
  dataMissing: 4,
} as const;
export type DeliveryOutcome = (typeof DeliveryOutcome)[keyof typeof DeliveryOutcome];

/** SPC-4 4.5.1: the longest sense data. */
export const SENSE_BYTES_MAX = 252;
export const CDB_BYTES = 16;

/**
 * One SCSI command (SAM-5 5.1, "Execute Command"). Its owner makes the object once and reuses it. From `execute` to
 * `done` the command and its data belong to the port. After `done` nobody touches the data, whatever the outcome.
 */
export class ScsiCommand {
  /** 16 bytes; the bytes after a shorter CDB are zero. */
  readonly cdb = new Uint8Array(CDB_BYTES);
  readonly cdbView = new DataView(this.cdb.buffer);
  direction: DataDirection = DataDirection.none;
  /** The data is `slab.bytes[slabOffset .. slabOffset + dataLength)`. */
  slab: Slab | null = null;
  slabOffset = 0;
  dataLength = 0;
  /** 0 selects the port's default. */
  timeoutMs = 0;
  /** The requester that waits for the command. The port need not send a command whose requester is gone. */
  requester: Requester = NOBODY;

  outcome: DeliveryOutcome = DeliveryOutcome.delivered;
  /** SAM-5 5.3.1 status code. */
  status = 0;
  /**
   * The bytes of `dataLength` that were not transferred. For reads that the path counts, the bytes that did not
   * arrive. Negative for an overflow: the device had more data than `dataLength`.
   */
  residual = 0;
  readonly sense = new Uint8Array(SENSE_BYTES_MAX);
  senseLength = 0;

  /** For the port's queue. */
  next: ScsiCommand | null = null;
  /**
   * Called exactly once per `execute`, and never inside `execute`. The owner sets it once, and may call `execute` from
   * inside of it. The data of a `delivered` read is complete by then.
   */
  done: (command: ScsiCommand) => void;

  constructor(done: (command: ScsiCommand) => void) {
    this.done = done;
  }
}

/** Hears of events of the path that are not the answer to a command. */
export interface ScsiPortListener {
  /**
   * The path has ended and will not return. Called once, and never when the path's owner closed it. Commands end as
   * `connectionLost`, some before this call and some soon after it. `reason` is for people.
   */
  onPortLost(reason: string): void;
}

/** A path to one logical unit (an I_T_L nexus). */
export interface ScsiPort {
  /** For logs and errors: the target's name and the LUN. */
  readonly name: string;
  /** The longest data-in or data-out of one command that the path carries, in bytes. `execute` asserts it. */
  readonly transferBytesMax: number;
  /**
   * True when the path counts the data that a read puts into its buffer, so a `delivered` read leaves no old byte in
   * the part that it reports. When false, a device that sends less than it reports exposes the buffer's old bytes to
   * the reader.
   */
  readonly verifiesDataIn: boolean;
  /**
   * The useful number of outstanding commands. The port queues further commands, in order. Commands that are outstanding,
   * here or at other units of the target, do not make it smaller. Aborted commands may.
   */
  readonly queueDepth: number;
  /** A listener that is set after the path has ended hears nothing. */
  listener: ScsiPortListener | null;
  /** Sends the command, or queues it behind earlier ones. Once the path has ended, commands end as `connectionLost`. */
  execute(command: ScsiCommand): void;
  /**
   * The logical unit has reported a reset or cleared commands, so earlier commands may have ended without an answer.
   * The port finds those commands and ends them as `aborted` before their timeout.
   */
  questionOutstanding(): void;
  /**
   * Sends LOGICAL UNIT RESET. Resolves when the commands that were sent before it have ended, with their answers or as
   * `aborted`; the port sends later commands afterwards. Rejects when the target refuses, and then commands go on. Rejects
   * also when the path ends, when the target does not answer, which ends the path, and while another reset is out.
   */
  resetLogicalUnit(): Promise<void>;
}
