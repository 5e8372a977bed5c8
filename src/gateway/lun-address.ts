import { ScsiError } from '../disk/errors.js';
import type { ScsiServices } from '../disk/control.js';
import { reportLuns } from '../disk/inspect.js';
import type { ScsiPort } from '../scsi/port.js';

/**
 * The address of LUN `lun` in the form that the target lists. SAM-5 4.7 has two forms for numbers below 256, and some
 * targets accept only one of them. `lunZero` is the path to LUN 0, which lists the others, and exists even when it is not
 * a disk. Undefined when the target does not list the LUN: then the usual form is used.
 */
export async function listedLunAddress(
  lunZero: ScsiPort,
  lun: number,
  services: ScsiServices,
): Promise<number | undefined> {
  try {
    const listed = await reportLuns(lunZero, services);
    const addresses = listed.filter((item) => item.lun === lun).map(({ lunHigh }) => lunHigh);
    // When the list has both forms, the usual one, which is the smaller number.
    return addresses.length === 0 ? undefined : Math.min(...addresses);
  } catch (error) {
    if (!(error instanceof ScsiError)) throw error;
    services.log.debug({ reason: error.message }, 'the target does not list its LUNs');
    return undefined;
  }
}
