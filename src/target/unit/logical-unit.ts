import type { DiskCommand } from './disk-command.js';

/** The device server that executes the commands of a LUN. */
export interface LogicalUnit {
  /**
   * Reads and checks the CDB. True: the command needs `transferBytes` of memory and then {@link execute}. False: the
   * command already has its result.
   */
  prepare(command: DiskCommand): boolean;
  /**
   * Executes a prepared READ at once: `command.pinned` refers to the store's data. False, without any effect, if this
   * is not possible; the command then needs memory and {@link execute}.
   */
  readInPlace(command: DiskCommand): boolean;
  /** Lends `command.lent` for the data of a prepared command. False: the caller must provide memory. */
  lend(command: DiskCommand): boolean;
  /** Executes a prepared command. `done` is called at its end, possibly before this returns. */
  execute(command: DiskCommand): void;
}
