/**
 * INQUIRY data (SPC-4 6.4.2) and vital product data pages (SPC-4 7.8, SBC-3 6.5). An encoder writes a whole structure
 * into zeroed memory and returns its length. A decoder accepts data of any length and reads a missing byte as zero,
 * as SPC-4 4.4 (allocation length) requires.
 *
 *   Standard INQUIRY data, 96 bytes
 *   0  qualifier 7-5, device type 4-0        5  TPGS 5-4, 3PC 3, PROTECT 0
 *   1  RMB 7                                 6  ENCSERV 6, MULTIP 4
 *   2  version                               7  CMDQUE 1
 *   3  HISUP 4, response data format 3-0     8-15 vendor, 16-31 product, 32-35 revision
 *   4  additional length (n - 4)             58-73 version descriptors, 8 x u16
 *
 *   VPD page:  0 qualifier and type, 1 page code, 2-3 page length (n - 3), then
 *   00  page codes                           80  serial number, ASCII
 *   83  designators: 0 protocol 7-4, code set 3-0; 1 PIV 7, association 5-4, type 3-0; 2 -; 3 length; 4.. designator
 *   86  5 GROUP_SUP 4, PRIOR_SUP 3, HEADSUP 2, ORDSUP 1, SIMPSUP 0; 6 NV_SUP 1, V_SUP 0; 13 longest sense data
 *   B0  4 WSNZ 0; 5 max compare and write; 6-7 optimal granularity; 8-11 max transfer; 12-15 optimal transfer;
 *       16-19 max prefetch; 20-23 max unmap LBAs; 24-27 max unmap descriptors; 28-31 unmap granularity;
 *       32-35 UGAVALID 31, alignment 30-0; 36-43 max write same
 *   B1  4-5 rotation rate; 7 nominal form factor 3-0; 8 FUAB 1
 *   B2  4 threshold exponent; 5 LBPU 7, LBPWS 6, LBPWS10 5, LBPRZ 4-2, ANC_SUP 1, DP 0; 6 provisioning type 2-0
 */
import { readSafeU64, writeSafeU64 } from '../common/u64.js';

/** Peripheral device types (SPC-4 table 142). */
export const DeviceType = {
  block: 0x00,
  tape: 0x01,
  processor: 0x03,
  cdDvd: 0x05,
  mediumChanger: 0x08,
  storageArrayController: 0x0c,
  enclosureServices: 0x0d,
  simplifiedBlock: 0x0e,
  zonedBlock: 0x14,
  unknown: 0x1f,
} as const;

const DEVICE_TYPE_NAMES: Readonly<Record<number, string>> = {
  [DeviceType.block]: 'disk',
  [DeviceType.tape]: 'tape drive',
  [DeviceType.processor]: 'processor device',
  [DeviceType.cdDvd]: 'CD or DVD drive',
  [DeviceType.mediumChanger]: 'medium changer',
  [DeviceType.storageArrayController]: 'storage array controller',
  [DeviceType.enclosureServices]: 'enclosure services device',
  [DeviceType.simplifiedBlock]: 'simplified direct access device',
  [DeviceType.zonedBlock]: 'host managed zoned device',
};

export function deviceTypeName(deviceType: number): string {
  return DEVICE_TYPE_NAMES[deviceType] ?? `device of type 0x${deviceType.toString(16)}`;
}

/** Peripheral qualifiers. */
export const Qualifier = {
  connected: 0,
  /** The target supports a device at this LUN, but none is connected. */
  notConnected: 1,
  /** The target does not support a device at this LUN. */
  notCapable: 3,
} as const;

export const VpdPage = {
  supportedPages: 0x00,
  unitSerialNumber: 0x80,
  deviceIdentification: 0x83,
  extendedInquiry: 0x86,
  blockLimits: 0xb0,
  blockDeviceCharacteristics: 0xb1,
  logicalBlockProvisioning: 0xb2,
} as const;

export const INQUIRY_BYTES = 96;
const INQUIRY_VERSION_DESCRIPTORS_OFFSET = 58;
const INQUIRY_VERSION_DESCRIPTORS_MAX = 8;

/** Standard INQUIRY data. Text is ASCII and comes without its padding. */
export interface InquiryData {
  readonly qualifier: number;
  readonly deviceType: number;
  readonly removable: boolean;
  /** 5 is SPC-3, 6 SPC-4, 7 SPC-5. */
  readonly version: number;
  /** Target port group support: 0 none, 1 implicit, 2 explicit, 3 both. */
  readonly tpgs: number;
  readonly thirdPartyCopy: boolean;
  readonly protect: boolean;
  readonly multiPort: boolean;
  readonly commandQueuing: boolean;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  readonly versionDescriptors: readonly number[];
}

export function encodeInquiry(view: DataView, offset: number, data: InquiryData): number {
  view.setUint8(offset, (data.qualifier << 5) | data.deviceType);
  view.setUint8(offset + 1, data.removable ? 0x80 : 0);
  view.setUint8(offset + 2, data.version);
  view.setUint8(offset + 3, 0x12);
  view.setUint8(offset + 4, INQUIRY_BYTES - 5);
  view.setUint8(
    offset + 5,
    (data.tpgs << 4) | (data.thirdPartyCopy ? 0x08 : 0) | (data.protect ? 0x01 : 0),
  );
  view.setUint8(offset + 6, data.multiPort ? 0x10 : 0);
  view.setUint8(offset + 7, data.commandQueuing ? 0x02 : 0);
  writeAscii(view, offset + 8, 8, data.vendor);
  writeAscii(view, offset + 16, 16, data.product);
  writeAscii(view, offset + 32, 4, data.revision);
  for (let index = 0; index < INQUIRY_VERSION_DESCRIPTORS_MAX; index++) {
    const at = offset + INQUIRY_VERSION_DESCRIPTORS_OFFSET + 2 * index;
    view.setUint16(at, data.versionDescriptors[index] ?? 0);
  }
  return INQUIRY_BYTES;
}

/** Null when the data is shorter than the 36 bytes that every device sends (SPC-4 6.4.2). */
export function decodeInquiry(view: DataView, offset: number, length: number): InquiryData | null {
  if (length < 36) return null;
  const versionDescriptors: number[] = [];
  for (let index = 0; index < INQUIRY_VERSION_DESCRIPTORS_MAX; index++) {
    const at = INQUIRY_VERSION_DESCRIPTORS_OFFSET + 2 * index;
    const descriptor = at + 2 <= length ? view.getUint16(offset + at) : 0;
    if (descriptor !== 0) versionDescriptors.push(descriptor);
  }
  const flags5 = view.getUint8(offset + 5);
  return {
    qualifier: view.getUint8(offset) >> 5,
    deviceType: view.getUint8(offset) & 0x1f,
    removable: (view.getUint8(offset + 1) & 0x80) !== 0,
    version: view.getUint8(offset + 2),
    tpgs: (flags5 >> 4) & 3,
    thirdPartyCopy: (flags5 & 0x08) !== 0,
    protect: (flags5 & 0x01) !== 0,
    multiPort: (view.getUint8(offset + 6) & 0x10) !== 0,
    commandQueuing: (view.getUint8(offset + 7) & 0x02) !== 0,
    vendor: readAscii(view, offset + 8, 8),
    product: readAscii(view, offset + 16, 16),
    revision: readAscii(view, offset + 32, 4),
    versionDescriptors,
  };
}

/** Writes a VPD page's four header bytes; returns the whole page's length. */
export function encodeVpdHeader(
  view: DataView,
  offset: number,
  pageCode: number,
  pageLength: number,
): number {
  view.setUint8(offset, DeviceType.block);
  view.setUint8(offset + 1, pageCode);
  view.setUint16(offset + 2, pageLength);
  return 4 + pageLength;
}

/**
 * The end of a page's body, counted from the page's start: the smaller of its length field and `length`. 0 for
 * another page.
 */
export function vpdPageEnd(
  view: DataView,
  offset: number,
  length: number,
  pageCode: number,
): number {
  if (length < 4 || view.getUint8(offset + 1) !== pageCode) return 0;
  return Math.min(length, 4 + view.getUint16(offset + 2));
}

export function encodeSupportedPages(
  view: DataView,
  offset: number,
  pageCodes: readonly number[],
): number {
  pageCodes.forEach((code, index) => view.setUint8(offset + 4 + index, code));
  return encodeVpdHeader(view, offset, VpdPage.supportedPages, pageCodes.length);
}

export function decodeSupportedPages(view: DataView, offset: number, length: number): number[] {
  const end = vpdPageEnd(view, offset, length, VpdPage.supportedPages);
  const pageCodes: number[] = [];
  for (let at = 4; at < end; at++) pageCodes.push(view.getUint8(offset + at));
  return pageCodes;
}

export function encodeUnitSerialNumber(view: DataView, offset: number, serial: string): number {
  writeAscii(view, offset + 4, serial.length, serial);
  return encodeVpdHeader(view, offset, VpdPage.unitSerialNumber, serial.length);
}

export function decodeUnitSerialNumber(view: DataView, offset: number, length: number): string {
  const end = vpdPageEnd(view, offset, length, VpdPage.unitSerialNumber);
  return end <= 4 ? '' : readAscii(view, offset + 4, end - 4);
}

export const DesignatorType = {
  vendorSpecific: 0,
  t10VendorId: 1,
  eui64: 2,
  naa: 3,
  relativeTargetPort: 4,
  targetPortGroup: 5,
  scsiNameString: 8,
} as const;

export const CodeSet = { binary: 1, ascii: 2, utf8: 3 } as const;
export const Association = { logicalUnit: 0, targetPort: 1, targetDevice: 2 } as const;

/** One entry of VPD page 83. */
export interface Designator {
  readonly association: number;
  readonly type: number;
  readonly codeSet: number;
  readonly bytes: Uint8Array;
}

/** Each designator has at most 255 bytes. */
export function encodeDesignators(
  view: DataView,
  offset: number,
  designators: readonly Designator[],
): number {
  let at = 4;
  for (const { association, type, codeSet, bytes } of designators) {
    view.setUint8(offset + at, codeSet);
    view.setUint8(offset + at + 1, (association << 4) | type);
    view.setUint8(offset + at + 2, 0);
    view.setUint8(offset + at + 3, bytes.length);
    bytes.forEach((byte, index) => view.setUint8(offset + at + 4 + index, byte));
    at += 4 + bytes.length;
  }
  return encodeVpdHeader(view, offset, VpdPage.deviceIdentification, at - 4);
}

/** The designators that are complete, with copies of their bytes. */
export function decodeDesignators(view: DataView, offset: number, length: number): Designator[] {
  const end = vpdPageEnd(view, offset, length, VpdPage.deviceIdentification);
  const designators: Designator[] = [];
  for (let at = 4; at + 4 <= end;) {
    const designatorLength = view.getUint8(offset + at + 3);
    if (at + 4 + designatorLength > end) break;
    const start = view.byteOffset + offset + at + 4;
    designators.push({
      association: (view.getUint8(offset + at + 1) >> 4) & 3,
      type: view.getUint8(offset + at + 1) & 0x0f,
      codeSet: view.getUint8(offset + at) & 0x0f,
      bytes: new Uint8Array(view.buffer, start, designatorLength).slice(),
    });
    at += 4 + designatorLength;
  }
  return designators;
}

/** The fields of VPD page 86 that this project uses. */
export interface ExtendedInquiry {
  readonly headOfQueue: boolean;
  readonly ordered: boolean;
  readonly simple: boolean;
  /** The device has a cache that loses its contents when power fails. */
  readonly volatileCache: boolean;
  readonly senseBytesMax: number;
}

const EXTENDED_INQUIRY_BYTES = 64;

export function encodeExtendedInquiry(
  view: DataView,
  offset: number,
  data: ExtendedInquiry,
): number {
  view.setUint8(
    offset + 5,
    (data.headOfQueue ? 0x04 : 0) | (data.ordered ? 0x02 : 0) | (data.simple ? 0x01 : 0),
  );
  view.setUint8(offset + 6, data.volatileCache ? 0x01 : 0);
  view.setUint8(offset + 13, data.senseBytesMax);
  return encodeVpdHeader(view, offset, VpdPage.extendedInquiry, EXTENDED_INQUIRY_BYTES - 4);
}

/** VPD page B0. Lengths in logical blocks; 0 means that the device reports no limit (or no preference). */
export interface BlockLimits {
  /** The device refuses WRITE SAME with a length of 0, which means up to the end of the medium. */
  readonly writeSameNonZero: boolean;
  readonly compareAndWriteBlocksMax: number;
  readonly transferGranularityBlocks: number;
  readonly transferBlocksMax: number;
  readonly transferBlocksOptimal: number;
  readonly prefetchBlocksMax: number;
  /** 0xffffffff: no limit; 0: UNMAP is not implemented. */
  readonly unmapBlocksMax: number;
  readonly unmapDescriptorsMax: number;
  readonly unmapGranularityBlocks: number;
  /** null where UGAVALID is zero. */
  readonly unmapAlignmentBlocks: number | null;
  /** -1 when above 2^53 - 1. */
  readonly writeSameBlocksMax: number;
}

export const BLOCK_LIMITS_BYTES = 64;

export function encodeBlockLimits(view: DataView, offset: number, limits: BlockLimits): number {
  view.setUint8(offset + 4, limits.writeSameNonZero ? 1 : 0);
  view.setUint8(offset + 5, limits.compareAndWriteBlocksMax);
  view.setUint16(offset + 6, limits.transferGranularityBlocks);
  view.setUint32(offset + 8, limits.transferBlocksMax);
  view.setUint32(offset + 12, limits.transferBlocksOptimal);
  view.setUint32(offset + 16, limits.prefetchBlocksMax);
  view.setUint32(offset + 20, limits.unmapBlocksMax);
  view.setUint32(offset + 24, limits.unmapDescriptorsMax);
  view.setUint32(offset + 28, limits.unmapGranularityBlocks);
  const alignment = limits.unmapAlignmentBlocks;
  view.setUint32(offset + 32, alignment === null ? 0 : (0x8000_0000 | alignment) >>> 0);
  writeSafeU64(view, offset + 36, limits.writeSameBlocksMax);
  return encodeVpdHeader(view, offset, VpdPage.blockLimits, BLOCK_LIMITS_BYTES - 4);
}

/** Null when the data is another page. A shorter page (SBC-2: 16 bytes) has zeroes for the rest. */
export function decodeBlockLimits(
  view: DataView,
  offset: number,
  length: number,
): BlockLimits | null {
  const end = vpdPageEnd(view, offset, length, VpdPage.blockLimits);
  if (end < 4) return null;
  const u32At = (at: number) => (at + 4 <= end ? view.getUint32(offset + at) : 0);
  const alignment = u32At(32);
  return {
    writeSameNonZero: end > 4 && (view.getUint8(offset + 4) & 1) !== 0,
    compareAndWriteBlocksMax: end > 5 ? view.getUint8(offset + 5) : 0,
    transferGranularityBlocks: end >= 8 ? view.getUint16(offset + 6) : 0,
    transferBlocksMax: u32At(8),
    transferBlocksOptimal: u32At(12),
    prefetchBlocksMax: u32At(16),
    unmapBlocksMax: u32At(20),
    unmapDescriptorsMax: u32At(24),
    unmapGranularityBlocks: u32At(28),
    unmapAlignmentBlocks: alignment >= 0x8000_0000 ? alignment - 0x8000_0000 : null,
    writeSameBlocksMax: end >= 44 ? readSafeU64(view, offset + 36) : 0,
  };
}

/** VPD page B1. */
export interface BlockCharacteristics {
  /** 0 not reported, 1 not rotating, else revolutions per minute. */
  readonly rotationRate: number;
  readonly nominalFormFactor: number;
}

const BLOCK_CHARACTERISTICS_BYTES = 64;

export function encodeBlockCharacteristics(
  view: DataView,
  offset: number,
  data: BlockCharacteristics,
): number {
  view.setUint16(offset + 4, data.rotationRate);
  view.setUint8(offset + 7, data.nominalFormFactor);
  const bodyBytes = BLOCK_CHARACTERISTICS_BYTES - 4;
  return encodeVpdHeader(view, offset, VpdPage.blockDeviceCharacteristics, bodyBytes);
}

export function decodeBlockCharacteristics(
  view: DataView,
  offset: number,
  length: number,
): BlockCharacteristics | null {
  const end = vpdPageEnd(view, offset, length, VpdPage.blockDeviceCharacteristics);
  if (end < 8) return null;
  return {
    rotationRate: view.getUint16(offset + 4),
    nominalFormFactor: view.getUint8(offset + 7) & 0x0f,
  };
}

/** VPD page B2. */
export interface BlockProvisioning {
  readonly thresholdExponent: number;
  /** UNMAP, WRITE SAME(16) with UNMAP, WRITE SAME(10) with UNMAP. */
  readonly unmap: boolean;
  readonly writeSame16Unmap: boolean;
  readonly writeSame10Unmap: boolean;
  /** LBPRZ: unmapped blocks read as zero if bit 0 is set; 2 is "provisioning initialization pattern". */
  readonly readZeroes: number;
  readonly anchor: boolean;
  /** 0 not reported or full, 1 resource, 2 thin. */
  readonly type: number;
}

export const PROVISIONING_TYPES = ['full or not reported', 'resource', 'thin'] as const;

export function encodeBlockProvisioning(
  view: DataView,
  offset: number,
  data: BlockProvisioning,
): number {
  view.setUint8(offset + 4, data.thresholdExponent);
  view.setUint8(
    offset + 5,
    (data.unmap ? 0x80 : 0) |
      (data.writeSame16Unmap ? 0x40 : 0) |
      (data.writeSame10Unmap ? 0x20 : 0) |
      (data.readZeroes << 2) |
      (data.anchor ? 0x02 : 0),
  );
  view.setUint8(offset + 6, data.type);
  return encodeVpdHeader(view, offset, VpdPage.logicalBlockProvisioning, 4);
}

export function decodeBlockProvisioning(
  view: DataView,
  offset: number,
  length: number,
): BlockProvisioning | null {
  const end = vpdPageEnd(view, offset, length, VpdPage.logicalBlockProvisioning);
  if (end < 8) return null;
  const flags = view.getUint8(offset + 5);
  return {
    thresholdExponent: view.getUint8(offset + 4),
    unmap: (flags & 0x80) !== 0,
    writeSame16Unmap: (flags & 0x40) !== 0,
    writeSame10Unmap: (flags & 0x20) !== 0,
    readZeroes: (flags >> 2) & 7,
    anchor: (flags & 0x02) !== 0,
    type: view.getUint8(offset + 6) & 7,
  };
}

/** Fills `length` bytes with ASCII text, truncated or padded with spaces. An unprintable character becomes '?'. */
function writeAscii(view: DataView, offset: number, length: number, text: string): void {
  for (let index = 0; index < length; index++) {
    const code = index < text.length ? text.charCodeAt(index) : 0x20;
    view.setUint8(offset + index, code >= 0x20 && code < 0x7f ? code : 0x3f);
  }
}

/**
 * Text up to a NUL, without surrounding spaces. Bytes that are not ASCII are escaped, because logs and terminals show
 * the text. Different bytes give different text, because the text identifies a disk.
 */
function readAscii(view: DataView, offset: number, length: number): string {
  let text = '';
  for (let index = 0; index < length; index++) {
    const code = view.getUint8(offset + index);
    if (code === 0) break;
    if (code >= 0x20 && code < 0x7f) text += code === 0x5c ? '\\\\' : String.fromCharCode(code);
    else text += `\\x${code.toString(16).padStart(2, '0')}`;
  }
  return text.trim();
}
