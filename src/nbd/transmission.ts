import { assert } from '../common/assert.js';
import { BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockRequest } from '../block/device.js';
import type { Flushable } from '../socket/data-socket.js';
import { Requester } from '../common/requester.js';
import type { SlotSource } from '../common/slab.js';
import { readSafeU64, safeFromHalves } from '../common/u64.js';
import { answerBlockStatus, extentCountMax } from './block-status.js';
import { Carry } from './carry.js';
import { ChunkedReads } from './chunked-reads.js';
import {
  blockOpOf,
  checkNbdRequest,
  checkStatusPayload,
  lacksPayloadFlag,
  lengthOf,
  modifies,
  payloadBytesOf,
} from './commands.js';
import type { ExportCounters } from './counters.js';
import { NbdProtocolError, errnoOf, messageOfStatus } from './errors.js';
import type { ExportTerms } from './export.js';
import { CARRY_BYTES_MAX, DEFAULT_PAYLOAD_BYTES } from './limits.js';
import type { NbdLimits } from './limits.js';
import type { Refusal } from './refusals.js';
import { ChunkFormat, simpleFormat } from './replies.js';
import type { ReplyFormat } from './replies.js';
import { ReplyQueue } from './reply-queue.js';
import type { TransmissionTrace } from './reply-queue.js';
import { RequestParser } from './request-parser.js';
import type { RequestParserHandler } from './request-parser.js';
import { RequestPool } from './request.js';
import type { NbdRequest, RequestOwner } from './request.js';
import {
  CommandFlag,
  EXTENDED_REQUEST_MAGIC,
  NbdCommand,
  NbdErrno,
  REQUEST_MAGIC,
} from './wire.js';
import type { RequestHeader } from './wire.js';
import type { TransmissionSink } from './transmission-sink.js';
import { LinkedQueue } from '../common/linked-queue.js';

export interface TransmissionOptions {
  readonly device: BlockDevice;
  readonly terms: ExportTerms;
  readonly limits: NbdLimits;
  readonly pool: SlotSource;
  readonly counters: ExportCounters;
  readonly sink: TransmissionSink;
  readonly trace: TransmissionTrace | null;
}

/**
 * Why parsing has stopped for now: no free request, no buffer slot, too many replies that the client has not read, or a
 * long READ that is not cut completely.
 */
type Stall = 'none' | 'requests' | 'slot' | 'queue' | 'cut';

/**
 * The server's half of the transmission phase, without its socket: bytes in, block requests out; completions in,
 * replies out.
 *
 *      receive ──> parser ──> requestArrived ──┬──> payloadArrived ──> device ──> reply ──> replyFlushed
 *                                              ├──> device (no payload) ──────────^
 *                                              ├──> ChunkedReads, answerBlockStatus ──^
 *                                              └──> (payload skipped) ──> refusal ─^
 *
 * A request starts only when there is a pooled {@link NbdRequest} for it and, for data, a buffer slot. Otherwise the
 * client is paused, the rest of the received bytes is carried, and parsing goes on later where it stopped.
 */
export class Transmission implements RequestOwner, RequestParserHandler {
  readonly #device: BlockDevice;
  readonly #terms: ExportTerms;
  readonly #limits: NbdLimits;
  readonly #pool: SlotSource;
  readonly #counters: ExportCounters;
  readonly #sink: TransmissionSink;
  readonly #trace: TransmissionTrace | null;
  /** Stands for this client in requests to the device. */
  readonly #requester = new Requester();
  readonly #requests: RequestPool;
  readonly #queue: ReplyQueue;
  /** For clients with structured replies or extended headers; null for others. */
  readonly #chunkFormat: ChunkFormat | null = null;
  readonly #reads: ChunkedReads | null = null;
  readonly #chunkBytes: number;
  readonly #magic: number;
  readonly #extentsMax: number;

  readonly #parser: RequestParser;
  /** The request whose payload is arriving. */
  #arriving: NbdRequest | null = null;

  /** The view of the last receive buffer, which is usually the same buffer again. */
  #viewedBytes: Buffer | null = null;
  #view: DataView = new DataView(new ArrayBuffer(0));

  #stall: Stall = 'none';
  #isWaitingForSlot = false;
  readonly #carry = new Carry(CARRY_BYTES_MAX);
  readonly #parse = (bytes: Buffer, view: DataView, start: number, end: number): number =>
    this.#parser.parse(bytes, view, start, end);

  /**
   * A client that was held back for long can have gone away, connected anew, and written to the same place. So its
   * changes wait here until it is known that it is still there.
   */
  #isOutdated = false;
  readonly #outdated = new LinkedQueue<BlockRequest>();

  #messageCount = 0;
  #saidGoodbye = false;
  /** The client sends no more bytes. Carried bytes are still parsed. */
  #isInputOver = false;
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
    const { limits, terms, sink, counters, trace } = options;
    let format: ReplyFormat = simpleFormat;
    if (terms.replyStyle !== 'simple')
      format = this.#chunkFormat = new ChunkFormat(terms.replyStyle);
    const send = (bytes: Buffer, owner: Flushable): void => sink.send(bytes, owner);
    this.#queue = new ReplyQueue({ format, counters, trace, send });
    this.#chunkBytes = Math.min(limits.readChunkBytes, terms.payloadBytesMax);
    this.#extentsMax = Math.min(limits.extentsMax, Math.floor(terms.payloadBytesMax / 16) - 1);
    const done = (request: BlockRequest): void => this.#completed(request as NbdRequest);
    const { shortReplyBytes } = format;
    this.#requests = new RequestPool(this, done, {
      requester: this.#requester,
      capacity: limits.inFlightMax,
      shortReplyBytes,
    });
    const isExtended = terms.replyStyle === 'extended';
    this.#magic = isExtended ? EXTENDED_REQUEST_MAGIC : REQUEST_MAGIC;
    this.#parser = new RequestParser(this, isExtended ? 'extended' : 'compact');
    if (this.#chunkFormat !== null) this.#reads = this.#chunkedReads(options, this.#chunkFormat);
  }

  #chunkedReads(options: TransmissionOptions, format: ChunkFormat): ChunkedReads {
    return new ChunkedReads({
      ...options,
      requester: this.#requester,
      format,
      queue: this.#queue,
      chunkBytes: this.#chunkBytes,
      cut: () => {
        if (this.#stall === 'cut') this.#unstall();
      },
      finished: (request) => this.#finished(request),
    });
  }

  /** Requests that are being read, carried out or answered. */
  get inFlightCount(): number {
    return this.#requests.usedCount;
  }

  /**
   * Changes when a message begins or ends, in either direction. Bytes in between do not count: otherwise a client could
   * keep a buffer that others wait for by sending a byte now and then.
   */
  get progress(): number {
    return this.#messageCount + this.#queue.progress;
  }

  /** The client has sent a message in part, or has replies to read. */
  get awaitsPeer(): boolean {
    if (this.#queue.queuedBytes > 0) return true;
    return this.#stall === 'none' && this.#parser.isMidMessage;
  }

  /** Takes `bytes[start .. end)`, borrowed until the call returns. */
  receive(bytes: Buffer, start: number, end: number): void {
    if (!this.#parser.isMidMessage) this.#messageCount++;
    if (this.#parser.isStopped) return;
    let position = start;
    if (this.#stall === 'none') {
      position = this.#parser.parse(bytes, this.#viewOf(bytes), start, end);
      if (this.#stall === 'none') return;
      this.#counters.stalls.value++;
      this.#sink.pause();
    }
    // A paused socket delivers nothing more, so the carry needs room for one receive buffer only.
    if (!this.#carry.append(bytes, position, end)) {
      this.#violate('nbd-flood', 'the client goes on sending although it is held back');
    }
  }

  /** The client has sent its last byte. The requests that have arrived are carried out and answered. */
  peerEnded(): void {
    this.#isInputOver = true;
    if (this.#stall === 'none') this.#finishInput();
  }

  /**
   * The server stops. The requests that have arrived are carried out and answered. Bytes that the server has not read are
   * left unanswered on purpose: the client treats those requests as after any lost connection. An error reply would look
   * like an error of the disk: Linux turns ESHUTDOWN into EIO, and does not try again.
   */
  drain(): void {
    this.#sink.pause();
    this.peerEnded();
  }

  /**
   * The connection is gone: nothing is sent any more, and buffers come back as the device returns them. Requests that the
   * device has not begun are dropped. After a DISC they are not: "the server MUST handle all outstanding requests" then
   * (proto.md, NBD_CMD_DISC).
   */
  abort(): void {
    this.#isAborted = true;
    this.#requester.isGone = !this.#saidGoodbye;
    this.#stall = 'none';
    this.#carry.clear();
    this.#reads?.abort();
    for (;;) {
      const request = this.#outdated.shift();
      if (request === null) break;
      this.#finished(request as NbdRequest);
    }
    this.#finishInput();
  }

  /** The client that may have been gone is still there: see {@link TransmissionSink.mayBeGone}. */
  goOn(): void {
    this.#isOutdated = false;
    for (;;) {
      const request = this.#outdated.shift();
      if (request === null) return;
      this.#device.submit(request);
    }
  }

  /** The reply has left, or never will; see {@link NbdRequest}. */
  replyFlushed(request: NbdRequest): void {
    this.#queue.flushed(request);
    this.#finished(request);
  }

  // RequestParserHandler

  /** False when the request has to wait; nothing has changed in that case. */
  requestArrived(header: RequestHeader): boolean {
    if (header.magic !== this.#magic) {
      this.#violate('nbd-request-magic', 'a request does not begin with the magic number', {
        magic: `0x${header.magic.toString(16)}`,
      });
      return true;
    }
    if (header.command === NbdCommand.DISC) {
      this.#counters.requests(NbdCommand.DISC).value++;
      this.#saidGoodbye = true;
      this.#finishInput();
      return true;
    }
    const refusal = checkNbdRequest(header, this.#terms);
    const payloadBytes = payloadBytesOf(header, this.#terms);
    if (!this.#canTake(payloadBytes, refusal)) return true;
    if (this.#queue.queuedBytes >= this.#limits.queuedBytesMax) return this.#stallFor('queue');
    if (this.#reads?.isCutting === true) return this.#stallFor('cut');
    const request = this.#requests.acquire();
    if (request === null) return this.#stallFor('requests');
    this.#fill(request, header, payloadBytes, refusal);
    if (refusal === null && !this.#takeSlot(request)) {
      this.#requests.release(request);
      return this.#stallFor('slot');
    }
    this.#counters.requests(header.command).value++;
    if (lacksPayloadFlag(header, this.#terms)) this.#counters.unflaggedWrites.value++;
    if (this.#trace !== null) this.#trace.requested(request, header);
    this.#dispatch(request);
    return true;
  }

  payloadArrived(): void {
    this.#messageCount++;
    const request = this.#arriving;
    if (request === null) return;
    this.#arriving = null;
    if (request.refusal === null && request.command === NbdCommand.BLOCK_STATUS) {
      this.#statusPayloadArrived(request);
    }
    // A refused request is answered after its payload has been skipped.
    if (request.refusal !== null) this.#refuse(request, request.refusal);
    else if (request.command === NbdCommand.BLOCK_STATUS) void this.#tellStatus(request);
    else {
      this.#counters.writtenBytes.value += request.length;
      this.#submit(request);
    }
  }

  // Starting requests.

  /**
   * Whether the payload of a request can be taken, or skipped to stay in step. Otherwise the connection ends. With
   * extended headers, proto.md wants it to end for a payload above the maximum, which is at least the default.
   */
  #canTake(payloadBytes: number, refusal: Refusal | null): boolean {
    if (refusal === null || payloadBytes === 0) return true;
    const { drainBytesMax } = this.#limits;
    const isExtended = this.#terms.replyStyle === 'extended';
    const bytesMax = isExtended
      ? Math.max(this.#terms.payloadBytesMax, DEFAULT_PAYLOAD_BYTES)
      : drainBytesMax;
    if (payloadBytes >= 0 && payloadBytes <= Math.min(bytesMax, drainBytesMax)) return true;
    const message = 'the payload of a refused request is too long to be skipped';
    this.#violate('nbd-write-length', message, { lengthBytes: payloadBytes });
    return false;
  }

  #fill(
    request: NbdRequest,
    header: RequestHeader,
    payloadBytes: number,
    refusal: Refusal | null,
  ): void {
    const { command, flags } = header;
    request.command = command;
    request.flags = flags;
    request.cookieHigh = header.cookieHigh;
    request.cookieLow = header.cookieLow;
    request.startHigh = header.offsetHigh;
    request.startLow = header.offsetLow;
    request.refusal = refusal;
    request.payloadBytes = payloadBytes;
    if (refusal === null && command !== NbdCommand.BLOCK_STATUS) request.op = blockOpOf(command);
    request.offset = safeFromHalves(header.offsetHigh, header.offsetLow);
    request.length = lengthOf(header);
    // Every command may have FUA. It has a meaning only for commands that write.
    request.forceUnitAccess = (flags & CommandFlag.FUA) !== 0 && modifies(command);
    request.noHole = (flags & CommandFlag.NO_HOLE) !== 0;
    request.fastOnly = (flags & CommandFlag.FAST_ZERO) !== 0;
  }

  /** Whether a READ is answered in chunks, which get their buffers one by one. */
  #isChunked({ command, flags, length }: NbdRequest): boolean {
    const isLong = command === NbdCommand.READ && length > this.#chunkBytes;
    return isLong && this.#reads !== null && (flags & CommandFlag.DF) === 0;
  }

  /** Gets a buffer for a request that needs one; false when none is free now. */
  #takeSlot(request: NbdRequest): boolean {
    const lengthBytes = this.#slotBytes(request);
    if (lengthBytes === 0) return true;
    const slot = this.#pool.acquire(lengthBytes);
    if (slot === null) {
      this.#waitForSlot(lengthBytes);
      return false;
    }
    request.slot = slot;
    request.slab = slot.slab;
    request.slabOffset = slot.offset;
    return true;
  }

  #slotBytes(request: NbdRequest): number {
    switch (request.command) {
      case NbdCommand.READ:
        return this.#isChunked(request) ? 0 : request.length;
      case NbdCommand.WRITE:
        return request.length;
      case NbdCommand.BLOCK_STATUS: {
        // One extent has room in the request's own reply area.
        const count = extentCountMax(request, this.#extentsMax);
        if (count === 1) return 0;
        assert(this.#chunkFormat !== null, 'BLOCK_STATUS without structured replies');
        return this.#chunkFormat.statusBytes(count);
      }
      default:
        return 0;
    }
  }

  /** Starts a request: receives its payload, submits it to the device, or replies at once. */
  #dispatch(request: NbdRequest): void {
    if (request.payloadBytes > 0) this.#takePayload(request);
    else if (request.refusal !== null) this.#refuse(request, request.refusal);
    else if (request.command === NbdCommand.BLOCK_STATUS) void this.#tellStatus(request);
    else if (request.length === 0 && request.command !== NbdCommand.FLUSH) {
      this.#queue.succeed(request);
    } else if (this.#reads !== null && this.#isChunked(request)) this.#reads.start(request);
    else this.#submit(request);
  }

  #submit(request: NbdRequest): void {
    if (this.#isOutdated && modifies(request.command)) this.#outdated.push(request);
    else this.#device.submit(request);
  }

  #takePayload(request: NbdRequest): void {
    const { payloadBytes, slot } = request;
    this.#arriving = request;
    if (request.refusal !== null) this.#parser.skipPayload(payloadBytes);
    else if (request.command === NbdCommand.BLOCK_STATUS) {
      this.#parser.takePayload(request.header, 0, payloadBytes);
    } else {
      assert(slot !== null, 'a WRITE without a buffer');
      this.#parser.takePayload(slot.slab.bytes, slot.offset, payloadBytes);
    }
  }

  // Block status.

  #statusPayloadArrived(request: NbdRequest): void {
    const { headerView, headerAt, payloadBytes, offset } = request;
    request.refusal = checkStatusPayload(headerView, headerAt, payloadBytes, offset, this.#terms);
    request.length = readSafeU64(headerView, headerAt);
  }

  async #tellStatus(request: NbdRequest): Promise<void> {
    const format = this.#chunkFormat;
    assert(format !== null, 'BLOCK_STATUS without structured replies');
    const answer = await answerBlockStatus(request, this.#device, format, this.#extentsMax);
    if (this.#isAborted) this.#finished(request);
    else if ('bytes' in answer) this.#queue.finish(request, answer.bytes, NbdErrno.OK);
    else this.#queue.fail(request, NbdErrno.EIO, answer.message);
  }

  // Replies.

  #completed(request: NbdRequest): void {
    const { status, command, flags } = request;
    if (this.#isAborted) this.#finished(request);
    else if (status === BlockStatus.ok) this.#queue.succeed(request);
    else this.#queue.fail(request, errnoOf(status, command, flags), messageOfStatus(status));
  }

  #refuse(request: NbdRequest, { errno, message }: Refusal): void {
    this.#queue.fail(request, errno, message);
  }

  /** The request is over; no layer uses it any more. */
  #finished(request: NbdRequest): void {
    request.releaseSlot();
    this.#requests.release(request);
    if (this.#stall === 'requests') this.#unstall();
    else if (
      this.#stall === 'queue' &&
      this.#queue.queuedBytes <= this.#limits.queuedBytesMax / 2
    ) {
      this.#unstall();
    }
    this.#checkIdle();
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

  /** Parses the carried bytes, and goes on reading unless parsing stalls again. */
  #unstall(): void {
    if (this.#stall === 'none') return;
    this.#stall = 'none';
    this.#isOutdated ||= this.#sink.mayBeGone();
    this.#carry.consume(this.#parse);
    // Parsing may have set the stall again, which the compiler cannot see.
    if ((this.#stall as Stall) !== 'none') return;
    if (this.#isInputOver) this.#finishInput();
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

  /** Ends parsing. A request that has arrived only in part is dropped. */
  #finishInput(): void {
    this.#parser.stop();
    this.#carry.clear();
    this.#stall = 'none';
    const request = this.#arriving;
    this.#arriving = null;
    if (request !== null) {
      request.releaseSlot();
      this.#requests.release(request);
    }
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (!this.#parser.isStopped || this.#isIdle || this.#requests.usedCount > 0) return;
    this.#isIdle = true;
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
