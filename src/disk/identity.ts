import { ScsiError } from './errors.js';
import type { InspectedUnit } from './inspect.js';

/** What tells a logical unit from every other: VPD pages 83 and 80, and the INQUIRY data where it has neither. */
export interface UnitIdentity {
  readonly vendor: string;
  readonly product: string;
  /** Empty when it has none. */
  readonly serial: string;
  /** Designators of the logical unit itself, as `type:value`; not those of the path to it. */
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
 * Whether two descriptions are of one logical unit; `unknown` when they tell too little. A unit may get more designators
 * with new firmware, so one in common is enough. A serial number that differs outweighs it: clones and careless targets
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

/** @throws ScsiError when the unit is certainly not the expected one; null expects nothing */
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

/** For people: the best of what tells the unit apart. */
export function describeIdentity({ vendor, product, serial, designators }: UnitIdentity): string {
  const best =
    ['naa:', 'eui-64:', 'scsi-name:', ''].flatMap((type) =>
      designators.filter((designator) => designator.startsWith(type)),
    )[0] ?? '';
  const words = [vendor, product, best, serial === '' ? '' : `serial ${serial}`];
  return words.filter((word) => word !== '').join(' ');
}
