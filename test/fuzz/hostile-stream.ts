import { crc32c } from '../../src/common/crc32c.js';
import { ISER_HEADERS_BYTES } from '../../src/iscsi/iser-header.js';
import type { FuzzInput } from './fuzz-input.js';

const SEGMENT_BYTES = [1, 16, 28, 64, 76, 512, 4096];
const OPCODES = {
  write: 0,
  readRequest: 1,
  readResponse: 2,
  send: 3,
  sendInvalidate: 4,
  terminate: 7,
};

/** Writes FPDUs as a peer does that knows how, and in ways that a peer in its right mind does not. */
export class HostileWriter {
  readonly #input: FuzzInput;
  readonly #usesCrc: boolean;
  /** The next message of each untagged queue. */
  readonly #sequences = [1, 1, 1];

  constructor(input: FuzzInput, usesCrc: boolean) {
    this.#input = input;
    this.#usesCrc = usesCrc;
  }

  /** A Send with this message, in one segment or several. */
  send(message: Uint8Array, invalidate: number | null = null): Buffer {
    const input = this.#input;
    const opcode = invalidate === null ? OPCODES.send : OPCODES.sendInvalidate;
    const most = input.below(8) === 0 ? input.pick(SEGMENT_BYTES) : message.length;
    const segments: Buffer[] = [];
    let at = 0;
    do {
      const end = Math.min(message.length, at + Math.max(1, most));
      const isLast = end === message.length;
      segments.push(
        this.#untagged(opcode, 0, message.subarray(at, end), at, isLast, invalidate ?? 0),
      );
      at = end;
    } while (at < message.length);
    this.#sequences[0] = (this.#sequences[0] ?? 0) + 1;
    return Buffer.concat(segments);
  }

  /** What is no message of iSER's: data for memory or from it, a Terminate, or FPDUs of any content. */
  violation(stags: readonly number[]): Buffer {
    const input = this.#input;
    const stag =
      stags.length > 0 && input.below(4) > 0 ? input.pick(stags) : input.below(65_536) << 8;
    switch (input.below(6)) {
      case 0:
      case 1: {
        const head = Buffer.alloc(14 + input.below(200));
        head[0] = input.below(8) === 0 ? input.byte() : 0x80 | (input.flip() ? 0x40 : 0) | 1;
        head[1] = 0x40 | (input.flip() ? OPCODES.write : OPCODES.readResponse);
        head.writeUInt32BE(stag >>> 0, 2);
        head.writeUInt32BE(input.below(4) === 0 ? 0xffff_ffff : 0, 6);
        head.writeUInt32BE(input.below(65_536), 10);
        return this.#fpdu(head);
      }
      case 2: {
        const request = Buffer.alloc(28);
        request.writeUInt32BE((input.below(65_536) << 8) >>> 0, 0);
        request.writeUInt32BE(input.below(8) === 0 ? 0xffff_fff0 : input.below(65_536), 12);
        request.writeUInt32BE(stag >>> 0, 16);
        const sequence = this.#sequences[1] ?? 1;
        this.#sequences[1] = sequence + 1;
        return this.#untagged(OPCODES.readRequest, 1, request, 0, true, 0, sequence);
      }
      case 3:
        return this.#untagged(
          OPCODES.terminate,
          2,
          input.bytes(4 + input.below(24)),
          0,
          true,
          0,
          1,
        );
      case 4: {
        const [queue, sequence] = [input.below(4), input.below(6)];
        const offset = input.below(300);
        const payload = input.bytes(input.below(40));
        return this.#untagged(
          input.below(16),
          queue,
          payload,
          offset,
          input.flip(),
          stag,
          sequence,
        );
      }
      default:
        return this.#fpdu(input.bytes(input.below(40)));
    }
  }

  #untagged(
    opcode: number,
    queue: number,
    payload: Uint8Array,
    offset: number,
    isLast: boolean,
    stag: number,
    sequence = this.#sequences[queue] ?? 1,
  ): Buffer {
    const segment = Buffer.alloc(18 + payload.length);
    segment[0] = (isLast ? 0x40 : 0) | 1;
    segment[1] = 0x40 | opcode;
    segment.writeUInt32BE(stag >>> 0, 2);
    segment.writeUInt32BE(queue, 6);
    segment.writeUInt32BE(sequence, 10);
    segment.writeUInt32BE(offset, 14);
    segment.set(payload, 18);
    return this.#fpdu(segment);
  }

  #fpdu(segment: Uint8Array): Buffer {
    const padBytes = (4 - ((2 + segment.length) % 4)) % 4;
    const frame = Buffer.alloc(2 + segment.length + padBytes + 4);
    frame.writeUInt16BE(segment.length, 0);
    frame.set(segment, 2);
    const end = frame.length - 4;
    if (this.#usesCrc) frame.writeUInt32LE(crc32c(frame, 0, end), end);
    // Behind the CRC, or without one: what TCP would let through.
    if (this.#input.below(64) === 63) overwrite(this.#input, frame, 1);
    return frame;
  }
}

/** Overwrites up to `most` bytes, most of them near the front. */
export function overwrite(input: FuzzInput, bytes: Uint8Array, most: number): void {
  for (let count = input.below(most + 1); count > 0; count--) {
    const reach = input.flip() ? Math.min(bytes.length, ISER_HEADERS_BYTES) : bytes.length;
    if (reach > 0) bytes[input.below(reach)] = input.flip() ? input.byte() : input.pick([0, 0xff]);
  }
}

/** A message that came in FPDUs. */
export interface HeardMessage {
  readonly opcode: number;
  readonly bytes: Buffer;
}

/**
 * Reads what one side sends on a connection, and throws when it is not what a peer could read: an MPA frame first, then
 * FPDUs with right CRCs whose messages are in sequence, and nothing after a Terminate.
 */
export class StreamReader {
  readonly messages: HeardMessage[] = [];
  mpa: Buffer | null = null;
  hasTerminated = false;
  totalBytes = 0;
  #rest = Buffer.alloc(0);
  #usesCrc = false;
  #partial: Buffer[] = [];
  #partialBytes = 0;
  readonly #sequences = [1, 1, 1];

  get isMidFrame(): boolean {
    return this.#rest.length > 0;
  }

  receive(bytes: Buffer): void {
    this.totalBytes += bytes.length;
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.mpa === null && !this.#takeMpa()) return;
    while (this.#rest.length >= 2) {
      const ulpduLength = this.#rest.readUInt16BE(0);
      const padBytes = (4 - ((2 + ulpduLength) % 4)) % 4;
      const length = 2 + ulpduLength + padBytes + 4;
      if (this.#rest.length < length) return;
      this.#take(this.#rest.subarray(0, length), ulpduLength);
      this.#rest = this.#rest.subarray(length);
    }
  }

  #takeMpa(): boolean {
    const bytes = this.#rest;
    if (bytes.length < 20) return false;
    const length = 20 + bytes.readUInt16BE(18);
    if (bytes.length < length) return false;
    check(bytes.toString('latin1', 0, 7) === 'MPA ID ', 'no MPA frame');
    this.mpa = bytes.subarray(0, length);
    this.#usesCrc = ((bytes[16] ?? 0) & 0x40) !== 0;
    this.#rest = bytes.subarray(length);
    return true;
  }

  #take(frame: Buffer, ulpduLength: number): void {
    check(!this.hasTerminated, 'an FPDU after the Terminate');
    check(ulpduLength >= 14, 'an FPDU without a header');
    const end = frame.length - 4;
    if (this.#usesCrc) check(frame.readUInt32LE(end) === crc32c(frame, 0, end), 'a wrong CRC');
    const opcode = (frame[3] ?? 0) & 0x0f;
    if (((frame[2] ?? 0) & 0x80) !== 0) {
      check(opcode === OPCODES.write || opcode === OPCODES.readResponse, 'a tagged segment');
      return;
    }
    const [queue, sequence, offset] = [8, 12, 16].map((at) => frame.readUInt32BE(at));
    check(queue !== undefined && queue <= 2, 'a queue that there is not');
    check(sequence === this.#sequences[queue ?? 0], 'a message out of sequence');
    check(offset === this.#partialBytes, 'a segment out of place');
    this.#partial.push(frame.subarray(20, 2 + ulpduLength));
    this.#partialBytes += ulpduLength - 18;
    if (((frame[2] ?? 0) & 0x40) === 0) return;
    this.messages.push({ opcode, bytes: Buffer.concat(this.#partial) });
    this.#partial = [];
    this.#partialBytes = 0;
    this.#sequences[queue ?? 0] = (sequence ?? 0) + 1;
    if (opcode === OPCODES.terminate) this.hasTerminated = true;
  }
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Error(what);
}
