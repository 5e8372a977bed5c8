import { DataDirection } from '../common/data-direction.js';
import { NOBODY } from '../common/requester.js';
import type { Requester } from '../common/requester.js';
import type { Slab } from '../common/slab.js';

/** How the service delivery subsystem did (SAM-5 4.5); `status` and `sense` mean something only at `delivered`. */
export const DeliveryOutcome = {
  delivered: 0,
  /** The session is gone or going; whether the device executed the command is unknown. */
  connectionLost: 1,
  /** No answer in time, and then aborted: the target has confirmed that it does not execute the command any more. */
  timedOut: 2,
  /** Aborted at our request or by a reset, which the target has confirmed; or never sent, as nobody waits for it. */
  aborted: 3,
  /** The device says GOOD and that it sent data, which never came; `residual` says how much is missing. */
  dataMissing: 4,
} as const;
export type DeliveryOutcome = (typeof DeliveryOutcome)[keyof typeof DeliveryOutcome];

/** SPC-4 4.5.1: no more sense data than this is kept. */
export const SENSE_BYTES_MAX = 252;
export const CDB_BYTES = 16;

/**
 * One SCSI command (SAM-5 5.1, "Execute Command"). Made once by its owner and used again and again; from execute
 * to `done` it and its data belong to the port.
 */
export class ScsiCommand {
  /** 16 bytes, zero behind the CDB proper. */
  readonly cdb = new Uint8Array(CDB_BYTES);
  readonly cdbView = new DataView(this.cdb.buffer);
  direction: DataDirection = DataDirection.none;
  /** The data is `slab.bytes[slabOffset .. slabOffset + dataLength)`. */
  slab: Slab | null = null;
  slabOffset = 0;
  dataLength = 0;
  /** 0 takes the port's default. */
  timeoutMs = 0;
  /** Who waits for the end; the port need not send what nobody waits for. */
  requester: Requester = NOBODY;

  outcome: DeliveryOutcome = DeliveryOutcome.delivered;
  /** SAM-5 5.3.1 status code. */
  status = 0;
  /** Bytes of `dataLength` that were not transferred, or, as far as that is known, did not come; negative when the device had more to give (overflow). */
  residual = 0;
  readonly sense = new Uint8Array(SENSE_BYTES_MAX);
  senseLength = 0;

  /** For the port's queue. */
  next: ScsiCommand | null = null;
  /** Called exactly once per execute, never inside it. Set once, by the owner. */
  done: (command: ScsiCommand) => void;

  constructor(done: (command: ScsiCommand) => void) {
    this.done = done;
  }
}

/** Something that happened to the logical unit or the path to it without being asked. */
export interface ScsiPortListener {
  /** The path is gone for good; commands end as `connectionLost`. `reason` is for people. */
  onPortLost(reason: string): void;
}

/** A path to one logical unit (an I_T_L nexus). */
export interface ScsiPort {
  /** For logs and errors: the target's name and the LUN. */
  readonly name: string;
  /** The longest data-in or data-out of one command that the path carries, in bytes. */
  readonly transferBytesMax: number;
  /**
   * A read that is delivered has put into its buffer what it says it has: no byte of it is what the buffer held before.
   * Without, a device that lies shows that to the reader.
   */
  readonly verifiesDataIn: boolean;
  /** Commands that are worth having outstanding; more are queued by the port, in order. */
  readonly queueDepth: number;
  listener: ScsiPortListener | null;
  execute(command: ScsiCommand): void;
  /**
   * The logical unit has told that commands were cleared or that it was reset: those sent before may have ended without
   * an answer. The port finds out which, and ends those as `aborted`, before their time is up.
   */
  questionOutstanding(): void;
  /** LOGICAL UNIT RESET; rejects when the target refuses or does not answer. */
  resetLogicalUnit(): Promise<void>;
}
