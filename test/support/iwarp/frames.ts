/**
 * Frames of iWARP put together the slow, obvious way, for tests to compare with and to send: nothing here is shared
 * with the code under test.
 */

/** The definition of CRC32c, bit by bit. */
export function naiveCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

export interface FrameOptions {
  /** Whether the CRC is computed; zero otherwise. */
  readonly crc?: boolean;
}

/** MPA framing around a DDP segment. */
export function fpdu(segment: Uint8Array, { crc = false }: FrameOptions = {}): Buffer {
  const padBytes = (4 - ((2 + segment.length) % 4)) % 4;
  const frame = Buffer.alloc(2 + segment.length + padBytes + 4);
  frame.writeUInt16BE(segment.length, 0);
  frame.set(segment, 2);
  if (crc) frame.writeUInt32LE(naiveCrc32c(frame.subarray(0, -4)), frame.length - 4);
  return frame;
}

export interface TaggedFields {
  readonly opcode: number;
  readonly stag: number;
  readonly offset: bigint;
  readonly payload: Uint8Array;
  readonly last?: boolean;
  /** Overrides of the two control bytes' versions. */
  readonly ddpVersion?: number;
  readonly rdmapVersion?: number;
}

export function tagged(fields: TaggedFields, options?: FrameOptions): Buffer {
  const { opcode, stag, offset, payload, last = true, ddpVersion = 1, rdmapVersion = 1 } = fields;
  const segment = Buffer.alloc(14 + payload.length);
  segment[0] = 0x80 | (last ? 0x40 : 0) | ddpVersion;
  segment[1] = (rdmapVersion << 6) | opcode;
  segment.writeUInt32BE(stag, 2);
  segment.writeBigUInt64BE(offset, 6);
  segment.set(payload, 14);
  return fpdu(segment, options);
}

export interface UntaggedFields {
  readonly opcode: number;
  readonly queue?: number;
  readonly sequence: number;
  readonly payload: Uint8Array;
  readonly messageOffset?: number;
  readonly invalidateStag?: number;
  readonly last?: boolean;
  readonly ddpVersion?: number;
  readonly rdmapVersion?: number;
}

export function untagged(fields: UntaggedFields, options?: FrameOptions): Buffer {
  const { opcode, sequence, payload, last = true, ddpVersion = 1, rdmapVersion = 1 } = fields;
  const segment = Buffer.alloc(18 + payload.length);
  segment[0] = (last ? 0x40 : 0) | ddpVersion;
  segment[1] = (rdmapVersion << 6) | opcode;
  segment.writeUInt32BE(fields.invalidateStag ?? 0, 2);
  segment.writeUInt32BE(fields.queue ?? 0, 6);
  segment.writeUInt32BE(sequence, 10);
  segment.writeUInt32BE(fields.messageOffset ?? 0, 14);
  segment.set(payload, 18);
  return fpdu(segment, options);
}

export interface ReadRequestFields {
  readonly sequence: number;
  readonly sinkStag: number;
  readonly sinkOffset: bigint;
  readonly length: number;
  readonly sourceStag: number;
  readonly sourceOffset: bigint;
}

export function readRequest(fields: ReadRequestFields, options?: FrameOptions): Buffer {
  const payload = Buffer.alloc(28);
  payload.writeUInt32BE(fields.sinkStag, 0);
  payload.writeBigUInt64BE(fields.sinkOffset, 4);
  payload.writeUInt32BE(fields.length, 12);
  payload.writeUInt32BE(fields.sourceStag, 16);
  payload.writeBigUInt64BE(fields.sourceOffset, 20);
  return untagged({ opcode: 1, queue: 1, sequence: fields.sequence, payload }, options);
}

export interface MpaFields {
  readonly kind: 'Req' | 'Rep';
  readonly flags: number;
  readonly revision?: number;
  /** Two words of enhanced data, or none. */
  readonly depths?: readonly [ird: number, ord: number];
  readonly privateData?: Uint8Array;
}

export function mpaFrame({ kind, flags, revision = 2, depths, privateData }: MpaFields): Buffer {
  const enhanced = Buffer.alloc(depths === undefined ? 0 : 4);
  if (depths !== undefined) {
    enhanced.writeUInt16BE(depths[0], 0);
    enhanced.writeUInt16BE(depths[1], 2);
  }
  const data = Buffer.concat([enhanced, privateData ?? Buffer.alloc(0)]);
  const head = Buffer.alloc(20);
  head.write(`MPA ID ${kind} Frame`, 'latin1');
  head[16] = flags;
  head[17] = revision;
  head.writeUInt16BE(data.length, 18);
  return Buffer.concat([head, data]);
}

/** What one FPDU says, read the slow way. */
export interface ReadFrame {
  readonly ulpduLength: number;
  readonly control: string;
  readonly opcode: number;
  readonly isTagged: boolean;
  readonly isLast: boolean;
  readonly stag: number;
  readonly offset: bigint;
  readonly queue: number;
  readonly sequence: number;
  readonly messageOffset: number;
  readonly payload: Buffer;
  readonly padBytes: Buffer;
  readonly crc: number;
  readonly crcIsRight: boolean;
  readonly bytes: Buffer;
}

/** Cuts a byte stream into its FPDUs; what is left over at the end comes as `rest`. */
export function readFrames(stream: Buffer): { frames: ReadFrame[]; rest: Buffer } {
  const frames: ReadFrame[] = [];
  let at = 0;
  while (stream.length - at >= 2) {
    const ulpduLength = stream.readUInt16BE(at);
    const padBytes = (4 - ((2 + ulpduLength) % 4)) % 4;
    const length = 2 + ulpduLength + padBytes + 4;
    if (stream.length - at < length) break;
    frames.push(readFrame(stream.subarray(at, at + length), ulpduLength, padBytes));
    at += length;
  }
  return { frames, rest: stream.subarray(at) };
}

function readFrame(bytes: Buffer, ulpduLength: number, padBytes: number): ReadFrame {
  const isTagged = (bytes[2]! & 0x80) !== 0;
  const payloadAt = isTagged ? 16 : 20;
  const crc = bytes.readUInt32LE(bytes.length - 4);
  return {
    ulpduLength,
    control: bytes.toString('hex', 2, 4),
    opcode: bytes[3]! & 0x0f,
    isTagged,
    isLast: (bytes[2]! & 0x40) !== 0,
    stag: bytes.readUInt32BE(4),
    offset: isTagged ? bytes.readBigUInt64BE(8) : 0n,
    queue: isTagged ? 0 : bytes.readUInt32BE(8),
    sequence: isTagged ? 0 : bytes.readUInt32BE(12),
    messageOffset: isTagged ? 0 : bytes.readUInt32BE(16),
    payload: bytes.subarray(payloadAt, 2 + ulpduLength),
    padBytes: bytes.subarray(2 + ulpduLength, 2 + ulpduLength + padBytes),
    crc,
    crcIsRight: crc === naiveCrc32c(bytes.subarray(0, -4)),
    bytes,
  };
}
