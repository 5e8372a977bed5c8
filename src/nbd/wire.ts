/**
 * Byte layouts of the NBD protocol (the NBD project's doc/proto.md; extended headers and the 64-bit block status
 * from its branch extension-ext-header). Every number is big-endian. Lengths are bytes.
 *
 * Handshake, "Fixed newstyle negotiation":
 *
 *     greeting  S   0 u64 NBDMAGIC | 8 u64 IHAVEOPT | 16 u16 handshake flags                      18
 *     flags     C   0 u32 client flags                                                            4
 *     option    C   0 u64 IHAVEOPT | 8 u32 option | 12 u32 data length | data                     16 + data
 *     reply     S   0 u64 reply magic | 8 u32 option | 12 u32 type | 16 u32 data length | data    20 + data
 *
 *     EXPORT_NAME's reply  S   0 u64 size | 8 u16 transmission flags | 124 zero bytes, unless NO_ZEROES
 *     INFO and GO's data   C   0 u32 name length | name | u16 number of requests | u16 information type each
 *     REP_SERVER's data    S   0 u32 name length | name | description
 *     REP_INFO's data      S   EXPORT       0 u16 0 | 2 u64 size | 10 u16 transmission flags      12
 *                              NAME         0 u16 1 | name
 *                              DESCRIPTION  0 u16 2 | description
 *                              BLOCK_SIZE   0 u16 3 | 2 u32 minimum | 6 u32 preferred | 10 u32 maximum payload
 *     *_META_CONTEXT data  C   0 u32 name length | name | u32 number of queries | (u32 length | query) each
 *     REP_META_CONTEXT     S   0 u32 context id | context name
 *
 * Transmission:
 *
 *     Byte   0        2        4                 8                 12                16
 *     request           magic    | flags  | type | cookie ........................ | offset (8) | length (4)     28
 *     extended request  magic    | flags  | type | cookie ........................ | offset (8) | length (8)     32
 *     simple reply      magic    | error         | cookie ........................ | data                        16
 *     structured chunk  magic    | flags  | type | cookie ........................ | length (4) | payload        20
 *     extended chunk    magic    | flags  | type | cookie ........................ | offset (8) | length (8)     32
 *
 * Chunk payloads:
 *
 *     OFFSET_DATA       0 u64 offset | data
 *     OFFSET_HOLE       0 u64 offset | 8 u32 hole size
 *     BLOCK_STATUS      0 u32 context id | (u32 length | u32 state flags) each
 *     BLOCK_STATUS_EXT  0 u32 context id | 4 u32 count | (u64 length | u64 state flags) each
 *     ERROR             0 u32 error | 4 u16 message length | message
 *     ERROR_OFFSET      0 u32 error | 4 u16 message length | message | u64 offset
 */
import { writeSafeU64 } from '../common/u64.js';

/** The magic numbers of 64 bits, as halves, with their ASCII text. */
export const NBD_MAGIC = { high: 0x4e42444d, low: 0x41474943 } as const; // NBDMAGIC
export const IHAVEOPT_MAGIC = { high: 0x49484156, low: 0x454f5054 } as const; // IHAVEOPT
export const OPTION_REPLY_MAGIC = { high: 0x0003e889, low: 0x045565a9 } as const;

export const REQUEST_MAGIC = 0x25609513;
export const EXTENDED_REQUEST_MAGIC = 0x21e41c71;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const STRUCTURED_REPLY_MAGIC = 0x668e33ef;
export const EXTENDED_REPLY_MAGIC = 0x6e8a278c;

export const GREETING_BYTES = 18;
export const CLIENT_FLAGS_BYTES = 4;
export const OPTION_HEADER_BYTES = 16;
export const OPTION_REPLY_HEADER_BYTES = 20;
export const EXPORT_NAME_REPLY_BYTES = 10;
export const EXPORT_NAME_ZEROES_BYTES = 124;
export const INFO_EXPORT_BYTES = 12;
export const INFO_BLOCK_SIZE_BYTES = 14;
export const REQUEST_BYTES = 28;
export const EXTENDED_REQUEST_BYTES = 32;
export const SIMPLE_REPLY_BYTES = 16;
export const STRUCTURED_CHUNK_BYTES = 20;
export const EXTENDED_CHUNK_BYTES = 32;
/** The offset before the data of OFFSET_DATA. */
export const CHUNK_OFFSET_BYTES = 8;
export const OFFSET_HOLE_BYTES = 12;
/** The largest hole in one OFFSET_HOLE: a length of 32 bits, rounded down to a multiple of every block size. */
export const HOLE_BYTES_MAX = 2 ** 31;
/** ERROR without its message; ERROR_OFFSET has an offset behind the message. */
export const ERROR_BYTES = 6;
export const BLOCK_STATUS_BYTES = 4;
export const BLOCK_STATUS_DESCRIPTOR_BYTES = 8;
export const BLOCK_STATUS_EXT_BYTES = 8;
export const BLOCK_STATUS_EXT_DESCRIPTOR_BYTES = 16;
/** The effect length, before the context ids in the payload of an extended BLOCK_STATUS request. */
export const STATUS_PAYLOAD_BYTES = 8;
/** The context id, before the name in the option data of a metadata context reply. */
export const META_CONTEXT_ID_BYTES = 4;

/** "Where this document refers to a string ... MUST be no longer than 4096 bytes." */
export const STRING_BYTES_MAX = 4096;

/** Handshake flags (server) and client flags: the same two bits on both sides. */
export const HandshakeFlag = {
  FIXED_NEWSTYLE: 1 << 0,
  NO_ZEROES: 1 << 1,
} as const;

/** Transmission flags: what an export can do. */
export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  ROTATIONAL: 1 << 4,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_RESIZE: 1 << 9,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
  BLOCK_STATUS_PAYLOAD: 1 << 12,
} as const;

/** Option types. */
export const NbdOption = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  PEEK_EXPORT: 4,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
  EXTENDED_HEADERS: 11,
} as const;

/** Option reply types; an error has bit 31 set. */
export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x8000_0001,
  ERR_POLICY: 0x8000_0002,
  ERR_INVALID: 0x8000_0003,
  ERR_PLATFORM: 0x8000_0004,
  ERR_TLS_REQD: 0x8000_0005,
  ERR_UNKNOWN: 0x8000_0006,
  ERR_SHUTDOWN: 0x8000_0007,
  ERR_BLOCK_SIZE_REQD: 0x8000_0008,
  ERR_TOO_BIG: 0x8000_0009,
  ERR_EXT_HEADER_REQD: 0x8000_000a,
} as const;
export type OptionReply = (typeof OptionReply)[keyof typeof OptionReply];

/** Information types of INFO and GO. */
export const InfoType = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

/** Request types. */
export const NbdCommand = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
  RESIZE: 8,
} as const;

/** Command flags. */
export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
  PAYLOAD_LEN: 1 << 5,
} as const;

/** Structured and extended reply flags. */
export const ReplyFlag = { DONE: 1 << 0 } as const;

/** Chunk types of structured and extended replies; an error has bit 15 set. */
export const ReplyType = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  BLOCK_STATUS_EXT: 6,
  ERROR: 0x8001,
  ERROR_OFFSET: 0x8002,
} as const;

/** Extent state flags of the metadata context base:allocation. */
export const AllocationState = { HOLE: 1 << 0, ZERO: 1 << 1 } as const;

/** Error values. */
export const NbdErrno = {
  OK: 0,
  EPERM: 1,
  EIO: 5,
  ENOMEM: 12,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ENOTSUP: 95,
  ESHUTDOWN: 108,
} as const;
export type NbdErrno = (typeof NbdErrno)[keyof typeof NbdErrno];

/** Names for logs, from the tables above: `NBD_OPT_GO`, or `NBD_OPT_ 77` for a number that is not in a table. */
export const optionName = namesOf('NBD_OPT_', NbdOption);
export const optionReplyName = namesOf('NBD_REP_', OptionReply);
export const commandName = namesOf('NBD_CMD_', NbdCommand);
export const errnoName = namesOf('NBD_', NbdErrno);

/** A request as it was received. The 64-bit fields are halves, as they are opaque or may be above 2^53. */
export interface RequestHeader {
  magic: number;
  flags: number;
  command: number;
  cookieHigh: number;
  cookieLow: number;
  offsetHigh: number;
  offsetLow: number;
  /** 0 unless the header is an extended one. */
  lengthHigh: number;
  lengthLow: number;
}

/** Writes the greeting, `GREETING_BYTES` long, at `at`. */
export function encodeGreeting(view: DataView, at: number, handshakeFlags: number): void {
  view.setUint32(at, NBD_MAGIC.high);
  view.setUint32(at + 4, NBD_MAGIC.low);
  view.setUint32(at + 8, IHAVEOPT_MAGIC.high);
  view.setUint32(at + 12, IHAVEOPT_MAGIC.low);
  view.setUint16(at + 16, handshakeFlags);
}

/** Whether an option header's magic number is right. */
export function isOptionMagic(view: DataView, at: number): boolean {
  return (
    view.getUint32(at) === IHAVEOPT_MAGIC.high && view.getUint32(at + 4) === IHAVEOPT_MAGIC.low
  );
}

/** The `OPTION_REPLY_HEADER_BYTES` before a reply's data. */
export function encodeOptionReply(
  view: DataView,
  at: number,
  reply: { readonly option: number; readonly type: OptionReply; readonly dataBytes: number },
): void {
  view.setUint32(at, OPTION_REPLY_MAGIC.high);
  view.setUint32(at + 4, OPTION_REPLY_MAGIC.low);
  view.setUint32(at + 8, reply.option);
  view.setUint32(at + 12, reply.type);
  view.setUint32(at + 16, reply.dataBytes);
}

/** Reads a request header of `REQUEST_BYTES` into `out`. */
export function decodeRequest(view: DataView, at: number, out: RequestHeader): void {
  decodeRequestStart(view, at, out);
  out.lengthHigh = 0;
  out.lengthLow = view.getUint32(at + 24);
}

/** Reads an extended request header of `EXTENDED_REQUEST_BYTES` into `out`. */
export function decodeExtendedRequest(view: DataView, at: number, out: RequestHeader): void {
  decodeRequestStart(view, at, out);
  out.lengthHigh = view.getUint32(at + 24);
  out.lengthLow = view.getUint32(at + 28);
}

function decodeRequestStart(view: DataView, at: number, out: RequestHeader): void {
  out.magic = view.getUint32(at);
  out.flags = view.getUint16(at + 4);
  out.command = view.getUint16(at + 6);
  out.cookieHigh = view.getUint32(at + 8);
  out.cookieLow = view.getUint32(at + 12);
  out.offsetHigh = view.getUint32(at + 16);
  out.offsetLow = view.getUint32(at + 20);
}

/** The `SIMPLE_REPLY_BYTES` before a simple reply's data. */
export function encodeSimpleReply(
  view: DataView,
  at: number,
  error: NbdErrno,
  cookieHigh: number,
  cookieLow: number,
): void {
  view.setUint32(at, SIMPLE_REPLY_MAGIC);
  view.setUint32(at + 4, error);
  view.setUint32(at + 8, cookieHigh);
  view.setUint32(at + 12, cookieLow);
}

/** The fields in the header of a structured or an extended chunk. */
export interface ChunkHeader {
  readonly flags: number;
  readonly type: number;
  readonly cookieHigh: number;
  readonly cookieLow: number;
  /** The request's offset; only extended chunks carry it. */
  readonly offsetHigh: number;
  readonly offsetLow: number;
  readonly payloadBytes: number;
}

/** The `STRUCTURED_CHUNK_BYTES` before a structured chunk's payload. */
export function encodeStructuredChunk(view: DataView, at: number, chunk: ChunkHeader): void {
  view.setUint32(at, STRUCTURED_REPLY_MAGIC);
  encodeChunkStart(view, at, chunk);
  view.setUint32(at + 16, chunk.payloadBytes);
}

/** The `EXTENDED_CHUNK_BYTES` before an extended chunk's payload. */
export function encodeExtendedChunk(view: DataView, at: number, chunk: ChunkHeader): void {
  view.setUint32(at, EXTENDED_REPLY_MAGIC);
  encodeChunkStart(view, at, chunk);
  view.setUint32(at + 16, chunk.offsetHigh);
  view.setUint32(at + 20, chunk.offsetLow);
  view.setUint32(at + 24, 0);
  view.setUint32(at + 28, chunk.payloadBytes);
}

function encodeChunkStart(view: DataView, at: number, chunk: ChunkHeader): void {
  view.setUint16(at + 4, chunk.flags);
  view.setUint16(at + 6, chunk.type);
  view.setUint32(at + 8, chunk.cookieHigh);
  view.setUint32(at + 12, chunk.cookieLow);
}

/** The payload of OFFSET_HOLE. */
export function encodeOffsetHole(view: DataView, at: number, offset: number, bytes: number): void {
  writeSafeU64(view, at, offset);
  view.setUint32(at + 8, bytes);
}

/** The start of the payload of ERROR and ERROR_OFFSET; `messageBytes` of UTF-8 follow. */
export function encodeError(
  view: DataView,
  at: number,
  error: NbdErrno,
  messageBytes: number,
): void {
  view.setUint32(at, error);
  view.setUint16(at + 4, messageBytes);
}

/** One extent of BLOCK_STATUS, whose length must be below 2^32. */
export function encodeDescriptor(view: DataView, at: number, bytes: number, state: number): void {
  view.setUint32(at, bytes);
  view.setUint32(at + 4, state);
}

/** One extent of BLOCK_STATUS_EXT. */
export function encodeExtDescriptor(
  view: DataView,
  at: number,
  bytes: number,
  state: number,
): void {
  writeSafeU64(view, at, bytes);
  writeSafeU64(view, at + 8, state);
}

function namesOf(
  prefix: string,
  table: Readonly<Record<string, number>>,
): (value: number) => string {
  const names = new Map(Object.entries(table).map(([name, value]) => [value, prefix + name]));
  return (value) => names.get(value) ?? `${prefix} ${value}`;
}
