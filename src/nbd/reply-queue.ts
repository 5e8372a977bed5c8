import type { Flushable } from '../socket/data-socket.js';
import type { ExportCounters } from './counters.js';
import type { ReplyFormat } from './replies.js';
import type { NbdRequest } from './request.js';
import { NbdErrno } from './wire.js';
import type { RequestHeader } from './wire.js';

/** Gets each request and each reply, while tracing is on. */
export interface TransmissionTrace {
  requested(request: NbdRequest, header: RequestHeader): void;
  replied(request: NbdRequest, errno: NbdErrno): void;
}

export interface ReplyQueueOptions {
  readonly format: ReplyFormat;
  readonly counters: ExportCounters;
  readonly trace: TransmissionTrace | null;
  /** Queues bytes. `owner` is told later that they have left. */
  send(bytes: Buffer, owner: Flushable): void;
}

/** Sends the replies, and counts the bytes that the client has not taken yet. */
export class ReplyQueue {
  /** Bytes that were sent and have not left. */
  queuedBytes = 0;
  /** Counts the replies that were queued and the replies that have left. */
  progress = 0;
  readonly #format: ReplyFormat;
  readonly #counters: ExportCounters;
  readonly #trace: TransmissionTrace | null;
  readonly #sink: ReplyQueueOptions;

  constructor(options: ReplyQueueOptions) {
    this.#format = options.format;
    this.#counters = options.counters;
    this.#trace = options.trace;
    this.#sink = options;
  }

  /** Header and data of a READ leave as one piece, from the slot; every other success is a header alone. */
  succeed(request: NbdRequest): void {
    if (request.slot !== null && request.isRead) {
      this.#counters.readBytes.value += request.length;
      this.finish(request, this.#format.data(request), NbdErrno.OK);
    } else {
      request.releaseSlot();
      this.finish(request, this.#format.done(request), NbdErrno.OK);
    }
  }

  fail(request: NbdRequest, errno: NbdErrno, message: string): void {
    request.releaseSlot();
    this.finish(request, this.#format.error(request, errno, message), errno);
  }

  /** Sends the only reply to a request, or its last chunk. */
  finish(request: NbdRequest, bytes: Buffer, errno: NbdErrno): void {
    this.report(request, errno);
    this.send(request, bytes);
  }

  /** Counts and traces how a request ended. */
  report(request: NbdRequest, errno: NbdErrno): void {
    if (errno !== NbdErrno.OK) this.#counters.errors.value++;
    if (this.#trace !== null) this.#trace.replied(request, errno);
  }

  /** Sends bytes that belong to `request` until it is flushed. */
  send(request: NbdRequest, bytes: Buffer): void {
    this.progress++;
    request.replyBytes = bytes.length;
    this.queuedBytes += bytes.length;
    this.#sink.send(bytes, request);
  }

  flushed(request: NbdRequest): void {
    this.progress++;
    this.queuedBytes -= request.replyBytes;
  }
}
