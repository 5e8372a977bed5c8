import { ScsiDisk } from '../../../src/disk/scsi-disk.js';
import { ScsiPortDouble } from './port.js';
import type { DoubleOptions } from './port.js';
import { testServices } from './services.js';

/** A disk at a double, with nothing seen and nothing logged yet. */
export async function openDisk(options: DoubleOptions = {}) {
  const services = testServices();
  const port = new ScsiPortDouble(options);
  const disk = await ScsiDisk.open(port, services);
  port.seen.length = 0;
  services.lines.length = 0;
  return { services, port, disk };
}
