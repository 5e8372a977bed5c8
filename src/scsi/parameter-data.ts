/**
 * Parameter data of the block commands (SBC-3 5) and of REPORT LUNS (SPC-4 6.33). Everything is big-endian. The
 * caller has checked that the bytes exist, except where a function has a `length` argument.
 *
 *   READ CAPACITY(10), 8 bytes     0-3 last LBA (0xffffffff: ask with 16), 4-7 block length
 *   READ CAPACITY(16), 32 bytes    0-7 last LBA, 8-11 block length, 12 P_TYPE 3-1 PROT_EN 0,
 *                                  13 P_I 7-4, logical blocks per physical exponent 3-0,
 *                                  14 LBPME 7, LBPRZ 6, 14-15 lowest aligned LBA 13-0
 *   UNMAP list                     0-1 data length (n - 1), 2-3 descriptors' length; at 8, each 16 bytes:
 *                                  0-7 LBA, 8-11 blocks, 12-15 -
 *   GET LBA STATUS                 0-3 data length (n - 3), 4-7 -; at 8, each 16 bytes:
 *                                  0-7 LBA, 8-11 blocks, 12 status 3-0, 13-15 -
 *   REPORT LUNS                    0-3 list length, 4-7 -; at 8, each 8 bytes: a LUN
 */
import { readSafeU64, writeSafeU64 } from '../common/u64.js';
import { LUN_BYTES, LUN_UNSUPPORTED, decodeLun, encodeLun } from './lun.js';

export const READ_CAPACITY_10_BYTES = 8;
export const READ_CAPACITY_16_BYTES = 32;

export interface ReadCapacity {
  /** -1 when above 2^53 - 1. */
  lastLba: number;
  blockBytes: number;
  /** 0 without protection information, else its type 1..3. */
  protectionType: number;
  /** Logical blocks per physical block, as a power of two. */
  physicalBlockExponent: number;
  lowestAlignedLba: number;
  /** LBPME: the unit manages provisioning by block, so UNMAP has an effect. */
  provisioned: boolean;
  /** LBPRZ: unmapped blocks read as zeroes. */
  readZeroes: boolean;
}

export function encodeReadCapacity10(
  view: DataView,
  offset: number,
  lastLba: number,
  blockBytes: number,
): number {
  view.setUint32(offset, Math.min(lastLba, 0xffff_ffff));
  view.setUint32(offset + 4, blockBytes);
  return READ_CAPACITY_10_BYTES;
}

/** Decodes READ CAPACITY(10): size and block length. The other fields are unknown. */
export function decodeReadCapacity10(view: DataView, offset: number): ReadCapacity {
  return {
    ...emptyReadCapacity(),
    lastLba: view.getUint32(offset),
    blockBytes: view.getUint32(offset + 4),
  };
}

export function emptyReadCapacity(): ReadCapacity {
  return {
    lastLba: 0,
    blockBytes: 0,
    protectionType: 0,
    physicalBlockExponent: 0,
    lowestAlignedLba: 0,
    provisioned: false,
    readZeroes: false,
  };
}

export function encodeReadCapacity16(view: DataView, offset: number, data: ReadCapacity): number {
  writeSafeU64(view, offset, data.lastLba);
  view.setUint32(offset + 8, data.blockBytes);
  const protection = data.protectionType === 0 ? 0 : ((data.protectionType - 1) << 1) | 1;
  view.setUint8(offset + 12, protection);
  view.setUint8(offset + 13, data.physicalBlockExponent);
  view.setUint16(
    offset + 14,
    (data.provisioned ? 0x8000 : 0) |
      (data.readZeroes ? 0x4000 : 0) |
      (data.lowestAlignedLba & 0x3fff),
  );
  return READ_CAPACITY_16_BYTES;
}

/** Reads the first 16 bytes only. The oldest devices send no more, and the rest is reserved. */
export function decodeReadCapacity16(view: DataView, offset: number, out: ReadCapacity): void {
  const protection = view.getUint8(offset + 12);
  const provisioning = view.getUint16(offset + 14);
  out.lastLba = readSafeU64(view, offset);
  out.blockBytes = view.getUint32(offset + 8);
  out.protectionType = (protection & 1) === 0 ? 0 : ((protection >> 1) & 7) + 1;
  out.physicalBlockExponent = view.getUint8(offset + 13) & 0x0f;
  out.lowestAlignedLba = provisioning & 0x3fff;
  out.provisioned = (provisioning & 0x8000) !== 0;
  out.readZeroes = (provisioning & 0x4000) !== 0;
}

export const UNMAP_HEADER_BYTES = 8;
export const UNMAP_DESCRIPTOR_BYTES = 16;

/** A run of logical blocks; `lba` is -1 when above 2^53 - 1. */
export interface BlockRange {
  lba: number;
  blocks: number;
}

/** Writes the header of an UNMAP parameter list; returns the list's length. */
export function encodeUnmapHeader(view: DataView, offset: number, descriptors: number): number {
  const descriptorBytes = descriptors * UNMAP_DESCRIPTOR_BYTES;
  view.setUint16(offset, descriptorBytes + UNMAP_HEADER_BYTES - 2);
  view.setUint16(offset + 2, descriptorBytes);
  view.setUint32(offset + 4, 0);
  return UNMAP_HEADER_BYTES + descriptorBytes;
}

/** Writes descriptor `index` of the list that starts at `offset`. */
export function encodeUnmapDescriptor(
  view: DataView,
  offset: number,
  index: number,
  lba: number,
  blocks: number,
): void {
  const at = offset + UNMAP_HEADER_BYTES + index * UNMAP_DESCRIPTOR_BYTES;
  writeSafeU64(view, at, lba);
  view.setUint32(at + 8, blocks);
  view.setUint32(at + 12, 0);
}

/**
 * The number of complete descriptors in a list of `length` bytes. -1 when a length field exceeds the list; SBC-3
 * 5.28.2 then requires PARAMETER LIST LENGTH ERROR.
 */
export function unmapDescriptorCount(view: DataView, offset: number, length: number): number {
  if (length === 0) return 0;
  if (length < UNMAP_HEADER_BYTES) return -1;
  const descriptorBytes = view.getUint16(offset + 2);
  if (descriptorBytes + UNMAP_HEADER_BYTES > length) return -1;
  if (view.getUint16(offset) + 2 > length) return -1;
  return Math.floor(descriptorBytes / UNMAP_DESCRIPTOR_BYTES);
}

/** Reads descriptor `index` of the list that starts at `offset`. */
export function decodeUnmapDescriptor(
  view: DataView,
  offset: number,
  index: number,
  out: BlockRange,
): void {
  const at = offset + UNMAP_HEADER_BYTES + index * UNMAP_DESCRIPTOR_BYTES;
  out.lba = readSafeU64(view, at);
  out.blocks = view.getUint32(at + 8);
}

export const LBA_STATUS_HEADER_BYTES = 8;
export const LBA_STATUS_DESCRIPTOR_BYTES = 16;

/** SBC-3 table 65. */
export const ProvisioningStatus = { mapped: 0, deallocated: 1, anchored: 2 } as const;

export interface LbaStatus extends BlockRange {
  /** {@link ProvisioningStatus}. Treat any other value as mapped. */
  status: number;
}

/** Writes the header for `descriptors` descriptors; returns the length of header and descriptors. */
export function encodeLbaStatusHeader(view: DataView, offset: number, descriptors: number): number {
  const lengthBytes = LBA_STATUS_HEADER_BYTES + descriptors * LBA_STATUS_DESCRIPTOR_BYTES;
  view.setUint32(offset, lengthBytes - 4);
  view.setUint32(offset + 4, 0);
  return lengthBytes;
}

export function encodeLbaStatus(
  view: DataView,
  offset: number,
  index: number,
  data: LbaStatus,
): void {
  const at = offset + LBA_STATUS_HEADER_BYTES + index * LBA_STATUS_DESCRIPTOR_BYTES;
  writeSafeU64(view, at, data.lba);
  view.setUint32(at + 8, data.blocks);
  view.setUint32(at + 12, data.status << 24);
}

/** The number of complete descriptors in `length` received bytes. */
export function lbaStatusCount(view: DataView, offset: number, length: number): number {
  if (length < LBA_STATUS_HEADER_BYTES) return 0;
  const dataBytes = Math.min(length, view.getUint32(offset) + 4) - LBA_STATUS_HEADER_BYTES;
  return Math.max(0, Math.floor(dataBytes / LBA_STATUS_DESCRIPTOR_BYTES));
}

export function decodeLbaStatus(
  view: DataView,
  offset: number,
  index: number,
  out: LbaStatus,
): void {
  const at = offset + LBA_STATUS_HEADER_BYTES + index * LBA_STATUS_DESCRIPTOR_BYTES;
  out.lba = readSafeU64(view, at);
  out.blocks = view.getUint32(at + 8);
  out.status = view.getUint8(at + 12) & 0x0f;
}

export const REPORT_LUNS_HEADER_BYTES = 8;

export function encodeReportLuns(view: DataView, offset: number, luns: readonly number[]): number {
  view.setUint32(offset, luns.length * LUN_BYTES);
  view.setUint32(offset + 4, 0);
  luns.forEach((lun, index) => {
    const at = offset + REPORT_LUNS_HEADER_BYTES + index * LUN_BYTES;
    view.setUint32(at, encodeLun(lun));
    view.setUint32(at + 4, 0);
  });
  return REPORT_LUNS_HEADER_BYTES + luns.length * LUN_BYTES;
}

/**
 * A logical unit as its target lists it. A LUN below 256 has two encodings; commands use the encoding from the list.
 */
export interface ReportedLun {
  readonly lun: number;
  /** The upper four of the LUN's eight bytes. The lower four are zero, because the LUN has one level. */
  readonly lunHigh: number;
}

/** The single-level LUNs in `length` received bytes. The list length in the header may be greater. */
export function decodeReportLuns(view: DataView, offset: number, length: number): ReportedLun[] {
  const luns: ReportedLun[] = [];
  if (length < REPORT_LUNS_HEADER_BYTES) return luns;
  const end = Math.min(length, REPORT_LUNS_HEADER_BYTES + view.getUint32(offset));
  for (let at = REPORT_LUNS_HEADER_BYTES; at + LUN_BYTES <= end; at += LUN_BYTES) {
    const lunHigh = view.getUint32(offset + at);
    const lun = decodeLun(lunHigh, view.getUint32(offset + at + 4));
    if (lun !== LUN_UNSUPPORTED) luns.push({ lun, lunHigh });
  }
  return luns;
}
