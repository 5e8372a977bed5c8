import { DataDirection } from '../../common/data-direction.js';
import type { Slab } from '../../common/slab.js';
import { Asc, SenseKey } from '../../scsi/sense.js';
import { DecodedCdb, ScsiStatus } from '../../scsi/wire.js';
import { LentChunks } from '../../store/lent-chunks.js';
import type { Nexus } from './nexus.js';
import { PinnedData } from '../../store/pinned-data.js';
import { StoreRequest } from '../../store/store.js';

/**
 * One SCSI command on its way through a logical unit. Pooled: made once by its owner, who fills in CDB and nexus,
 * has it prepared, provides the memory that `transferBytes` asks for, has it executed, and gets it back by `done`.
 */
export class DiskCommand {
  /** 16 bytes, zero behind the CDB proper. */
  readonly cdb = new Uint8Array(16);
  readonly cdbView = new DataView(this.cdb.buffer);
  nexus: Nexus | null = null;
  /** SAM-5 ORDERED: runs alone, behind all that came before it and ahead of all that comes after. */
  isOrdered = false;
  /** Its result is not wanted any more: what it has not begun to do is not to be done. */
  isAborted = false;

  /** Set by prepare: the data that the CDB describes. Data-in may turn out shorter, see `dataInBytes`. */
  direction: DataDirection = DataDirection.none;
  transferBytes = 0;

  /** The data is at `slab.bytes[slabOffset ..)`; `transferBytes` of it. Set before execute. */
  slab: Slab | null = null;
  slabOffset = 0;

  /** READ: the data itself, if the logical unit could point at it; then there is no slab. Released by the owner. */
  readonly pinned = new PinnedData();

  /** WRITE: memory that the logical unit lent for the data; then there is no slab. Released by the owner. */
  readonly lent = new LentChunks();

  /** The outcome. */
  status: number = ScsiStatus.good;
  senseKey: SenseKey = SenseKey.noSense;
  asc: number = Asc.none;
  /** The sense data's INFORMATION field, -1 for none. */
  information = -1;
  /** Data-in that is to be transferred. */
  dataInBytes = 0;
  /** Called once per execute, possibly inside it. Set once, by the owner. */
  readonly done: (command: DiskCommand) => void;

  // The logical unit's own, between prepare and done.
  readonly decoded = new DecodedCdb();
  readonly request: StoreRequest = new StoreRequest(() => this.step(this));
  /** What follows when the store is done with `request`. */
  step: (command: DiskCommand) => void = noStep;
  isExclusive = false;
  /** How far a command of several steps has come: bytes, or an index. */
  progress = 0;
  next: DiskCommand | null = null;

  constructor(done: (command: DiskCommand) => void) {
    this.done = done;
    this.request.lent = this.lent;
  }

  /** Forgets the previous use, but for the CDB and the nexus. */
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

  /** Makes the outcome a CHECK CONDITION. Returns false, for prepare to return. */
  check(senseKey: SenseKey, asc: number, information = -1): false {
    this.status = ScsiStatus.checkCondition;
    this.senseKey = senseKey;
    this.asc = asc;
    this.information = information;
    this.dataInBytes = 0;
    return false;
  }

  /** RESERVATION CONFLICT. Returns false, for prepare to return. */
  conflict(): false {
    this.status = ScsiStatus.reservationConflict;
    this.dataInBytes = 0;
    return false;
  }

  /** ILLEGAL REQUEST. */
  refuse(asc: number, information = -1): false {
    return this.check(SenseKey.illegalRequest, asc, information);
  }
}

function noStep(): void {
  // A store never completes what was not submitted.
}
