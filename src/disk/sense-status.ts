import { BlockStatus } from '../block/device.js';
import { Asc, SenseKey } from '../scsi/sense.js';
import type { Sense } from '../scsi/sense.js';

/** The direction of the failed command. The status for an address out of range depends on it. */
export type SenseContext = 'read' | 'write';

/**
 * Maps a sense triple to a block status. Every triple has one: without a better match the status is an I/O error.
 * Sense data that names no error is an I/O error too, because it came with CHECK CONDITION.
 */
export function blockStatusOf(sense: Sense, context: SenseContext): BlockStatus {
  switch (sense.key) {
    case SenseKey.dataProtect:
      return sense.asc === Asc.spaceAllocationFailed
        ? BlockStatus.noSpace
        : BlockStatus.notPermitted;
    case SenseKey.illegalRequest:
      if (sense.asc !== Asc.lbaOutOfRange) return BlockStatus.ioError;
      return context === 'write' ? BlockStatus.noSpace : BlockStatus.invalid;
    default:
      return BlockStatus.ioError;
  }
}
