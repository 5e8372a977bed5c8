/**
 * Sense data (SPC-4 4.5): what a device says about a command that ended with CHECK CONDITION.
 *
 *   Fixed format, 70h current, 71h deferred         Descriptor format, 72h current, 73h deferred
 *    0  VALID 7, response code 6-0                   0  response code 6-0
 *    2  FILEMARK 7, EOM 6, ILI 5, key 3-0            1  key 3-0
 *    3-6 information                                 2  ASC      3  ASCQ
 *    7  additional length (n - 7)                    7  additional length (n - 7)
 *   12  ASC      13  ASCQ                            8  descriptors: 0 type, 1 length (n - 1), then
 *   15-17 SKSV 7 and sense key specific                 type 00 information: 2 VALID 7, 4-11 information
 */
import { readSafeU64, writeSafeU64 } from '../common/u64.js';

export const SenseKey = {
  noSense: 0x0,
  recoveredError: 0x1,
  notReady: 0x2,
  mediumError: 0x3,
  hardwareError: 0x4,
  illegalRequest: 0x5,
  unitAttention: 0x6,
  dataProtect: 0x7,
  blankCheck: 0x8,
  vendorSpecific: 0x9,
  copyAborted: 0xa,
  abortedCommand: 0xb,
  volumeOverflow: 0xd,
  miscompare: 0xe,
  completed: 0xf,
} as const;
export type SenseKey = (typeof SenseKey)[keyof typeof SenseKey];

const KEY_NAMES: readonly string[] = [
  'NO SENSE',
  'RECOVERED ERROR',
  'NOT READY',
  'MEDIUM ERROR',
  'HARDWARE ERROR',
  'ILLEGAL REQUEST',
  'UNIT ATTENTION',
  'DATA PROTECT',
  'BLANK CHECK',
  'VENDOR SPECIFIC',
  'COPY ABORTED',
  'ABORTED COMMAND',
  'reserved sense key',
  'VOLUME OVERFLOW',
  'MISCOMPARE',
  'COMPLETED',
];

export function senseKeyName(key: number): string {
  return KEY_NAMES[key & 0xf] ?? '';
}

/**
 * Additional sense codes, `ASC << 8 | ASCQ` (SPC-4 annex E): those that this project sends or evaluates, and other
 * common ones.
 */
export const Asc = {
  none: 0x0000,
  notReady: 0x0400,
  becomingReady: 0x0401,
  initializingCommandRequired: 0x0402,
  manualInterventionRequired: 0x0403,
  formatInProgress: 0x0404,
  asymmetricAccessTransition: 0x040a,
  standbyState: 0x040b,
  unavailableState: 0x040c,
  writeError: 0x0c00,
  guardCheckFailed: 0x1001,
  applicationTagCheckFailed: 0x1002,
  referenceTagCheckFailed: 0x1003,
  unrecoveredReadError: 0x1100,
  parameterListLengthError: 0x1a00,
  miscompareDuringVerify: 0x1d00,
  invalidOpcode: 0x2000,
  lbaOutOfRange: 0x2100,
  invalidFieldInCdb: 0x2400,
  logicalUnitNotSupported: 0x2500,
  invalidFieldInParameterList: 0x2600,
  invalidReleaseOfReservation: 0x2604,
  writeProtected: 0x2700,
  spaceAllocationFailed: 0x2707,
  notReadyToReadyChange: 0x2800,
  powerOnOrReset: 0x2900,
  powerOn: 0x2901,
  busReset: 0x2902,
  deviceReset: 0x2903,
  deviceInternalReset: 0x2904,
  nexusLoss: 0x2907,
  modeParametersChanged: 0x2a01,
  reservationsPreempted: 0x2a03,
  reservationsReleased: 0x2a04,
  registrationsPreempted: 0x2a05,
  asymmetricAccessChanged: 0x2a06,
  capacityChanged: 0x2a09,
  commandsClearedByOther: 0x2f00,
  incompatibleMedium: 0x3000,
  thinProvisioningThreshold: 0x3807,
  savingParametersNotSupported: 0x3900,
  mediumNotPresent: 0x3a00,
  selfTestFailed: 0x3e03,
  inquiryDataChanged: 0x3f03,
  reportedLunsChanged: 0x3f0e,
  internalTargetFailure: 0x4400,
  commandPhaseError: 0x4a00,
  dataPhaseError: 0x4b00,
  overlappedCommands: 0x4e00,
  insufficientResources: 0x5503,
  insufficientRegistrationResources: 0x5504,
} as const;

const ASC_NAMES: Readonly<Record<number, string>> = {
  [Asc.none]: 'no additional sense information',
  [Asc.notReady]: 'logical unit not ready, cause not reportable',
  [Asc.becomingReady]: 'logical unit is becoming ready',
  [Asc.initializingCommandRequired]: 'logical unit not ready, initializing command required',
  [Asc.manualInterventionRequired]: 'logical unit not ready, manual intervention required',
  [Asc.formatInProgress]: 'logical unit not ready, format in progress',
  [Asc.asymmetricAccessTransition]: 'not accessible, asymmetric access state transition',
  [Asc.standbyState]: 'not accessible, target port in standby state',
  [Asc.unavailableState]: 'not accessible, target port in unavailable state',
  [Asc.writeError]: 'write error',
  [Asc.guardCheckFailed]: 'logical block guard check failed',
  [Asc.applicationTagCheckFailed]: 'logical block application tag check failed',
  [Asc.referenceTagCheckFailed]: 'logical block reference tag check failed',
  [Asc.unrecoveredReadError]: 'unrecovered read error',
  [Asc.parameterListLengthError]: 'parameter list length error',
  [Asc.miscompareDuringVerify]: 'miscompare during verify operation',
  [Asc.invalidOpcode]: 'invalid command operation code',
  [Asc.lbaOutOfRange]: 'logical block address out of range',
  [Asc.invalidFieldInCdb]: 'invalid field in CDB',
  [Asc.logicalUnitNotSupported]: 'logical unit not supported',
  [Asc.invalidFieldInParameterList]: 'invalid field in parameter list',
  [Asc.invalidReleaseOfReservation]: 'invalid release of persistent reservation',
  [Asc.writeProtected]: 'write protected',
  [Asc.spaceAllocationFailed]: 'space allocation failed, write protect',
  [Asc.notReadyToReadyChange]: 'not ready to ready change, medium may have changed',
  [Asc.powerOnOrReset]: 'power on, reset, or bus device reset occurred',
  [Asc.powerOn]: 'power on occurred',
  [Asc.busReset]: 'bus reset occurred',
  [Asc.deviceReset]: 'bus device reset function occurred',
  [Asc.deviceInternalReset]: 'device internal reset',
  [Asc.nexusLoss]: 'I_T nexus loss occurred',
  [Asc.modeParametersChanged]: 'mode parameters changed',
  [Asc.reservationsPreempted]: 'reservations preempted',
  [Asc.reservationsReleased]: 'reservations released',
  [Asc.registrationsPreempted]: 'registrations preempted',
  [Asc.asymmetricAccessChanged]: 'asymmetric access state changed',
  [Asc.capacityChanged]: 'capacity data has changed',
  [Asc.commandsClearedByOther]: 'commands cleared by another initiator',
  [Asc.incompatibleMedium]: 'incompatible medium installed',
  [Asc.thinProvisioningThreshold]: 'thin provisioning soft threshold reached',
  [Asc.savingParametersNotSupported]: 'saving parameters not supported',
  [Asc.mediumNotPresent]: 'medium not present',
  [Asc.selfTestFailed]: 'logical unit failed self-test',
  [Asc.inquiryDataChanged]: 'INQUIRY data has changed',
  [Asc.reportedLunsChanged]: 'reported LUNs data has changed',
  [Asc.internalTargetFailure]: 'internal target failure',
  [Asc.commandPhaseError]: 'command phase error',
  [Asc.dataPhaseError]: 'data phase error',
  [Asc.overlappedCommands]: 'overlapped commands attempted',
  [Asc.insufficientResources]: 'insufficient resources',
  [Asc.insufficientRegistrationResources]: 'insufficient registration resources',
};

/** The words for `ASC << 8 | ASCQ`. For an unknown ASCQ, the words of ASCQ 0. */
export function ascName(asc: number): string {
  return (
    ASC_NAMES[asc] ??
    ASC_NAMES[asc & 0xff00] ??
    `additional sense code ${hex2(asc >> 8)}h/${hex2(asc & 0xff)}h`
  );
}

/** Decoded sense data. One object serves for many commands. */
export class Sense {
  key: number = SenseKey.noSense;
  /** `ASC << 8 | ASCQ`. */
  asc: number = Asc.none;
  /** The sense is about an earlier command, not about the command that returned it (SPC-4 4.5.5). */
  deferred = false;
  /** The INFORMATION field, usually the first failing LBA; -1 when invalid or above 2^53 - 1. */
  information = -1;

  clear(): void {
    this.key = SenseKey.noSense;
    this.asc = Asc.none;
    this.deferred = false;
    this.information = -1;
  }

  /** `ILLEGAL REQUEST (5/24/00): invalid field in CDB`. */
  toString(): string {
    return `${senseKeyName(this.key)} (${this.triple}): ${ascName(this.asc)}`;
  }

  /** `5/24/00`: key, ASC and ASCQ in hexadecimal. */
  get triple(): string {
    return `${this.key.toString(16)}/${hex2(this.asc >> 8)}/${hex2(this.asc & 0xff)}`;
  }
}

function hex2(value: number): string {
  return value.toString(16).padStart(2, '0');
}

const FIXED_ASC_END = 14;
const DESCRIPTOR_HEADER_BYTES = 8;
const DESCRIPTOR_INFORMATION = 0x00;
const DESCRIPTOR_INFORMATION_BYTES = 12;

/**
 * Reads sense data of any length. Returns false, with `out` as NO SENSE, for no data and for an unknown response
 * code. Sense data with a key but without an ASC is valid: SPC-2 devices may stop after byte 7.
 */
export function decodeSense(bytes: Uint8Array, length: number, out: Sense): boolean {
  out.clear();
  const responseCode = byteAt(bytes, length, 0) & 0x7f;
  out.deferred = (responseCode & 1) === 1;
  switch (responseCode) {
    case 0x70:
    case 0x71:
      if (length < 3) return false;
      decodeFixed(bytes, length, out);
      return true;
    case 0x72:
    case 0x73:
      if (length < 2) return false;
      decodeDescriptors(bytes, length, out);
      return true;
    default:
      out.deferred = false;
      return false;
  }
}

function byteAt(bytes: Uint8Array, length: number, index: number): number {
  return index < length ? (bytes[index] ?? 0) : 0;
}

function decodeFixed(bytes: Uint8Array, length: number, out: Sense): void {
  out.key = byteAt(bytes, length, 2) & 0x0f;
  const end = Math.min(length, 8 + byteAt(bytes, length, 7));
  if (end >= FIXED_ASC_END) {
    out.asc = (byteAt(bytes, length, 12) << 8) | byteAt(bytes, length, 13);
  }
  if ((byteAt(bytes, length, 0) & 0x80) !== 0 && length >= 7) {
    out.information = new DataView(bytes.buffer, bytes.byteOffset).getUint32(3);
  }
}

function decodeDescriptors(bytes: Uint8Array, length: number, out: Sense): void {
  out.key = byteAt(bytes, length, 1) & 0x0f;
  out.asc = (byteAt(bytes, length, 2) << 8) | byteAt(bytes, length, 3);
  const end = Math.min(length, 8 + byteAt(bytes, length, 7));
  for (let at = DESCRIPTOR_HEADER_BYTES; at + 2 <= end; at += 2 + byteAt(bytes, length, at + 1)) {
    if (byteAt(bytes, length, at) !== DESCRIPTOR_INFORMATION) continue;
    if (at + DESCRIPTOR_INFORMATION_BYTES > end) return;
    if ((byteAt(bytes, length, at + 2) & 0x80) === 0) return;
    out.information = readSafeU64(new DataView(bytes.buffer, bytes.byteOffset), at + 4);
    return;
  }
}

export const FIXED_SENSE_BYTES = 18;
export const DESCRIPTOR_SENSE_BYTES_MAX = DESCRIPTOR_HEADER_BYTES + DESCRIPTOR_INFORMATION_BYTES;

/**
 * Writes 18 bytes of current, fixed format sense data. `information` (-1 for none) is left out when it exceeds 32
 * bits, as SPC-4 4.5.3 requires.
 */
export function encodeFixedSense(
  view: DataView,
  offset: number,
  key: SenseKey,
  asc: number,
  information = -1,
): number {
  const isValid = information >= 0 && information <= 0xffff_ffff;
  view.setUint32(offset, ((isValid ? 0xf0 : 0x70) << 24) | (key << 8));
  view.setUint32(offset + 4, 0);
  view.setUint32(offset + 3, isValid ? information : 0);
  view.setUint8(offset + 7, FIXED_SENSE_BYTES - 8);
  view.setUint32(offset + 8, 0);
  view.setUint16(offset + 12, asc);
  view.setUint32(offset + 14, 0);
  return FIXED_SENSE_BYTES;
}

/** Writes current, descriptor format sense data; 8 bytes, or 20 with `information`. */
export function encodeDescriptorSense(
  view: DataView,
  offset: number,
  key: SenseKey,
  asc: number,
  information = -1,
): number {
  const hasInformation = information >= 0;
  view.setUint16(offset, (0x72 << 8) | key);
  view.setUint16(offset + 2, asc);
  view.setUint32(offset + 4, hasInformation ? DESCRIPTOR_INFORMATION_BYTES : 0);
  if (!hasInformation) return DESCRIPTOR_HEADER_BYTES;
  view.setUint32(offset + 8, 0x000a_8000);
  writeSafeU64(view, offset + 12, information);
  return DESCRIPTOR_SENSE_BYTES_MAX;
}
