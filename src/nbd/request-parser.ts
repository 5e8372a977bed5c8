import {
  EXTENDED_REQUEST_BYTES,
  REQUEST_BYTES,
  decodeExtendedRequest,
  decodeRequest,
} from './wire.js';
import type { RequestHeader } from './wire.js';

/** Receives the requests that a {@link RequestParser} finds. */
export interface RequestParserHandler {
  /**
   * A header has arrived; it is borrowed until the call returns. The handler may announce its payload (`takePayload`,
   * `skipPayload`), or `stop`. When it returns false, parsing stops before the header, and begins with it again the next
   * time.
   */
  requestArrived(header: RequestHeader): boolean;
  /** The announced payload has been taken or skipped completely. */
  payloadArrived(): void;
}

/** What the next byte belongs to. When `stopped`, bytes are dropped. */
type Phase = 'header' | 'take' | 'skip' | 'stopped';

/**
 * Cuts a client's bytes into requests, in place. A header is copied only when it arrives in pieces. Payload goes directly
 * to its final place.
 */
export class RequestParser {
  readonly #handler: RequestParserHandler;
  readonly #headerBytes: number;
  readonly #decode: (view: DataView, at: number, out: RequestHeader) => void;
  readonly #header: RequestHeader = {
    magic: 0,
    flags: 0,
    command: 0,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh: 0,
    offsetLow: 0,
    lengthHigh: 0,
    lengthLow: 0,
  };
  #phase: Phase = 'header';
  /** A header that arrives in pieces. */
  readonly #partial = Buffer.alloc(EXTENDED_REQUEST_BYTES);
  readonly #partialView = new DataView(this.#partial.buffer, this.#partial.byteOffset);
  #partialFill = 0;
  #payloadTarget: Buffer | null = null;
  #payloadAt = 0;
  #payloadLeft = 0;

  constructor(handler: RequestParserHandler, headers: 'compact' | 'extended' = 'compact') {
    this.#handler = handler;
    const isExtended = headers === 'extended';
    this.#headerBytes = isExtended ? EXTENDED_REQUEST_BYTES : REQUEST_BYTES;
    this.#decode = isExtended ? decodeExtendedRequest : decodeRequest;
  }

  /** A message has arrived in part. */
  get isMidMessage(): boolean {
    return this.#phase === 'header' ? this.#partialFill > 0 : this.#phase !== 'stopped';
  }

  get isStopped(): boolean {
    return this.#phase === 'stopped';
  }

  /** Takes the next `length` bytes to `target[at ..)`. The handler calls it inside `requestArrived`. */
  takePayload(target: Buffer, at: number, length: number): void {
    this.#phase = 'take';
    this.#payloadTarget = target;
    this.#payloadAt = at;
    this.#payloadLeft = length;
  }

  /** Drops the next `length` bytes. The handler calls it inside `requestArrived`. */
  skipPayload(length: number): void {
    this.#phase = 'skip';
    this.#payloadLeft = length;
  }

  /** Drops the message that has arrived in part, and all bytes that follow. */
  stop(): void {
    this.#phase = 'stopped';
    this.#partialFill = 0;
    this.#payloadTarget = null;
  }

  /**
   * Parses `bytes[start .. end)`; `view` is over `bytes`. Returns where it stopped: at `end`, or earlier when the handler
   * did not accept a header.
   */
  parse(bytes: Buffer, view: DataView, start: number, end: number): number {
    let position = start;
    while (position < end) {
      if (this.#phase === 'header') {
        const taken = this.#takeHeader(bytes, view, position, end);
        if (taken < 0) return position;
        position += taken;
      } else if (this.#phase === 'stopped') {
        return end;
      } else {
        position += this.#takePayloadBytes(bytes, position, end);
      }
    }
    return position;
  }

  /** Returns the bytes taken, or -1 when the handler did not accept the header. */
  #takeHeader(bytes: Buffer, view: DataView, position: number, end: number): number {
    const header = this.#header;
    const headerBytes = this.#headerBytes;
    if (this.#partialFill === 0 && end - position >= headerBytes) {
      this.#decode(view, position, header);
      return this.#handler.requestArrived(header) ? headerBytes : -1;
    }
    const taken = Math.min(headerBytes - this.#partialFill, end - position);
    bytes.copy(this.#partial, this.#partialFill, position, position + taken);
    if (this.#partialFill + taken < headerBytes) {
      this.#partialFill += taken;
      return taken;
    }
    // When the header is not accepted, its earlier pieces stay here, and the caller keeps the last one.
    this.#decode(this.#partialView, 0, header);
    if (!this.#handler.requestArrived(header)) return -1;
    this.#partialFill = 0;
    return taken;
  }

  #takePayloadBytes(bytes: Buffer, position: number, end: number): number {
    const taken = Math.min(this.#payloadLeft, end - position);
    if (this.#phase === 'take' && this.#payloadTarget !== null) {
      bytes.copy(this.#payloadTarget, this.#payloadAt, position, position + taken);
      this.#payloadAt += taken;
    }
    this.#payloadLeft -= taken;
    if (this.#payloadLeft === 0) {
      this.#phase = 'header';
      this.#payloadTarget = null;
      this.#handler.payloadArrived();
    }
    return taken;
  }
}
