import type { LentChunks } from './lent-chunks.js';
import type { PinnedData } from './pinned-data.js';

/** Access to a store whose data is in this process's memory: reads and writes without a copy. */
export interface DirectAccess {
  /**
   * Reads at once and without a copy: `out` refers to the data, which does not change until `out` is released. False
   * if this is not possible.
   */
  pin(offset: number, length: number, out: PinnedData): boolean;
  /** Lends memory for the data of a write to this range; see {@link LentChunks}. False if this is not possible. */
  lend(offset: number, length: number, out: LentChunks): boolean;
}
