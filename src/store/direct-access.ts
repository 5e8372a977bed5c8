import type { LentChunks } from './lent-chunks.js';
import type { PinnedData } from './pinned-data.js';

/** What a store can do whose data lies in this process's memory: reads and writes without a copy in between. */
export interface DirectAccess {
  /**
   * Does a read at once, without copying: points `out` at the data, which stays as it is until `out` is released. False
   * where that is not possible.
   */
  pin(offset: number, length: number, out: PinnedData): boolean;
  /** Lends memory for the data of a write of this range; see {@link LentChunks}. False where that is not possible. */
  lend(offset: number, length: number, out: LentChunks): boolean;
}
