import {
  EXTENDED_REQUEST_BYTES,
  REQUEST_BYTES,
  decodeExtendedRequest,
  decodeRequest,
} from './wire.js';
import type { RequestHeader } from './wire.js';

/** Receives what a {@link RequestParser} finds. */
export interface RequestParserHandler {
  /**
   * A header, borrowed until the call returns. The handler may announce its payload (`takePayload`, `skipPayload`),
   * or `stop`. False leaves the header where it is: parsing ends there, and the next time begins with it again.
   */
  requestArrived(header: RequestHeader): boolean;
  /** The payload that was announced has been taken or skipped, whole. */
  payloadArrived(): void;
}

/** What the next byte belongs to. `stopped`: nothing; it is dropped. */
type Phase = 'header' | 'take' | 'skip' | 'stopped';

/**
 * Cuts a client's bytes into requests, in place: a header is copied only when it arrives in pieces, and payload
 * goes straight to where it stays.
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

  /** A message has begun to arrive, and is not whole. */
  get isMidMessage(): boolean {
    return this.#phase === 'header' ? this.#partialFill > 0 : this.#phase !== 'stopped';
  }

  get isStopped(): boolean {
    return this.#phase === 'stopped';
  }

  /** The next `length` bytes go to `target[at ..)`. For the handler, inside `requestArrived`. */
  takePayload(target: Buffer, at: number, length: number): void {
    this.#phase = 'take';
    this.#payloadTarget = target;
    this.#payloadAt = at;
    this.#payloadLeft = length;
  }

  /** The next `length` bytes are of no use. For the handler, inside `requestArrived`. */
  skipPayload(length: number): void {
    this.#phase = 'skip';
    this.#payloadLeft = length;
  }

  /** Drops what is there of a message, and everything that follows. */
  stop(): void {
    this.#phase = 'stopped';
    this.#partialFill = 0;
    this.#payloadTarget = null;
  }

  /**
   * Parses `bytes[start .. end)`; `view` is over `bytes`.
   * @returns where it stopped: at `end`, or before it when the handler did not accept a header.
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
    // A header that is not accepted keeps its earlier pieces here, and its last ones with the caller.
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
