import { printableBytes } from '../common/printable.js';
import { Association, CodeSet, DesignatorType } from './wire.js';
import type { Designator } from './wire.js';

/** A designator of VPD page 83 for people and JSON. */
export interface DesignatorText {
  readonly association: string;
  readonly type: string;
  /** Text as it is, binary as hexadecimal digits. */
  readonly value: string;
}

const TYPE_NAMES: Readonly<Record<number, string>> = {
  [DesignatorType.vendorSpecific]: 'vendor-specific',
  [DesignatorType.t10VendorId]: 't10',
  [DesignatorType.eui64]: 'eui-64',
  [DesignatorType.naa]: 'naa',
  [DesignatorType.relativeTargetPort]: 'relative-target-port',
  [DesignatorType.targetPortGroup]: 'target-port-group',
  [DesignatorType.scsiNameString]: 'scsi-name',
};

const ASSOCIATION_NAMES: Readonly<Record<number, string>> = {
  [Association.logicalUnit]: 'logical-unit',
  [Association.targetPort]: 'target-port',
  [Association.targetDevice]: 'target-device',
};

export function designatorText({ association, type, codeSet, bytes }: Designator): DesignatorText {
  return {
    association: ASSOCIATION_NAMES[association] ?? `association-${association}`,
    type: TYPE_NAMES[type] ?? `type-${type}`,
    value: codeSet === CodeSet.binary ? hexOf(bytes) : textOf(bytes),
  };
}

function hexOf(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * Printable, because terminals show the text. Different bytes give different text, because the text identifies a
 * disk.
 */
function textOf(bytes: Uint8Array): string {
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) end--;
  return printableBytes(bytes.subarray(0, end)).trim();
}
