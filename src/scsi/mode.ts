/**
 * Mode parameters (SPC-4 7.5, SBC-3 6.4), as MODE SENSE returns them and MODE SELECT takes them.
 *
 *   Mode parameter header(6)       0 length (n), 1 medium type, 2 device-specific, 3 block descriptor length
 *   Mode parameter header(10)      0-1 length (n - 1), 2 medium type, 3 device-specific, 4 LONGLBA 0, 6-7 descriptors
 *                                  device-specific: WP 7, DPOFUA 4
 *   Mode page                      0 PS 7, SPF 6, code 5-0; 1 length (n - 1); with SPF: 1 subpage, 2-3 length (n - 3)
 *                                  08 caching, 20 bytes: 2 WCE 2, RCD 0
 *                                  0A control, 12 bytes: 2 D_SENSE 2; 4 SWP 3; 5 TAS 6
 */

export const ModePage = { caching: 0x08, control: 0x0a, all: 0x3f } as const;

export const MODE_HEADER_6_BYTES = 4;
export const MODE_HEADER_10_BYTES = 8;
export const CACHING_PAGE_BYTES = 20;
export const CONTROL_PAGE_BYTES = 12;

/** What MODE SENSE reports about a disk. A page that the device did not return is null. */
export interface ModeParameters {
  readonly writeProtected: boolean;
  /** DPOFUA: the device honours FUA (and DPO) in READ and WRITE. */
  readonly forceUnitAccess: boolean;
  readonly caching: CachingPage | null;
  readonly control: ControlPage | null;
}

export interface CachingPage {
  /** WCE: writes may end before their data is on the medium. */
  readonly writeCache: boolean;
  /** RCD inverted: reads may come from the cache. */
  readonly readCache: boolean;
}

export interface ControlPage {
  readonly descriptorSense: boolean;
  readonly softwareWriteProtect: boolean;
  readonly taskAbortedStatus: boolean;
}

const DEVICE_WRITE_PROTECT = 0x80;
const DEVICE_DPOFUA = 0x10;

/** The 6-byte or the 10-byte form of the command. The two forms have different headers. */
export type ModeSenseForm = 6 | 10;

/**
 * Writes the header and the pages, without block descriptors; returns the length. Pages stand in the order of their
 * codes. A null page is left out.
 */
export function encodeModeParameters(
  view: DataView,
  offset: number,
  form: ModeSenseForm,
  data: ModeParameters,
): number {
  const headerBytes = form === 6 ? MODE_HEADER_6_BYTES : MODE_HEADER_10_BYTES;
  let at = headerBytes;
  if (data.caching !== null) at += encodeCachingPage(view, offset + at, data.caching);
  if (data.control !== null) at += encodeControlPage(view, offset + at, data.control);
  const deviceSpecific =
    (data.writeProtected ? DEVICE_WRITE_PROTECT : 0) | (data.forceUnitAccess ? DEVICE_DPOFUA : 0);
  if (form === 6) {
    view.setUint32(offset, ((at - 1) << 24) | (deviceSpecific << 8));
  } else {
    view.setUint32(offset, ((at - 2) << 16) | deviceSpecific);
    view.setUint32(offset + 4, 0);
  }
  return at;
}

function encodeCachingPage(view: DataView, offset: number, page: CachingPage): number {
  for (let at = 0; at < CACHING_PAGE_BYTES; at += 4) view.setUint32(offset + at, 0);
  view.setUint8(offset, ModePage.caching);
  view.setUint8(offset + 1, CACHING_PAGE_BYTES - 2);
  view.setUint8(offset + 2, (page.writeCache ? 0x04 : 0) | (page.readCache ? 0 : 0x01));
  return CACHING_PAGE_BYTES;
}

function encodeControlPage(view: DataView, offset: number, page: ControlPage): number {
  for (let at = 0; at < CONTROL_PAGE_BYTES; at += 4) view.setUint32(offset + at, 0);
  view.setUint8(offset, ModePage.control);
  view.setUint8(offset + 1, CONTROL_PAGE_BYTES - 2);
  view.setUint8(offset + 2, page.descriptorSense ? 0x04 : 0);
  view.setUint8(offset + 4, page.softwareWriteProtect ? 0x08 : 0);
  view.setUint8(offset + 5, page.taskAbortedStatus ? 0x40 : 0);
  return CONTROL_PAGE_BYTES;
}

/** Null when the data is shorter than the header. A truncated page counts as absent. */
export function decodeModeParameters(
  view: DataView,
  offset: number,
  length: number,
  form: ModeSenseForm,
): ModeParameters | null {
  const headerBytes = form === 6 ? MODE_HEADER_6_BYTES : MODE_HEADER_10_BYTES;
  if (length < headerBytes) return null;
  const dataBytes = form === 6 ? view.getUint8(offset) + 1 : view.getUint16(offset) + 2;
  const deviceSpecific = view.getUint8(offset + (form === 6 ? 2 : 3));
  const descriptorBytes = form === 6 ? view.getUint8(offset + 3) : view.getUint16(offset + 6);
  const end = Math.min(length, dataBytes);
  let caching: CachingPage | null = null;
  let control: ControlPage | null = null;
  for (let at = headerBytes + descriptorBytes; at + 4 <= end;) {
    const code = view.getUint8(offset + at);
    const isSubpage = (code & 0x40) !== 0;
    const pageBytes = isSubpage
      ? 4 + view.getUint16(offset + at + 2)
      : 2 + view.getUint8(offset + at + 1);
    if (at + pageBytes > end) break;
    if (!isSubpage && pageBytes >= 6) {
      if ((code & 0x3f) === ModePage.caching) caching = decodeCachingPage(view, offset + at);
      if ((code & 0x3f) === ModePage.control) control = decodeControlPage(view, offset + at);
    }
    at += pageBytes;
  }
  return {
    writeProtected: (deviceSpecific & DEVICE_WRITE_PROTECT) !== 0,
    forceUnitAccess: (deviceSpecific & DEVICE_DPOFUA) !== 0,
    caching,
    control,
  };
}

function decodeCachingPage(view: DataView, offset: number): CachingPage {
  const flags = view.getUint8(offset + 2);
  return { writeCache: (flags & 0x04) !== 0, readCache: (flags & 0x01) === 0 };
}

function decodeControlPage(view: DataView, offset: number): ControlPage {
  return {
    descriptorSense: (view.getUint8(offset + 2) & 0x04) !== 0,
    softwareWriteProtect: (view.getUint8(offset + 4) & 0x08) !== 0,
    taskAbortedStatus: (view.getUint8(offset + 5) & 0x40) !== 0,
  };
}

/** One mode page of a MODE SELECT list: its position, header included, and its code. */
export interface ModePageSpan {
  readonly code: number;
  readonly subpage: number;
  readonly start: number;
  readonly length: number;
}

/** What the initiator wants to set with MODE SELECT. */
export interface ModeSelectList {
  /** The block descriptor, null without one. -1 blocks stands for FFFFFFFFh. */
  readonly block: { readonly blocks: number; readonly blockBytes: number } | null;
  readonly pages: readonly ModePageSpan[];
}

const BLOCK_DESCRIPTOR_BYTES = 8;

/**
 * Decodes a MODE SELECT list of `length` bytes. Returns `cut` when a length field exceeds the list, and `odd` for
 * block descriptors that no disk has.
 */
export function decodeModeSelect(
  view: DataView,
  offset: number,
  length: number,
  form: ModeSenseForm,
): ModeSelectList | 'cut' | 'odd' {
  const headerBytes = form === 6 ? MODE_HEADER_6_BYTES : MODE_HEADER_10_BYTES;
  if (length < headerBytes) return 'cut';
  const descriptorBytes = form === 6 ? view.getUint8(offset + 3) : view.getUint16(offset + 6);
  const isLong = form === 10 && (view.getUint8(offset + 4) & 1) !== 0;
  if (isLong || (descriptorBytes !== 0 && descriptorBytes !== BLOCK_DESCRIPTOR_BYTES)) return 'odd';
  let at = headerBytes + descriptorBytes;
  if (at > length) return 'cut';
  const block = descriptorBytes === 0 ? null : decodeBlockDescriptor(view, offset + headerBytes);
  const pages: ModePageSpan[] = [];
  while (at < length) {
    if (at + 2 > length) return 'cut';
    const code = view.getUint8(offset + at);
    const isSubpage = (code & 0x40) !== 0;
    if (isSubpage && at + 4 > length) return 'cut';
    const pageBytes = isSubpage
      ? 4 + view.getUint16(offset + at + 2)
      : 2 + view.getUint8(offset + at + 1);
    if (at + pageBytes > length) return 'cut';
    const subpage = isSubpage ? view.getUint8(offset + at + 1) : 0;
    pages.push({ code: code & 0x3f, subpage, start: offset + at, length: pageBytes });
    at += pageBytes;
  }
  return { block, pages };
}

function decodeBlockDescriptor(view: DataView, offset: number) {
  const blocks = view.getUint32(offset);
  return {
    blocks: blocks === 0xffff_ffff ? -1 : blocks,
    blockBytes: view.getUint32(offset + 4) & 0xff_ffff,
  };
}
