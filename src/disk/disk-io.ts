import { BlockRequest } from '../block/device.js';
import type { Timer } from '../common/clock.js';
import { NOBODY } from '../common/requester.js';
import { ScsiCommand } from '../scsi/port.js';
import { RetryBudget } from './retry.js';

/** The command that an I/O is at. */
export type DiskStep =
  | 'read'
  | 'write'
  | 'compareAndWrite'
  /** SYNCHRONIZE CACHE of everything. */
  | 'flush'
  /** The same, behind a change that wanted force unit access. */
  | 'flushBehind'
  | 'unmap'
  | 'writeSameUnmap'
  | 'writeSame'
  /** WRITE from the zero buffer, again and again until the range is covered. */
  | 'writeZeroBuffer'
  | 'preFetch';

const NO_REQUEST = new BlockRequest(() => undefined);

/** One of a disk's pooled command slots: a block request on its way through one or more SCSI commands. */
export class DiskIo {
  /** Its place among the disk's slots. */
  readonly index: number;
  readonly command: ScsiCommand;
  readonly retries = new RetryBudget();
  request: BlockRequest = NO_REQUEST;
  step: DiskStep = 'read';
  /** What is left to do, and how much of it the present command does. */
  lba = 0;
  restBlocks = 0;
  blocks = 0;
  /** A flush: what it covers, by the write ledger. */
  mark = 0;
  /** Armed while the command waits for its next attempt. */
  backoff: Timer | null = null;
  /** Waits until it is known which disk is there; its command has ended by then, or is yet to be sent. */
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
