import { ScsiDisk } from '../../src/scsi/disk.js';
import { ScsiPortDouble } from './scsi-port.js';
import type { DoubleOptions } from './scsi-port.js';
import { testServices } from './scsi-services.js';

/** A disk at a double, with nothing seen and nothing logged yet. */
export async function openDisk(options: DoubleOptions = {}) {
  const services = testServices();
  const port = new ScsiPortDouble(options);
  const disk = await ScsiDisk.open(port, services);
  port.seen.length = 0;
  services.lines.length = 0;
  return { services, port, disk };
}
