import type { PortUnderTest } from '../../compliance/scsi-port-suite.js';
import { DISK_BYTES_MIN } from '../../compliance/scsi-port-suite.js';
import { ScsiPortDouble } from './port.js';
import type { DoubleOptions } from './port.js';

/** The disk of the compliance suite in a {@link ScsiPortDouble}. */
export function suiteDouble(options: DoubleOptions = {}): ScsiPortDouble {
  return new ScsiPortDouble({ sizeBlocks: DISK_BYTES_MIN / 512, ...options });
}

/** What the suite asks of a disk, asked of a double. */
export function controlsOf(
  disk: ScsiPortDouble,
): Pick<PortUnderTest, 'arrived' | 'hold' | 'release' | 'withholdNext' | 'refuseNextReset'> {
  return {
    arrived: () => {
      return disk.seen.filter(({ name }) => name === 'READ(16)').map(({ cdb }) => cdb.lba);
    },
    hold: () => void (disk.isHeld = true),
    release: () => disk.release(),
    withholdNext: (bytes) => void (disk.withheldTo = bytes),
    refuseNextReset: () => void (disk.refusesReset = true),
  };
}
