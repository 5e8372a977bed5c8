/**
 * The RDMAP Terminate message (RFC 5040 section 4.8), which ends a stream and says why:
 *
 *     Byte  0        1        2        3
 *        0  Layer EType      | code   | M D R rsvd      | rsvd
 *        4  DDP segment length (16), with M | the terminated segment's DDP header (14 or 18 bytes), with D
 *        .  the terminated Read Request's RDMAP header (28 bytes), with R
 *
 * Linux soft-iWARP declares the first and third byte as bit fields, which little-endian hosts store in the opposite
 * order: its Layer is in the low nibble, and M, D, R are the lowest bits. We accept both orders.
 */
import { READ_REQUEST_BYTES } from './wire.js';

const HeaderControl = { segmentLength: 0x80, ddpHeader: 0x40, rdmapHeader: 0x20 } as const;
const SWAPPED_HEADER_CONTROL = 0x07;
const RFC_HEADER_CONTROL = 0xe0;

export const TERMINATE_CONTROL_BYTES = 4;
/** Control, segment length, untagged DDP header, read header. */
export const TERMINATE_BYTES_MAX = TERMINATE_CONTROL_BYTES + 2 + 18 + READ_REQUEST_BYTES;

/** One reason for ending a stream: RFC 5040 section 4.8, RFC 5041 section 7.2, RFC 5044 section 8 and RFC 6581 section 11. */
export interface TerminateCode {
  readonly layer: number;
  readonly type: number;
  readonly code: number;
  readonly meaning: string;
}

function code(layer: number, type: number, value: number, meaning: string): TerminateCode {
  return { layer, type, code: value, meaning };
}

export const Terminate = {
  localCatastrophic: code(0, 0, 0, 'RDMAP local catastrophic error'),
  invalidStag: code(0, 1, 0, 'RDMAP remote protection error: invalid STag'),
  bounds: code(0, 1, 1, 'RDMAP remote protection error: base or bounds violation'),
  accessRights: code(0, 1, 2, 'RDMAP remote protection error: access rights violation'),
  stagNotAssociated: code(
    0,
    1,
    3,
    'RDMAP remote protection error: STag not associated with the stream',
  ),
  offsetWrap: code(0, 1, 4, 'RDMAP remote protection error: tagged offset wraps'),
  cannotInvalidate: code(0, 1, 9, 'RDMAP remote protection error: STag cannot be invalidated'),
  protectionUnspecified: code(0, 1, 0xff, 'RDMAP remote protection error: unspecified'),
  rdmapVersion: code(0, 2, 5, 'RDMAP remote operation error: invalid RDMAP version'),
  unexpectedOpcode: code(0, 2, 6, 'RDMAP remote operation error: unexpected opcode'),
  catastrophicStream: code(
    0,
    2,
    7,
    'RDMAP remote operation error: catastrophic, localized to the stream',
  ),
  catastrophicGlobal: code(0, 2, 8, 'RDMAP remote operation error: catastrophic, global'),
  operationCannotInvalidate: code(
    0,
    2,
    9,
    'RDMAP remote operation error: STag cannot be invalidated',
  ),
  operationUnspecified: code(0, 2, 0xff, 'RDMAP remote operation error: unspecified'),
  ddpLocalCatastrophic: code(1, 0, 0, 'DDP local catastrophic error'),
  taggedInvalidStag: code(1, 1, 0, 'DDP tagged buffer error: invalid STag'),
  taggedBounds: code(1, 1, 1, 'DDP tagged buffer error: base or bounds violation'),
  taggedNotAssociated: code(
    1,
    1,
    2,
    'DDP tagged buffer error: STag not associated with the stream',
  ),
  taggedOffsetWrap: code(1, 1, 3, 'DDP tagged buffer error: tagged offset wraps'),
  taggedVersion: code(1, 1, 4, 'DDP tagged buffer error: invalid DDP version'),
  untaggedQueue: code(1, 2, 1, 'DDP untagged buffer error: invalid queue number'),
  untaggedNoBuffer: code(1, 2, 2, 'DDP untagged buffer error: no buffer available'),
  untaggedSequence: code(1, 2, 3, 'DDP untagged buffer error: message sequence number'),
  untaggedOffset: code(1, 2, 4, 'DDP untagged buffer error: invalid message offset'),
  untaggedTooLong: code(1, 2, 5, 'DDP untagged buffer error: message too long for the buffer'),
  untaggedVersion: code(1, 2, 6, 'DDP untagged buffer error: invalid DDP version'),
  llpConnectionLost: code(2, 0, 1, 'MPA: TCP connection closed, terminated or lost'),
  llpCrc: code(2, 0, 2, 'MPA: CRC error'),
  llpFraming: code(2, 0, 3, 'MPA: marker or length field does not match the FPDU'),
  llpFrame: code(2, 0, 4, 'MPA: invalid request or reply frame'),
  llpLocalCatastrophic: code(2, 0, 5, 'MPA: local catastrophic error'),
  llpInsufficientIrd: code(2, 0, 6, 'MPA: insufficient IRD resources'),
  llpRtr: code(2, 0, 7, 'MPA: no matching RTR option'),
} as const satisfies Record<string, TerminateCode>;

const keyOf = (layer: number, type: number, value: number): number =>
  (layer << 16) | (type << 8) | value;

const codesByKey = new Map<number, TerminateCode>(
  Object.values(Terminate).map((entry) => [keyOf(entry.layer, entry.type, entry.code), entry]),
);

/** The segment that caused a Terminate. */
export interface TerminatedSegment {
  /** The FPDU's header: ULPDU length, then the DDP header. */
  readonly header: Uint8Array;
  /** The length of the header with MPA's two bytes; 0 when no segment is the cause. */
  readonly headerBytes: number;
  /** The payload if the segment was a Read Request, else null. */
  readonly readRequest: Uint8Array | null;
}

/** Writes a Terminate payload of at most {@link TERMINATE_BYTES_MAX} in the RFC's byte order; returns its length. */
export function encodeTerminate(
  out: Uint8Array,
  offset: number,
  reason: TerminateCode,
  segment: TerminatedSegment | null,
): number {
  const hasHeader = segment !== null && segment.headerBytes > 0;
  const readRequest = hasHeader ? segment.readRequest : null;
  out[offset] = (reason.layer << 4) | reason.type;
  out[offset + 1] = reason.code;
  out[offset + 2] =
    (hasHeader ? HeaderControl.segmentLength | HeaderControl.ddpHeader : 0) |
    (readRequest !== null ? HeaderControl.rdmapHeader : 0);
  out[offset + 3] = 0;
  let at = offset + TERMINATE_CONTROL_BYTES;
  // MPA's ULPDU length is the DDP segment length, and it precedes the DDP header on the wire, too.
  if (hasHeader) {
    out.set(segment.header.subarray(0, segment.headerBytes), at);
    at += segment.headerBytes;
  }
  if (readRequest !== null) {
    out.set(readRequest.subarray(0, READ_REQUEST_BYTES), at);
    at += READ_REQUEST_BYTES;
  }
  return at - offset;
}

/** One interpretation of a received Terminate's control field. There are two when the sender's bit order is unknown. */
export interface TerminateReading {
  readonly order: 'rfc' | 'swapped';
  readonly layer: number;
  readonly type: number;
  readonly code: number;
  /** Null for a combination that no RFC defines. */
  readonly known: TerminateCode | null;
}

/**
 * Reads the control field at `offset` of a payload of `length` bytes. The header control bits show the bit order. If
 * no such bit is set, readings that no RFC defines are dropped as long as one reading remains, and the reading in the
 * RFC's order comes first. Empty for a payload that is too short.
 */
export function decodeTerminate(
  bytes: Uint8Array,
  offset: number,
  length: number,
): readonly TerminateReading[] {
  if (length < TERMINATE_CONTROL_BYTES) return [];
  // `?? 0` is for the compiler: the length was just compared.
  const first = bytes[offset] ?? 0;
  const value = bytes[offset + 1] ?? 0;
  const control = bytes[offset + 2] ?? 0;
  const rfc = reading('rfc', first >>> 4, first & 0x0f, value);
  const swapped = reading('swapped', first & 0x0f, first >>> 4, value);
  if ((control & RFC_HEADER_CONTROL) !== 0) return [rfc];
  if ((control & SWAPPED_HEADER_CONTROL) !== 0) return [swapped];
  if (rfc.layer === swapped.layer) return [rfc];
  const known = [rfc, swapped].filter((candidate) => candidate.known !== null);
  return known.length > 0 ? known : [rfc, swapped];
}

/** A sentence fragment for logs: the meaning, or both meanings. */
export function describeTerminate(readings: readonly TerminateReading[]): string {
  if (readings.length === 0) return 'a Terminate too short to say why';
  return readings.map(describeReading).join(', or (other byte order) ');
}

function describeReading(one: TerminateReading): string {
  if (one.known !== null) return one.known.meaning;
  return `unknown Terminate: layer ${one.layer}, error type ${one.type}, code ${one.code}`;
}

function reading(
  order: TerminateReading['order'],
  layer: number,
  type: number,
  value: number,
): TerminateReading {
  return {
    order,
    layer,
    type,
    code: value,
    known: codesByKey.get(keyOf(layer, type, value)) ?? null,
  };
}
