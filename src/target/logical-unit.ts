import type { DiskCommand } from './disk-command.js';

/** What answers SCSI commands behind a LUN. */
export interface LogicalUnit {
  /**
   * Reads and checks the CDB. True: the command wants `transferBytes` of memory and is then to be executed.
   * False: it has its outcome already.
   */
  prepare(command: DiskCommand): boolean;
  /** Carries out a prepared command; `done` follows, possibly before this returns. */
  execute(command: DiskCommand): void;
}
