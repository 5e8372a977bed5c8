import { BlockRequest } from '../block/device.js';
import type { Timer } from '../common/clock.js';
import { NOBODY } from '../common/requester.js';
import { ScsiCommand } from '../scsi/port.js';
import { RetryBudget } from './retry.js';

/** The command that an I/O sends at this step. */
export type DiskStep =
  | 'read'
  | 'write'
  | 'compareAndWrite'
  /** SYNCHRONIZE CACHE of the whole unit. */
  | 'flush'
  /** SYNCHRONIZE CACHE after a write that needs force unit access on a device without FUA. */
  | 'flushBehind'
  | 'unmap'
  | 'writeSameUnmap'
  | 'writeSame'
  /** WRITE from the zero buffer, repeated until the range is covered. */
  | 'writeZeroBuffer'
  | 'preFetch';

const NO_REQUEST = new BlockRequest(() => undefined);

/** One of a disk's pooled command slots. It carries a block request through one or more SCSI commands. */
export class DiskIo {
  /** The slot's position among the disk's slots. */
  readonly index: number;
  readonly command: ScsiCommand;
  readonly retries = new RetryBudget();
  request: BlockRequest = NO_REQUEST;
  step: DiskStep = 'read';
  /** The rest of the range (`lba`, `restBlocks`), and the part that the present command covers (`blocks`). */
  lba = 0;
  restBlocks = 0;
  blocks = 0;
  /** For a flush: the mark of the write ledger up to which the flush covers writes. */
  mark = 0;
  /** The timer of the next attempt; null when no attempt is scheduled. */
  backoff: Timer | null = null;
  /**
   * The I/O waits until the watch knows which disk the port reaches. `hasEnded` is true if its command has ended,
   * false if its command has yet to be sent.
   */
  awaitsTrust = false;
  hasEnded = false;

  constructor(index: number, done: (io: DiskIo) => void) {
    this.index = index;
    this.command = new ScsiCommand(() => done(this));
  }

  forget(): void {
    this.request = NO_REQUEST;
    this.command.slab = null;
    this.command.requester = NOBODY;
  }
}
