import { BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockRequest } from '../block/device.js';
import type { Flushable } from '../common/data-socket.js';
import type { SlabPool } from '../common/slab.js';
import { safeFromHalves } from '../common/u64.js';
import { Carry } from './carry.js';
import { blockOpOf, checkRequest, modifies } from './commands.js';
import type { ExportCounters } from './counters.js';
import { NbdProtocolError, errnoOf } from './errors.js';
import type { ExportTerms } from './export.js';
import { CARRY_BYTES_MAX } from './limits.js';
import type { NbdLimits } from './limits.js';
import { RequestParser } from './request-parser.js';
import type { RequestParserHandler } from './request-parser.js';
import { RequestPool } from './request.js';
import type { NbdRequest, RequestOwner } from './request.js';
import {
  CommandFlag,
  NbdCommand,
  NbdErrno,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  encodeSimpleReply,
} from './wire.js';
import type { RequestHeader } from './wire.js';

/** What a {@link Transmission} does to the connection that it is part of. */
export interface TransmissionSink {
  /** Queues bytes; `owner` is told, later, that they have left. */
  send(bytes: Buffer, owner: Flushable): void;
  /** Stops and goes on with reading: that is how a client is held back. */
  pause(): void;
  resume(): void;
  /** The client broke a rule. What is in flight is still answered, then {@link idle} follows. */
  violated(error: NbdProtocolError): void;
  /** Nothing is in flight, and nothing more will be: called once, after the end was asked for by either side. */
  idle(): void;
}

/** Sees each request and each reply, when somebody traces them. */
export interface TransmissionTrace {
  requested(request: NbdRequest, header: RequestHeader): void;
  replied(request: NbdRequest, errno: NbdErrno): void;
}

export interface TransmissionOptions {
  readonly device: BlockDevice;
  readonly terms: ExportTerms;
  readonly limits: NbdLimits;
  readonly pool: SlabPool;
  readonly counters: ExportCounters;
  readonly sink: TransmissionSink;
  readonly trace: TransmissionTrace | null;
}

/** Why parsing has stopped for now: no free request, no buffer slot, or too many replies that the client leaves. */
type Stall = 'none' | 'requests' | 'slot' | 'queue';

/**
 * The server's half of the transmission phase, without its socket: bytes in, block requests out; completions in,
 * replies out.
 *
 *      receive ──> parser ──> requestArrived ──┬──> payloadArrived ──> device ──> reply ──> replyFlushed
 *                                              ├──> device (no payload) ──────────^
 *                                              └──> (payload skipped) ──> refusal ─^
 *
 * A request is started only when it has a pooled {@link NbdRequest} and, for data, a buffer slot. Without one, the
 * client is paused, the rest of the received bytes is carried, and parsing goes on where it stopped.
 */
export class Transmission implements RequestOwner, RequestParserHandler {
  readonly #device: BlockDevice;
  readonly #terms: ExportTerms;
  readonly #limits: NbdLimits;
  readonly #pool: SlabPool;
  readonly #counters: ExportCounters;
  readonly #sink: TransmissionSink;
  readonly #trace: TransmissionTrace | null;
  readonly #requests: RequestPool;

  readonly #parser = new RequestParser(this);
  /** The request whose payload is arriving. */
  #arriving: NbdRequest | null = null;

  /** One view is enough while the receive buffer is the same one. */
  #viewedBytes: Buffer | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));

  #stall: Stall = 'none';
  #isWaitingForSlot = false;
  readonly #carry = new Carry(CARRY_BYTES_MAX);
  readonly #parse = (bytes: Buffer, view: DataView, start: number, end: number): number =>
    this.#parser.parse(bytes, view, start, end);

  #queuedBytes = 0;
  #progress = 0;
  #peerEnded = false;
  #isDraining = false;
  #isAborted = false;
  #isIdle = false;

  constructor(options: TransmissionOptions) {
    this.#device = options.device;
    this.#terms = options.terms;
    this.#limits = options.limits;
    this.#pool = options.pool;
    this.#counters = options.counters;
    this.#sink = options.sink;
    this.#trace = options.trace;
    const done = (request: BlockRequest): void => this.#completed(request as NbdRequest);
    this.#requests = new RequestPool(this, done, options.limits.inFlightMax);
  }

  /** Requests that are being read, carried out or answered. */
  get inFlightCount(): number {
    return this.#requests.usedCount;
  }

  /**
   * Changes whenever a message begins or is over, in either direction. Bytes in between do not count: a client that
   * sends one now and then would keep a buffer that others wait for.
   */
  get progress(): number {
    return this.#progress;
  }

  /** The client is in the middle of a message to us, or has replies to take. */
  get awaitsPeer(): boolean {
    if (this.#queuedBytes > 0) return true;
    return this.#stall === 'none' && this.#parser.isMidMessage;
  }

  /** Takes `bytes[start .. end)`, borrowed until the call returns. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (!this.#parser.isMidMessage) this.#progress++;
    if (this.#parser.isStopped) return;
    let position = start;
    if (this.#stall === 'none') {
      position = this.#parser.parse(bytes, this.#viewOf(bytes), start, end);
      if (this.#stall === 'none') return;
      this.#counters.stalls.value++;
      this.#sink.pause();
    }
    // A socket that is paused delivers nothing more, so that one receive buffer is all there is to carry.
    if (!this.#carry.append(bytes, position, end)) {
      this.#violate('nbd-flood', 'the client sends on although it is held back');
    }
  }

  /** The client has sent its last byte: what is in flight is finished and answered. */
  peerEnded(): void {
    this.#peerEnded = true;
    if (this.#stall === 'none') this.#finishInput();
  }

  /** The server is stopping: what is in flight is finished, further requests get ESHUTDOWN. */
  drain(): void {
    this.#isDraining = true;
    this.#unstall();
    this.#checkIdle();
  }

  /** The connection is gone: nothing is sent any more; buffers come back as the device returns them. */
  abort(): void {
    this.#isAborted = true;
    this.#stall = 'none';
    this.#carry.clear();
    this.#finishInput();
  }

  /** The reply has left, or never will: see {@link NbdRequest}. */
  replyFlushed(request: NbdRequest): void {
    this.#progress++;
    this.#queuedBytes -= request.replyBytes;
    this.#free(request);
    if (this.#stall === 'requests') this.#unstall();
    else if (this.#stall === 'queue' && this.#queuedBytes <= this.#limits.queuedBytesMax / 2) {
      this.#unstall();
    }
    this.#checkIdle();
  }

  // RequestParserHandler

  /** False when the request has to wait; nothing has changed then. */
  requestArrived(header: RequestHeader): boolean {
    if (header.magic !== REQUEST_MAGIC) {
      this.#violate('nbd-request-magic', 'a request does not begin with NBD_REQUEST_MAGIC', {
        magic: `0x${header.magic.toString(16)}`,
      });
      return true;
    }
    if (header.command === NbdCommand.DISC) {
      this.#counters.requests(NbdCommand.DISC).value++;
      this.#finishInput();
      return true;
    }
    const refusal = this.#isDraining ? NbdErrno.ESHUTDOWN : checkRequest(header, this.#terms);
    if (refusal !== NbdErrno.OK && !this.#canDrain(header)) return true;
    if (this.#queuedBytes >= this.#limits.queuedBytesMax) return this.#stallFor('queue');
    const request = this.#requests.acquire();
    if (request === null) return this.#stallFor('requests');
    if (refusal === NbdErrno.OK && !this.#takeSlot(request, header)) {
      this.#requests.release(request);
      return this.#stallFor('slot');
    }
    this.#fill(request, header, refusal);
    this.#dispatch(request);
    return true;
  }

  payloadArrived(): void {
    this.#progress++;
    const request = this.#arriving;
    if (request === null) return;
    this.#arriving = null;
    if (request.refusal !== NbdErrno.OK) {
      // A refused write is answered once its payload is out of the way.
      this.#reply(request, request.refusal);
      return;
    }
    this.#counters.writtenBytes.value += request.length;
    this.#device.submit(request);
  }

  // Starting requests.

  /** Whether what follows a refused request can be skipped; if not, the connection ends. */
  #canDrain(header: RequestHeader): boolean {
    if (header.command !== NbdCommand.WRITE) return true;
    if (header.lengthLow <= this.#limits.drainBytesMax) return true;
    this.#violate('nbd-write-length', 'the payload of a refused write is too long to be skipped', {
      lengthBytes: header.lengthLow,
    });
    return false;
  }

  /** Gets the buffer of a READ or a WRITE; false when there is none now. */
  #takeSlot(request: NbdRequest, header: RequestHeader): boolean {
    const isData = header.command === NbdCommand.READ || header.command === NbdCommand.WRITE;
    if (!isData || header.lengthLow === 0) return true;
    const slot = this.#pool.acquire(header.lengthLow);
    if (slot === null) {
      this.#waitForSlot(header.lengthLow);
      return false;
    }
    request.slot = slot;
    request.slab = slot.slab;
    request.slabOffset = slot.offset;
    return true;
  }

  #fill(request: NbdRequest, header: RequestHeader, refusal: NbdErrno): void {
    const { command, flags } = header;
    request.command = command;
    request.flags = flags;
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.refusal = refusal;
    request.op = blockOpOf(command);
    request.offset = safeFromHalves(header.offsetHigh, header.offsetLow);
    request.length = header.lengthLow;
    // FUA may come with every command; it means something only where data is written.
    request.forceUnitAccess = (flags & CommandFlag.FUA) !== 0 && modifies(command);
    request.noHole = (flags & CommandFlag.NO_HOLE) !== 0;
    request.fastOnly = (flags & CommandFlag.FAST_ZERO) !== 0;
    this.#counters.requests(command).value++;
    if (this.#trace !== null) this.#trace.requested(request, header);
  }

  /** Sends a request where it belongs: to its payload, the device, or straight to its reply. */
  #dispatch(request: NbdRequest): void {
    if (request.command === NbdCommand.WRITE && request.length > 0) {
      this.#arriving = request;
      if (request.slab === null) this.#parser.skipPayload(request.length);
      else this.#parser.takePayload(request.slab.bytes, request.slabOffset, request.length);
    } else if (request.refusal !== NbdErrno.OK) {
      this.#reply(request, request.refusal);
    } else if (request.length === 0 && request.command !== NbdCommand.FLUSH) {
      this.#reply(request, NbdErrno.OK);
    } else {
      this.#device.submit(request);
    }
  }

  // Replies.

  #completed(request: NbdRequest): void {
    if (this.#isAborted) {
      this.#free(request);
      this.#checkIdle();
      return;
    }
    const { status } = request;
    if (status === BlockStatus.ok) this.#reply(request, NbdErrno.OK);
    else this.#reply(request, errnoOf(status, request.command, request.flags));
  }

  /** Header and data of a READ leave as one piece, from the slot; everything else is a header alone. */
  #reply(request: NbdRequest, errno: NbdErrno): void {
    const { slot, cookieHigh, cookieLow } = request;
    let bytes = request.header;
    if (slot !== null && request.command === NbdCommand.READ && errno === NbdErrno.OK) {
      const at = slot.offset - SIMPLE_REPLY_BYTES;
      encodeSimpleReply(slot.slab.view, at, errno, cookieHigh, cookieLow);
      bytes = slot.slab.bytes.subarray(at, slot.offset + request.length);
      this.#counters.readBytes.value += request.length;
    } else {
      request.releaseSlot();
      encodeSimpleReply(request.headerView, request.headerAt, errno, cookieHigh, cookieLow);
    }
    if (errno !== NbdErrno.OK) this.#counters.errors.value++;
    if (this.#trace !== null) this.#trace.replied(request, errno);
    this.#progress++;
    request.replyBytes = bytes.length;
    this.#queuedBytes += bytes.length;
    this.#sink.send(bytes, request);
  }

  #free(request: NbdRequest): void {
    request.releaseSlot();
    this.#requests.release(request);
  }

  // Holding the client back.

  #stallFor(reason: Stall): false {
    this.#stall = reason;
    return false;
  }

  #waitForSlot(lengthBytes: number): void {
    if (this.#isWaitingForSlot) return;
    this.#isWaitingForSlot = true;
    this.#pool.whenAvailable(lengthBytes, () => {
      this.#isWaitingForSlot = false;
      if (this.#stall === 'slot') this.#unstall();
    });
  }

  /** Parses what was carried, and reads on unless that stalls again. */
  #unstall(): void {
    if (this.#stall === 'none') return;
    this.#stall = 'none';
    this.#carry.consume(this.#parse);
    // Parsing has set it anew, which the compiler cannot see.
    if ((this.#stall as Stall) !== 'none') return;
    if (this.#peerEnded) this.#finishInput();
    else if (!this.#parser.isStopped) this.#sink.resume();
  }

  // The end.

  #violate(
    code: string,
    message: string,
    facts: Readonly<Record<string, string | number>> = {},
  ): void {
    if (this.#parser.isStopped) return;
    const error = new NbdProtocolError(code, `${message}; the connection is closed`, facts);
    this.#sink.violated(error);
    this.#finishInput();
  }

  /** Nothing more is parsed. A request that has not arrived whole is dropped. */
  #finishInput(): void {
    this.#parser.stop();
    this.#carry.clear();
    this.#stall = 'none';
    const request = this.#arriving;
    this.#arriving = null;
    if (request !== null) this.#free(request);
    this.#checkIdle();
  }

  #checkIdle(): void {
    const isEnding = this.#parser.isStopped || this.#isDraining;
    if (!isEnding || this.#isIdle || this.#requests.usedCount > 0) return;
    this.#isIdle = true;
    this.#parser.stop();
    this.#sink.idle();
  }

  #viewOf(bytes: Buffer): DataView {
    if (this.#viewedBytes !== bytes) {
      this.#viewedBytes = bytes;
      this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    }
    return this.#view;
  }
}
