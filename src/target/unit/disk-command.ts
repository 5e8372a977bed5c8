import { DataDirection } from '../../common/data-direction.js';
import type { Slab } from '../../common/slab.js';
import { Asc, SenseKey } from '../../scsi/sense.js';
import { DecodedCdb, ScsiStatus } from '../../scsi/wire.js';
import { LentChunks } from '../../store/lent-chunks.js';
import type { Nexus } from './nexus.js';
import { PinnedData } from '../../store/pinned-data.js';
import { StoreRequest } from '../../store/store.js';

/**
 * One SCSI command on its way through a logical unit. Pooled: its owner makes it once, fills in CDB and nexus, calls
 * `prepare` of the unit, provides memory for `transferBytes`, and calls `execute`. The owner gets the command back
 * with `done`.
 */
export class DiskCommand {
  /** 16 bytes; the bytes after a shorter CDB are zero. */
  readonly cdb = new Uint8Array(16);
  readonly cdbView = new DataView(this.cdb.buffer);
  nexus: Nexus | null = null;
  /** SAM-5 ORDERED: runs alone, after all earlier commands and before all later commands. */
  isOrdered = false;
  /** The result is not wanted any more. The command must not start a further step. */
  isAborted = false;

  /** Set by prepare: the data that the CDB describes. The data-in may be shorter; see `dataInBytes`. */
  direction: DataDirection = DataDirection.none;
  transferBytes = 0;

  /** The data is `slab.bytes[slabOffset .. slabOffset + transferBytes)`. Set before execute. */
  slab: Slab | null = null;
  slabOffset = 0;

  /** READ: the store's own data, if the logical unit can refer to it; `slab` is null then. Released by the owner. */
  readonly pinned = new PinnedData();

  /** WRITE: memory that the logical unit lent for the data; `slab` is null then. Released by the owner. */
  readonly lent = new LentChunks();

  /** The SCSI status. */
  status: number = ScsiStatus.good;
  senseKey: SenseKey = SenseKey.noSense;
  asc: number = Asc.none;
  /** The sense data's INFORMATION field, -1 for none. */
  information = -1;
  /** The bytes of data-in to transfer. */
  dataInBytes = 0;
  /** Called once per `execute`, possibly inside `execute`. The owner sets it once. */
  readonly done: (command: DiskCommand) => void;

  // The logical unit uses these fields between prepare and done.
  readonly decoded = new DecodedCdb();
  readonly request: StoreRequest = new StoreRequest(() => this.step(this));
  /** The next step, after the store has completed `request`. */
  step: (command: DiskCommand) => void = noStep;
  isExclusive = false;
  /** The progress of a command with several steps: bytes, or an index. */
  progress = 0;
  next: DiskCommand | null = null;

  constructor(done: (command: DiskCommand) => void) {
    this.done = done;
    this.request.lent = this.lent;
  }

  /** Resets every field except the CDB and the nexus. */
  reset(): void {
    this.direction = DataDirection.none;
    this.transferBytes = 0;
    this.slab = null;
    this.slabOffset = 0;
    this.status = ScsiStatus.good;
    this.senseKey = SenseKey.noSense;
    this.asc = Asc.none;
    this.information = -1;
    this.dataInBytes = 0;
    this.isExclusive = false;
    this.progress = 0;
  }

  /** Sets CHECK CONDITION. Returns false, as the result of prepare. */
  check(senseKey: SenseKey, asc: number, information = -1): false {
    this.status = ScsiStatus.checkCondition;
    this.senseKey = senseKey;
    this.asc = asc;
    this.information = information;
    this.dataInBytes = 0;
    return false;
  }

  /** Sets RESERVATION CONFLICT. Returns false, as the result of prepare. */
  conflict(): false {
    this.status = ScsiStatus.reservationConflict;
    this.dataInBytes = 0;
    return false;
  }

  /** Sets CHECK CONDITION with ILLEGAL REQUEST. Returns false, as the result of prepare. */
  refuse(asc: number, information = -1): false {
    return this.check(SenseKey.illegalRequest, asc, information);
  }
}

function noStep(): void {
  // The store completes only submitted requests.
}
