import { crc32c } from '../../common/crc32c.js';
import { Terminate } from './terminate.js';
import type { TerminateCode } from './terminate.js';
import {
  FPDU_CRC_BYTES,
  FPDU_PAD_BYTES_MAX,
  FpduHeader,
  UNTAGGED_PAYLOAD_OFFSET,
  decodeFpduHeader,
  padBytesFor,
  payloadOffsetOf,
} from './wire.js';

/** Receives the DDP segments of a stream. Every method returns null, or the code with which the stream must end. */
export interface SegmentHandler {
  /** A segment's header has arrived. Checks the header and prepares the destination of the payload. */
  onHeader(header: FpduHeader): TerminateCode | null;
  /**
   * The next part of the payload, `bytes[start .. end)`, with a view of `bytes`. Both are borrowed until the call
   * returns.
   */
  onPayload(bytes: Buffer, start: number, end: number, view: DataView): TerminateCode | null;
  /** The segment is complete and its CRC is right. Only now may the handler act on the segment. */
  onSegment(header: FpduHeader): TerminateCode | null;
}

/** The first bytes of a header. They determine its kind and its length. */
const CONTROL_END = 4;

type Phase = 'header' | 'payload' | 'trailer';

/**
 * Splits a TCP stream into FPDUs (RFC 5044 section 4). The stream may arrive in pieces of any size. A complete header
 * is read in place. Payload is copied once, from the receive buffer to its destination. The CRC comes last, so
 * payload with a wrong CRC may already be in place: the stream then ends, and the consumer does not learn of the
 * payload.
 */
// `?? 0` below is for the compiler: each index was compared with the length of what is there.
export class FpduReceiver {
  /** True when the CRC is checked. Otherwise the CRC field exists, but is ignored. */
  usesCrc = false;
  /** Why the stream ended. The receiver then takes no more bytes. */
  failure: TerminateCode | null = null;
  /** The current FPDU's header as it was received, for a Terminate. Its length is {@link headerLength}. */
  readonly headerBytes = Buffer.alloc(UNTAGGED_PAYLOAD_OFFSET);
  headerLength = 0;
  readonly #handler: SegmentHandler;
  readonly #header = new FpduHeader();
  readonly #headerView = viewOf(this.headerBytes);
  readonly #trailer = Buffer.alloc(FPDU_PAD_BYTES_MAX + FPDU_CRC_BYTES);
  #phase: Phase = 'header';
  #payloadLeft = 0;
  #trailerBytes = 0;
  #trailerLeft = 0;
  #crc = 0;
  #isStopped = false;
  /** The last buffer, for which the view is valid. A socket uses one buffer for its whole life. */
  #buffer: Buffer = this.headerBytes;
  #view = this.#headerView;

  constructor(handler: SegmentHandler) {
    this.#handler = handler;
  }

  /** True between two FPDUs. A stream may end only there. */
  get isAtBoundary(): boolean {
    return this.#phase === 'header' && this.headerLength === 0;
  }

  /** Takes no more bytes. A call inside {@link receive} also drops the rest of its bytes. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Takes `bytes[start .. end)`; `bytes` is borrowed until the call returns. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (bytes !== this.#buffer) {
      this.#buffer = bytes;
      this.#view = viewOf(bytes);
    }
    let at = start;
    while (at < end && this.failure === null && !this.#isStopped) {
      if (this.#phase === 'header') at = this.#takeHeader(bytes, at, end);
      else if (this.#phase === 'payload') at = this.#takePayload(bytes, at, end);
      else at = this.#takeTrailer(bytes, at, end);
    }
  }

  #takeHeader(bytes: Buffer, start: number, end: number): number {
    if (this.headerLength === 0 && end - start >= UNTAGGED_PAYLOAD_OFFSET) {
      return this.#takeHeaderInPlace(bytes, start, end);
    }
    let at = start;
    while (at < end && this.headerLength < this.#headerNeeded()) {
      this.headerBytes[this.headerLength++] = bytes[at++] ?? 0;
    }
    if (this.headerLength === this.#headerNeeded()) {
      decodeFpduHeader(this.#headerView, 0, this.#header);
      this.#openSegment();
    }
    return at;
  }

  #headerNeeded(): number {
    return this.headerLength < CONTROL_END
      ? CONTROL_END
      : payloadOffsetOf(this.headerBytes[2] ?? 0);
  }

  /** The usual case: the bytes have the complete header, and often the complete FPDU. */
  #takeHeaderInPlace(bytes: Buffer, start: number, end: number): number {
    const header = this.#header;
    decodeFpduHeader(this.#view, start, header);
    const payloadAt = start + payloadOffsetOf(bytes[start + 2] ?? 0);
    const payloadBytes = header.payloadBytes;
    const crcAt = payloadAt + payloadBytes + padBytesFor(header.ulpduLength);
    if (payloadBytes < 0 || crcAt + FPDU_CRC_BYTES > end) {
      this.#keepHeader(bytes, start, payloadAt);
      this.#openSegment();
      return payloadAt;
    }
    const failure = this.#takeWhole(bytes, start, payloadAt, crcAt);
    if (failure !== null) {
      this.#keepHeader(bytes, start, payloadAt);
      this.failure = failure;
    }
    return crcAt + FPDU_CRC_BYTES;
  }

  #takeWhole(bytes: Buffer, start: number, payloadAt: number, crcAt: number): TerminateCode | null {
    const header = this.#header;
    if (this.usesCrc && crc32c(bytes, start, crcAt) !== this.#view.getUint32(crcAt, true)) {
      return Terminate.llpCrc;
    }
    const refusal = this.#handler.onHeader(header);
    if (refusal !== null) return refusal;
    const payloadEnd = payloadAt + header.payloadBytes;
    if (payloadEnd > payloadAt) {
      const failure = this.#handler.onPayload(bytes, payloadAt, payloadEnd, this.#view);
      if (failure !== null) return failure;
    }
    return this.#handler.onSegment(header);
  }

  #keepHeader(bytes: Buffer, start: number, end: number): void {
    bytes.copy(this.headerBytes, 0, start, end);
    this.headerLength = end - start;
  }

  /** Opens the segment of an FPDU whose header is in {@link headerBytes} and whose rest has not arrived yet. */
  #openSegment(): void {
    const header = this.#header;
    if (header.payloadBytes < 0) {
      this.failure = Terminate.llpFraming;
      return;
    }
    this.failure = this.#handler.onHeader(header);
    this.#payloadLeft = header.payloadBytes;
    this.#trailerBytes = padBytesFor(header.ulpduLength) + FPDU_CRC_BYTES;
    this.#trailerLeft = this.#trailerBytes;
    this.#crc = this.usesCrc ? crc32c(this.headerBytes, 0, this.headerLength) : 0;
    this.#phase = this.#payloadLeft > 0 ? 'payload' : 'trailer';
  }

  #takePayload(bytes: Buffer, start: number, end: number): number {
    const count = Math.min(this.#payloadLeft, end - start);
    if (this.usesCrc) this.#crc = crc32c(bytes, start, start + count, this.#crc);
    this.failure = this.#handler.onPayload(bytes, start, start + count, this.#view);
    this.#payloadLeft -= count;
    if (this.#payloadLeft === 0) this.#phase = 'trailer';
    return start + count;
  }

  #takeTrailer(bytes: Buffer, start: number, end: number): number {
    const count = Math.min(this.#trailerLeft, end - start);
    bytes.copy(this.#trailer, this.#trailerBytes - this.#trailerLeft, start, start + count);
    this.#trailerLeft -= count;
    if (this.#trailerLeft === 0) this.#closeSegment();
    return start + count;
  }

  #closeSegment(): void {
    const padBytes = this.#trailerBytes - FPDU_CRC_BYTES;
    if (this.usesCrc) {
      const crc = crc32c(this.#trailer, 0, padBytes, this.#crc);
      if (crc !== this.#trailer.readUInt32LE(padBytes)) {
        this.failure = Terminate.llpCrc;
        return;
      }
    }
    this.failure = this.#handler.onSegment(this.#header);
    if (this.failure !== null) return;
    this.#phase = 'header';
    this.headerLength = 0;
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
