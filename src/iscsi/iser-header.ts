/**
 * The iSER header (RFC 7145 section 9), which precedes the BHS in every Send, and the private data that Linux
 * initiators and targets exchange when they connect (Linux include/scsi/iser.h). Big-endian throughout.
 *
 * Control-type PDU, RFC 7145 9.2 (28 bytes; the 48-byte BHS follows, then the data segment):
 *
 *     Byte  0                          1        2        3
 *        0  0001b | W | R | 00b      | reserved
 *        4  write STag                                   W (WSV): the write STag and base offset are valid
 *        8  write base offset (64)                       R (RSV): the read STag and base offset are valid
 *       16  read STag
 *       20  read base offset (64)
 *
 * Hello, RFC 7145 9.3, and HelloReply, 9.4 (28 bytes, nothing follows; Linux never sends them):
 *
 *        0  0010b | rsvd             | maxVer (4) | minVer (4) | iSER-IRD (16)    reserved to 28
 *        0  0011b | rsvd (3) | REJ   | maxVer (4) | curVer (4) | iSER-ORD (16)    reserved to 28
 *
 * Connection-manager private data (struct iser_cm_hdr, 4 bytes): flags, then three zero bytes. A peer without private
 * data supports neither zero-based addresses nor Send with Invalidate.
 */
import { LOGIN_DATA_BYTES_MAX } from './limits.js';
import { BHS_BYTES } from './wire.js';

export const ISER_HEADER_BYTES = 28;
/** iSER header and BHS, the start of every PDU in full feature phase and in login (`ISER_HEADERS_LEN`). */
export const ISER_HEADERS_BYTES = ISER_HEADER_BYTES + BHS_BYTES;
/** The size of a receive for a login PDU (`ISER_RX_LOGIN_SIZE`). */
export const LOGIN_RECEIVE_BYTES = ISER_HEADERS_BYTES + LOGIN_DATA_BYTES_MAX;

/** The opcode in the high half of the header's first byte. All others are reserved. */
export const IserHeaderType = { control: 0x10, hello: 0x20, helloReply: 0x30 } as const;
export type IserHeaderType = (typeof IserHeaderType)[keyof typeof IserHeaderType];

const typeNames = new Map<number, string>(
  Object.entries(IserHeaderType).map(([name, code]) => [code, name]),
);

export function iserHeaderTypeName(type: number): string {
  return typeNames.get(type) ?? `reserved type 0x${type.toString(16)}`;
}

const TYPE_MASK = 0xf0;
const WRITE_STAG_VALID = 0x08;
const READ_STAG_VALID = 0x04;
const HELLO_REJECT = 0x01;

const WRITE_STAG = 4;
const WRITE_BASE_OFFSET = 8;
const READ_STAG = 16;
const READ_BASE_OFFSET = 20;

/** A control-type header. When an `is…Valid` field is false, its STag and offset are zero, in the header and here. */
export class IserControlHeader {
  isWriteStagValid = false;
  writeStag = 0;
  writeAddressHigh = 0;
  writeAddressLow = 0;
  isReadStagValid = false;
  readStag = 0;
  readAddressHigh = 0;
  readAddressLow = 0;

  clear(): void {
    this.isWriteStagValid = false;
    this.writeStag = 0;
    this.writeAddressHigh = 0;
    this.writeAddressLow = 0;
    this.isReadStagValid = false;
    this.readStag = 0;
    this.readAddressHigh = 0;
    this.readAddressLow = 0;
  }
}

/** The type of the header at `offset`: one of {@link IserHeaderType}, or a reserved value. */
export function readIserHeaderType(view: DataView, offset: number): number {
  return view.getUint8(offset) & TYPE_MASK;
}

/** Writes a control-type header without STags, 28 bytes: for every PDU except a SCSI command with data. */
export function encodePlainHeader(view: DataView, offset: number): void {
  view.setUint32(offset, IserHeaderType.control << 24);
  for (let at = WRITE_STAG; at < ISER_HEADER_BYTES; at += 4) view.setUint32(offset + at, 0);
}

/** Writes a control-type header, 28 bytes. */
export function encodeControlHeader(
  view: DataView,
  offset: number,
  header: Readonly<IserControlHeader>,
): void {
  encodePlainHeader(view, offset);
  let flags: number = IserHeaderType.control;
  if (header.isWriteStagValid) {
    flags |= WRITE_STAG_VALID;
    view.setUint32(offset + WRITE_STAG, header.writeStag);
    view.setUint32(offset + WRITE_BASE_OFFSET, header.writeAddressHigh);
    view.setUint32(offset + WRITE_BASE_OFFSET + 4, header.writeAddressLow);
  }
  if (header.isReadStagValid) {
    flags |= READ_STAG_VALID;
    view.setUint32(offset + READ_STAG, header.readStag);
    view.setUint32(offset + READ_BASE_OFFSET, header.readAddressHigh);
    view.setUint32(offset + READ_BASE_OFFSET + 4, header.readAddressLow);
  }
  view.setUint8(offset, flags);
}

/** Reads the 28 bytes of a header. The caller has checked that its type is control. Reserved bits are ignored (9.2). */
export function decodeControlHeader(view: DataView, offset: number, out: IserControlHeader): void {
  out.clear();
  const flags = view.getUint8(offset);
  if ((flags & WRITE_STAG_VALID) !== 0) {
    out.isWriteStagValid = true;
    out.writeStag = view.getUint32(offset + WRITE_STAG);
    out.writeAddressHigh = view.getUint32(offset + WRITE_BASE_OFFSET);
    out.writeAddressLow = view.getUint32(offset + WRITE_BASE_OFFSET + 4);
  }
  if ((flags & READ_STAG_VALID) !== 0) {
    out.isReadStagValid = true;
    out.readStag = view.getUint32(offset + READ_STAG);
    out.readAddressHigh = view.getUint32(offset + READ_BASE_OFFSET);
    out.readAddressLow = view.getUint32(offset + READ_BASE_OFFSET + 4);
  }
}

/** True for a HelloReply that refuses the connection. */
export function isHelloReject(view: DataView, offset: number): boolean {
  const first = view.getUint8(offset);
  return (first & TYPE_MASK) === IserHeaderType.helloReply && (first & HELLO_REJECT) !== 0;
}

/** `ISER_ZBVA_NOT_SUP`: the sender's remote addresses are not zero-based. */
export const ZERO_BASED_ADDRESS_NOT_SUPPORTED = 0x80;
/** `ISER_SEND_W_INV_NOT_SUP`: the sender does not want, or send, Send with Invalidate. */
export const SEND_WITH_INVALIDATE_NOT_SUPPORTED = 0x40;

/** Encodes private data with `flags`. */
export function encodeCmPrivateData(flags: number): Uint8Array {
  return Uint8Array.of(flags, 0, 0, 0);
}

/** The flags in a peer's private data. As in Linux, a peer without private data supports neither feature. */
export function decodeCmFlags(privateData: Uint8Array): number {
  return privateData[0] ?? ZERO_BASED_ADDRESS_NOT_SUPPORTED | SEND_WITH_INVALIDATE_NOT_SUPPORTED;
}
