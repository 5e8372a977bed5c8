import { BlockStatus } from '../block/device.js';
import { Asc, SenseKey } from '../scsi/sense.js';
import type { Sense } from '../scsi/sense.js';

/** What a failed command did: the mapping of an address out of range depends on it. */
export type SenseContext = 'read' | 'write';

/**
 * The errno that a sense triple becomes. Total: what has no better errno is an I/O error, and so is sense that
 * does not name an error at all, for it came with a status that did.
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
