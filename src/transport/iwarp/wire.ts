/**
 * Byte layouts of iWARP: MPA (RFC 5044, RFC 6581), DDP (RFC 5041) and RDMAP (RFC 5040). Big-endian throughout, except
 * for the CRC.
 *
 * MPA request and reply frame (RFC 5044 section 7.1, RFC 6581 section 9):
 *
 *     Byte  0        1        2        3
 *        0  key, 16 ASCII characters
 *       16  M C R S | rev    | PD_Length (with the enhanced data)
 *       20  A B, IRD (14)    | C D, ORD (14)        only with S
 *       24  the consumer's private data
 *
 * FPDU with a tagged DDP segment (RFC 5044 section 4.1, RFC 5041 section 4.2, RFC 5040 section 4.1):
 *
 *        0  ULPDU length     | T L rsvd DV | RV rsvd opcode
 *        4  STag
 *        8  tagged offset (64)
 *       16  payload, 0-3 bytes of pad to a multiple of 4, CRC32c (4, little-endian)
 *
 * with an untagged one (RFC 5041 section 4.3):
 *
 *        0  ULPDU length     | T L rsvd DV | RV rsvd opcode
 *        4  invalidate STag (Send with Invalidate only, RFC 5040 section 4.2)
 *        8  queue number
 *       12  message sequence number
 *       16  message offset
 *       20  payload, pad, CRC32c
 *
 * Read Request payload (RFC 5040 section 4.4; the offsets count from the payload's start):
 *
 *        0  data sink STag
 *        4  data sink tagged offset (64)
 *       12  RDMA Read message size
 *       16  data source STag
 *       20  data source tagged offset (64)
 *
 * terminate.ts has the Terminate payload, because its decoding needs more than a layout.
 */
import { NO_MEMORY_KEY } from '../verbs.js';
import type { MemoryKey } from '../verbs.js';

export const MPA_KEY_BYTES = 16;
export const MPA_HEADER_BYTES = 20;
export const MPA_ENHANCED_BYTES = 4;
export const MPA_REQUEST_KEY = 'MPA ID Req Frame';
export const MPA_REPLY_KEY = 'MPA ID Rep Frame';
export const MPA_REVISION = 2;

/** RFC 5044 section 7.1, flags of byte 16; S is RFC 6581's. */
export const MpaFlag = { markers: 0x80, crc: 0x40, reject: 0x20, enhanced: 0x10 } as const;

/** RFC 6581 section 9.2, the two top bits of the IRD field and of the ORD field. */
export const MpaIrdFlag = { peerToPeer: 0x8000, sendRtr: 0x4000 } as const;
export const MpaOrdFlag = { writeRtr: 0x8000, readRtr: 0x4000 } as const;
export const MPA_READ_DEPTH_MASK = 0x3fff;

/** The fields of a request or reply frame, without the consumer's private data. */
export class MpaFrame {
  isReply = false;
  flags = 0;
  revision = MPA_REVISION;
  /** With the enhanced data, as on the wire. */
  privateDataBytes = 0;
  /** The two words of the enhanced data, with their flags. Zero without S. */
  ird = 0;
  ord = 0;
}

/** Reads the 20 bytes of a frame header. The caller has checked the key. */
export function decodeMpaHeader(view: DataView, offset: number, out: MpaFrame): void {
  out.flags = view.getUint8(offset + 16);
  out.revision = view.getUint8(offset + 17);
  out.privateDataBytes = view.getUint16(offset + 18);
  out.ird = 0;
  out.ord = 0;
}

/** Reads the enhanced data that starts at `offset`. */
export function decodeMpaEnhanced(view: DataView, offset: number, out: MpaFrame): void {
  out.ird = view.getUint16(offset);
  out.ord = view.getUint16(offset + 2);
}

/** Writes header and, with S, enhanced data at `offset`; returns their length. */
export function encodeMpaFrame(view: DataView, offset: number, frame: MpaFrame): number {
  const key = frame.isReply ? MPA_REPLY_KEY : MPA_REQUEST_KEY;
  for (let index = 0; index < MPA_KEY_BYTES; index++) {
    view.setUint8(offset + index, key.charCodeAt(index));
  }
  view.setUint8(offset + 16, frame.flags);
  view.setUint8(offset + 17, frame.revision);
  view.setUint16(offset + 18, frame.privateDataBytes);
  if ((frame.flags & MpaFlag.enhanced) === 0) return MPA_HEADER_BYTES;
  view.setUint16(offset + 20, frame.ird);
  view.setUint16(offset + 22, frame.ord);
  return MPA_HEADER_BYTES + MPA_ENHANCED_BYTES;
}

export const FPDU_LENGTH_BYTES = 2;
export const FPDU_CRC_BYTES = 4;
export const FPDU_PAD_BYTES_MAX = 3;

/** The DDP and RDMAP header without MPA's length field. The ULPDU length is this header plus the payload. */
export const TAGGED_HEADER_BYTES = 14;
export const UNTAGGED_HEADER_BYTES = 18;

/** From the start of the FPDU to its payload. */
export const TAGGED_PAYLOAD_OFFSET = FPDU_LENGTH_BYTES + TAGGED_HEADER_BYTES;
export const UNTAGGED_PAYLOAD_OFFSET = FPDU_LENGTH_BYTES + UNTAGGED_HEADER_BYTES;

export const READ_REQUEST_BYTES = 28;

/** DDP control byte: tagged, last segment of the message, version 1 (RFC 5041 section 4.1). */
const DDP_TAGGED = 0x80;
const DDP_LAST = 0x40;
const DDP_VERSION_MASK = 0x03;
export const DDP_VERSION = 1;

/** RDMAP control byte: version 1 in the two top bits, the opcode in the four lowest (RFC 5040 section 4.1). */
const RDMAP_VERSION_SHIFT = 6;
const RDMAP_OPCODE_MASK = 0x0f;
export const RDMAP_VERSION = 1;

/** RFC 5040 section 4.3. */
export const RdmapOpcode = {
  write: 0,
  readRequest: 1,
  readResponse: 2,
  send: 3,
  sendInvalidate: 4,
  sendSolicited: 5,
  sendSolicitedInvalidate: 6,
  terminate: 7,
} as const;
export type RdmapOpcode = (typeof RdmapOpcode)[keyof typeof RdmapOpcode];

const opcodeNames = new Map<number, string>(
  Object.entries(RdmapOpcode).map(([name, code]) => [code, name]),
);

export function rdmapOpcodeName(opcode: number): string {
  return opcodeNames.get(opcode) ?? `opcode ${opcode}`;
}

/** The untagged queues (RFC 5040 section 4.1): Sends, Read Requests, Terminate. */
export const QueueNumber = { send: 0, readRequest: 1, terminate: 2 } as const;
export const QUEUE_COUNT = 3;

/** The header of an FPDU, tagged or untagged. Decoding leaves the fields of the other kind unchanged. */
export class FpduHeader {
  ulpduLength = 0;
  isTagged = false;
  isLast = false;
  ddpVersion = 0;
  rdmapVersion = 0;
  opcode = 0;
  stag = NO_MEMORY_KEY;
  offsetHigh = 0;
  offsetLow = 0;
  invalidateStag = NO_MEMORY_KEY;
  queueNumber = 0;
  sequenceNumber = 0;
  messageOffset = 0;

  /** Bytes after the DDP header; negative for a ULPDU length too short to hold that header. */
  get payloadBytes(): number {
    return this.ulpduLength - (this.isTagged ? TAGGED_HEADER_BYTES : UNTAGGED_HEADER_BYTES);
  }
}

/** Bytes from the FPDU's start to its payload. `ddpControl` is the FPDU's byte 2. */
export function payloadOffsetOf(ddpControl: number): number {
  return (ddpControl & DDP_TAGGED) === 0 ? UNTAGGED_PAYLOAD_OFFSET : TAGGED_PAYLOAD_OFFSET;
}

/** Zero bytes between a ULPDU of this length and the CRC. */
export function padBytesFor(ulpduLength: number): number {
  return -(FPDU_LENGTH_BYTES + ulpduLength) & 3;
}

/** The whole FPDU, from the length field to the CRC. */
export function fpduBytesFor(ulpduLength: number): number {
  return FPDU_LENGTH_BYTES + ulpduLength + padBytesFor(ulpduLength) + FPDU_CRC_BYTES;
}

/** The longest ULPDU whose FPDU is at most `fpduBytes` long. */
export function ulpduBytesWithin(fpduBytes: number): number {
  return (fpduBytes & ~3) - FPDU_LENGTH_BYTES - FPDU_CRC_BYTES;
}

/** Reads the header, whose length is {@link payloadOffsetOf}. */
export function decodeFpduHeader(view: DataView, offset: number, out: FpduHeader): void {
  const ddpControl = view.getUint8(offset + 2);
  const rdmapControl = view.getUint8(offset + 3);
  out.ulpduLength = view.getUint16(offset);
  out.isTagged = (ddpControl & DDP_TAGGED) !== 0;
  out.isLast = (ddpControl & DDP_LAST) !== 0;
  out.ddpVersion = ddpControl & DDP_VERSION_MASK;
  out.rdmapVersion = rdmapControl >>> RDMAP_VERSION_SHIFT;
  out.opcode = rdmapControl & RDMAP_OPCODE_MASK;
  if (out.isTagged) {
    out.stag = view.getUint32(offset + 4) as MemoryKey;
    out.offsetHigh = view.getUint32(offset + 8);
    out.offsetLow = view.getUint32(offset + 12);
  } else {
    out.invalidateStag = view.getUint32(offset + 4) as MemoryKey;
    out.queueNumber = view.getUint32(offset + 8);
    out.sequenceNumber = view.getUint32(offset + 12);
    out.messageOffset = view.getUint32(offset + 16);
  }
}

/** Writes the header and returns its length, which is the offset of the payload. */
export function encodeFpduHeader(view: DataView, offset: number, header: FpduHeader): number {
  const ddpControl =
    (header.isTagged ? DDP_TAGGED : 0) | (header.isLast ? DDP_LAST : 0) | DDP_VERSION;
  view.setUint16(offset, header.ulpduLength);
  view.setUint8(offset + 2, ddpControl);
  view.setUint8(offset + 3, (RDMAP_VERSION << RDMAP_VERSION_SHIFT) | header.opcode);
  if (header.isTagged) {
    view.setUint32(offset + 4, header.stag);
    view.setUint32(offset + 8, header.offsetHigh);
    view.setUint32(offset + 12, header.offsetLow);
    return TAGGED_PAYLOAD_OFFSET;
  }
  view.setUint32(offset + 4, header.invalidateStag);
  view.setUint32(offset + 8, header.queueNumber);
  view.setUint32(offset + 12, header.sequenceNumber);
  view.setUint32(offset + 16, header.messageOffset);
  return UNTAGGED_PAYLOAD_OFFSET;
}

/** A Read Request's payload. */
export class ReadRequest {
  sinkStag = NO_MEMORY_KEY;
  sinkOffsetHigh = 0;
  sinkOffsetLow = 0;
  lengthBytes = 0;
  sourceStag = NO_MEMORY_KEY;
  sourceOffsetHigh = 0;
  sourceOffsetLow = 0;
}

export function decodeReadRequest(view: DataView, offset: number, out: ReadRequest): void {
  out.sinkStag = view.getUint32(offset) as MemoryKey;
  out.sinkOffsetHigh = view.getUint32(offset + 4);
  out.sinkOffsetLow = view.getUint32(offset + 8);
  out.lengthBytes = view.getUint32(offset + 12);
  out.sourceStag = view.getUint32(offset + 16) as MemoryKey;
  out.sourceOffsetHigh = view.getUint32(offset + 20);
  out.sourceOffsetLow = view.getUint32(offset + 24);
}

export function encodeReadRequest(view: DataView, offset: number, request: ReadRequest): void {
  view.setUint32(offset, request.sinkStag);
  view.setUint32(offset + 4, request.sinkOffsetHigh);
  view.setUint32(offset + 8, request.sinkOffsetLow);
  view.setUint32(offset + 12, request.lengthBytes);
  view.setUint32(offset + 16, request.sourceStag);
  view.setUint32(offset + 20, request.sourceOffsetHigh);
  view.setUint32(offset + 24, request.sourceOffsetLow);
}
