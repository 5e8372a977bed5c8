import { BlockOp, BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockExtent } from '../block/device.js';
import type { Requester } from '../common/requester.js';
import type { SlotSource } from '../common/slab.js';
import type { ExportCounters } from './counters.js';
import { errnoOf, messageOfStatus } from './errors.js';
import type { NbdLimits } from './limits.js';
import type { ChunkFormat } from './replies.js';
import type { ReplyQueue } from './reply-queue.js';
import { ReadJob, RequestPool } from './request.js';
import type { NbdRequest, RequestOwner } from './request.js';
import { HOLE_BYTES_MAX, NbdErrno } from './wire.js';

export interface ChunkedReadsOptions {
  readonly device: BlockDevice;
  readonly pool: SlotSource;
  readonly limits: NbdLimits;
  readonly requester: Requester;
  readonly format: ChunkFormat;
  readonly queue: ReplyQueue;
  readonly counters: ExportCounters;
  /** The longest chunk. */
  readonly chunkBytes: number;
  /** All pieces of a READ have been started, so the next request may begin. */
  cut(): void;
  /** The READ has ended completely. Its request belongs to the caller again. */
  finished(request: NbdRequest): void;
}

/**
 * The long READs of a connection whose client can take chunks. A READ is cut into pieces. Each piece is a request of its
 * own to the device, and is answered as soon as its data has come; the last chunk sent has the flag DONE. Only one READ
 * is cut at a time, and later requests start after the READ is cut completely.
 *
 * Pieces start while there are pooled requests and buffer slots for them, and while the client takes its replies. So the
 * memory for a READ of any length is bounded.
 *
 * A device that can find zeroes is asked once for the whole READ, and again for the rest when the answer does not cover
 * all of it. Long runs of zeroes are sent as holes, and not read.
 *
 * The first error ends the cutting. The error is sent with the offset of its piece: the other chunks stay valid.
 */
export class ChunkedReads implements RequestOwner {
  readonly #options: ChunkedReadsOptions;
  readonly #pieces: RequestPool;
  readonly #freeJobs: ReadJob[] = [];
  #cutting: ReadJob | null = null;
  #isRunning = false;
  #isWaitingForSlot = false;
  #isAborted = false;

  constructor(options: ChunkedReadsOptions) {
    this.#options = options;
    const { limits, format, requester } = options;
    this.#pieces = new RequestPool(this, (piece) => this.#read(piece as NbdRequest), {
      requester,
      capacity: limits.readChunksMax,
      shortReplyBytes: format.shortReplyBytes,
    });
  }

  /** A READ is not cut completely, so the next request has to wait. */
  get isCutting(): boolean {
    return this.#cutting !== null;
  }

  /** Starts a READ. Called only while no other READ is being cut. */
  start(request: NbdRequest): void {
    const job = this.#freeJobs.pop() ?? new ReadJob();
    job.request = request;
    job.offset = request.offset;
    job.restBytes = request.length;
    job.chunksOut = 0;
    job.isQuerying = false;
    job.isAnswered = false;
    job.errno = NbdErrno.OK;
    this.#cutting = job;
    this.#cut();
  }

  /** The connection is gone: nothing is sent any more. */
  abort(): void {
    this.#isAborted = true;
    const job = this.#cutting;
    if (job === null) return;
    job.restBytes = 0;
    this.#cutting = null;
    this.#releaseAborted(job);
  }

  /** A chunk has left, or never will. */
  replyFlushed(piece: NbdRequest): void {
    this.#options.queue.flushed(piece);
    const { job, isLastChunk } = piece;
    this.#release(piece);
    if (isLastChunk && job !== null) this.#forget(job);
    this.#cut();
  }

  // Cutting.

  /** Starts pieces while there is a READ to cut and room for its pieces. */
  #cut(): void {
    // Sending a hole, or refusing a request, calls this method again.
    if (this.#isRunning) return;
    this.#isRunning = true;
    while (this.#cutNext()) continue;
    this.#isRunning = false;
  }

  /** Starts one piece; false when no more can be started now. */
  #cutNext(): boolean {
    const job = this.#cutting;
    if (job === null || job.isQuerying || this.#isAborted) return false;
    const { queue, limits } = this.#options;
    if (job.restBytes === 0) {
      this.#cutting = null;
      this.#options.cut();
      return true;
    }
    if (queue.queuedBytes >= limits.queuedBytesMax) return false;
    if (this.#asksForZeroes(job)) {
      void this.#query(job);
      return false;
    }
    const piece = this.#pieces.acquire();
    if (piece === null) return false;
    if (job.plan.isHole) this.#sendHole(job, piece);
    else if (!this.#startPiece(job, piece)) return false;
    return true;
  }

  #asksForZeroes(job: ReadJob): boolean {
    return job.plan.runBytes === 0 && this.#options.device.info.canFindZeroes;
  }

  async #query(job: ReadJob): Promise<void> {
    const { device, limits } = this.#options;
    const { offset, restBytes } = job;
    job.isQuerying = true;
    let extents: readonly BlockExtent[];
    try {
      extents = await device.queryExtents(offset, restBytes);
    } catch {
      // The reads that follow will show whether something is wrong.
      extents = [];
    }
    job.isQuerying = false;
    if (this.#isAborted) {
      this.#releaseAborted(job);
      return;
    }
    job.plan.learn(extents, limits.readHoleBytesMin);
    // After an empty answer, the rest counts as data: asking again could go on for ever.
    if (job.plan.runBytes === 0) {
      job.plan.learn([{ lengthBytes: restBytes, hole: false, zero: false }], 1);
    }
    this.#cut();
  }

  /** False when there is no buffer for the piece now. */
  #startPiece(job: ReadJob, piece: NbdRequest): boolean {
    const { pool, device, chunkBytes } = this.#options;
    const boundary = job.offset + chunkBytes - (job.offset % chunkBytes);
    const run = job.plan.runBytes > 0 ? job.plan.runBytes : job.restBytes;
    const length = Math.min(run, job.restBytes, boundary - job.offset);
    const slot = pool.acquire(length);
    if (slot === null) {
      this.#pieces.release(piece);
      this.#waitForSlot(length);
      return false;
    }
    this.#take(job, piece, length);
    piece.slot = slot;
    piece.slab = slot.slab;
    piece.slabOffset = slot.offset;
    job.chunksOut++;
    device.submit(piece);
    return true;
  }

  #sendHole(job: ReadJob, piece: NbdRequest): void {
    this.#take(job, piece, Math.min(job.plan.runBytes, job.restBytes, HOLE_BYTES_MAX));
    piece.isLastChunk = this.#isLast(job);
    this.#send(job, piece, this.#options.format.hole(piece));
  }

  /** Makes the piece the next `length` bytes of the job. */
  #take(job: ReadJob, piece: NbdRequest, length: number): void {
    const { request } = job;
    if (request === null) return;
    piece.job = job;
    piece.command = request.command;
    piece.cookieHigh = request.cookieHigh;
    piece.cookieLow = request.cookieLow;
    piece.startHigh = request.startHigh;
    piece.startLow = request.startLow;
    piece.op = BlockOp.read;
    piece.offset = job.offset;
    piece.length = length;
    job.offset += length;
    job.restBytes -= length;
    if (job.plan.runBytes > 0) job.plan.advance(Math.min(length, job.plan.runBytes));
  }

  #waitForSlot(lengthBytes: number): void {
    if (this.#isWaitingForSlot) return;
    this.#isWaitingForSlot = true;
    this.#options.pool.whenAvailable(lengthBytes, () => {
      this.#isWaitingForSlot = false;
      this.#cut();
    });
  }

  // Answering.

  #read(piece: NbdRequest): void {
    const { job } = piece;
    if (job === null) return;
    job.chunksOut--;
    if (this.#isAborted) {
      this.#release(piece);
      this.#releaseAborted(job);
    } else if (piece.status === BlockStatus.ok) {
      piece.isLastChunk = this.#isLast(job);
      this.#options.counters.readBytes.value += piece.length;
      this.#send(job, piece, this.#options.format.data(piece));
    } else {
      const errno = errnoOf(piece.status, piece.command, 0);
      this.#fail(job, piece, errno, messageOfStatus(piece.status));
    }
    this.#cut();
  }

  #fail(job: ReadJob, piece: NbdRequest, errno: NbdErrno, message: string): void {
    piece.releaseSlot();
    job.restBytes = 0;
    job.plan.forget();
    job.errno = errno;
    piece.isLastChunk = this.#isLast(job);
    this.#send(job, piece, this.#options.format.errorAt(piece, errno, message));
  }

  #isLast(job: ReadJob): boolean {
    return job.chunksOut === 0 && job.restBytes === 0;
  }

  #send(job: ReadJob, piece: NbdRequest, bytes: Buffer): void {
    const { queue } = this.#options;
    if (piece.isLastChunk && job.request !== null) {
      job.isAnswered = true;
      queue.report(job.request, job.errno);
    }
    queue.send(piece, bytes);
  }

  // Ending.

  #release(piece: NbdRequest): void {
    piece.releaseSlot();
    piece.job = null;
    this.#pieces.release(piece);
  }

  /** Forgets an unanswered job that the device has nothing of. An answered one waits until its last chunk is flushed. */
  #releaseAborted(job: ReadJob): void {
    if (!job.isAnswered && job.chunksOut === 0 && !job.isQuerying) this.#forget(job);
  }

  #forget(job: ReadJob): void {
    const { request } = job;
    if (request === null) return;
    job.request = null;
    job.plan.forget();
    this.#freeJobs.push(job);
    this.#options.finished(request);
  }
}
