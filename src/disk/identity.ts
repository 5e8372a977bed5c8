import { ScsiError } from './errors.js';
import type { InspectedUnit } from './inspect.js';

/** Identifies a logical unit: by VPD pages 83 and 80, or by the INQUIRY data when the unit has neither page. */
export interface UnitIdentity {
  readonly vendor: string;
  readonly product: string;
  /** Empty when the unit has no serial number. */
  readonly serial: string;
  /** Designators of the logical unit as `type:value`, without the designators of target and port. */
  readonly designators: readonly string[];
}

export function identityOf({ vendor, product, serial, designators }: InspectedUnit): UnitIdentity {
  const own = designators.filter(({ association }) => association === 'logical-unit');
  return {
    vendor,
    product,
    serial,
    designators: own.map(({ type, value }) => `${type}:${value}`).sort(),
  };
}

/**
 * Compares two identities; `unknown` when they hold too little. One common designator is enough, because new firmware
 * may add designators. But different serial numbers always mean different units, because clones and careless targets
 * repeat designators.
 */
export function compareIdentities(a: UnitIdentity, b: UnitIdentity): 'same' | 'other' | 'unknown' {
  if (a.serial !== b.serial) return 'other';
  if (a.designators.length > 0 || b.designators.length > 0) {
    return a.designators.some((designator) => b.designators.includes(designator))
      ? 'same'
      : 'other';
  }
  if (a.vendor !== b.vendor || a.product !== b.product) return 'other';
  return a.serial === '' ? 'unknown' : 'same';
}

/**
 * Checks the identity of a unit; `expected` null accepts every unit.
 * @throws ScsiError when the unit is certainly not the expected one
 */
export function checkIdentity(
  lun: string,
  found: UnitIdentity,
  expected: UnitIdentity | null,
): void {
  if (expected === null || compareIdentities(expected, found) !== 'other') return;
  throw new ScsiError(
    'scsi-other-unit',
    `${lun} is another disk than before: ${describeIdentity(found)}, not ${describeIdentity(expected)}`,
    { lun },
  );
}

/** For people: vendor, product, the best designator and the serial number. */
export function describeIdentity({ vendor, product, serial, designators }: UnitIdentity): string {
  const best =
    ['naa:', 'eui-64:', 'scsi-name:', ''].flatMap((type) =>
      designators.filter((designator) => designator.startsWith(type)),
    )[0] ?? '';
  const words = [vendor, product, best, serial === '' ? '' : `serial ${serial}`];
  return words.filter((word) => word !== '').join(' ');
}
