import { ScsiError } from '../disk/errors.js';
import type { ScsiServices } from '../disk/control.js';
import { reportLuns } from '../disk/inspect.js';
import type { ScsiPort } from '../scsi/port.js';

/**
 * How LUN `lun` is addressed: as the target has listed it, where it has. SAM-5 4.7 writes numbers below 256 in two ways, and
 * there are targets that know a unit by one of them only. `lunZero` is the way to LUN 0, which answers for the others, and
 * is there even when it is no disk. Undefined leaves it to what everybody does.
 */
export async function listedLunAddress(
  lunZero: ScsiPort,
  lun: number,
  services: ScsiServices,
): Promise<number | undefined> {
  try {
    const listed = await reportLuns(lunZero, services);
    const addresses = listed.filter((item) => item.lun === lun).map(({ lunHigh }) => lunHigh);
    // With both in the list, the one that everybody uses.
    return addresses.length === 0 ? undefined : Math.min(...addresses);
  } catch (error) {
    if (!(error instanceof ScsiError)) throw error;
    services.log.debug({ reason: error.message }, 'the target does not list its LUNs');
    return undefined;
  }
}
