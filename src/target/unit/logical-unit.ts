import type { DiskCommand } from './disk-command.js';

/** What answers SCSI commands behind a LUN. */
export interface LogicalUnit {
  /**
   * Reads and checks the CDB. True: the command wants `transferBytes` of memory and is then to be executed.
   * False: it has its outcome already.
   */
  prepare(command: DiskCommand): boolean;
  /**
   * Carries out a prepared command by pointing `command.pinned` at its data, if that can be done now. False if not:
   * nothing has been done then, and the command wants memory and {@link execute}.
   */
  readInPlace(command: DiskCommand): boolean;
  /** Lends `command.lent` for the data of a prepared command. False: it wants memory of the caller's. */
  lend(command: DiskCommand): boolean;
  /** Carries out a prepared command; `done` follows, possibly before this returns. */
  execute(command: DiskCommand): void;
}
