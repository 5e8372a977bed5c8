import { FreeList } from '../common/free-list.js';
import { LinkedQueue } from '../common/linked-queue.js';
import { checkRequest } from './check.js';
import { Completions } from './completions.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice, BlockDeviceInfo, BlockExtent } from './device.js';
import { SPLIT_BYTES_MAX, SPLIT_PIECES_MAX } from './limits.js';

/**
 * Takes requests of any length for a device that limits their length. A short request passes through untouched. A longer
 * one is cut into pieces that run in parallel: at most {@link SPLIT_PIECES_MAX} at a time for all requests together, in
 * the order of the requests. After the first error, no more pieces of the request start, and the request completes with
 * that error when its last running piece has ended.
 */
export class SplittingDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #completions = new Completions();
  /** Long requests of which no piece has started. */
  readonly #waiting = new LinkedQueue<BlockRequest>();
  /** The request that gets new pieces now. */
  #cutting: SplitJob | null = null;
  readonly #pieces = new FreeList(
    SPLIT_PIECES_MAX,
    () => new Piece((done) => this.#pieceDone(done as Piece)),
  );
  /** Each has a piece under way, but the one that is waiting for its first. */
  readonly #jobs = new FreeList(SPLIT_PIECES_MAX + 1, () => new SplitJob());
  /** Long requests that have not ended. */
  #jobCount = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #innerInfo: BlockDeviceInfo;
  #info: BlockDeviceInfo;

  constructor(device: BlockDevice) {
    this.#device = device;
    this.#innerInfo = device.info;
    this.#info = withoutLimits(device.info);
  }

  get info(): BlockDeviceInfo {
    const innerInfo = this.#device.info;
    if (innerInfo !== this.#innerInfo) {
      this.#innerInfo = innerInfo;
      this.#info = withoutLimits(innerInfo);
    }
    return this.#info;
  }

  submit(request: BlockRequest): void {
    if (this.#isClosed) {
      this.#completions.finishSoon(request, BlockStatus.shutdown);
      return;
    }
    if (request.length <= pieceBytesMax(this.#device.info, request.op)) {
      this.#device.submit(request);
      return;
    }
    // Before the first piece: a refused request must not be carried out in part.
    const status = checkRequest(this.info, request);
    if (status !== BlockStatus.ok) {
      this.#completions.finishSoon(request, status);
      return;
    }
    this.#jobCount++;
    this.#waiting.push(request);
    this.#cut();
  }

  queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]> {
    return this.#device.queryExtents(offset, lengthBytes);
  }

  refresh(): Promise<void> {
    return this.#device.refresh();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    if (this.#jobCount > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#device.close();
  }

  /** Starts pieces while there are long requests and free pieces. */
  #cut(): void {
    for (;;) {
      const job = this.#cutting ?? this.#nextJob();
      if (job === null) return;
      if (job.status !== BlockStatus.ok || job.restBytes === 0) {
        this.#cutting = null;
        if (job.piecesOut === 0) this.#finish(job);
        continue;
      }
      if (this.#pieces.isExhausted) return;
      this.#start(job, this.#pieces.take());
    }
  }

  #nextJob(): SplitJob | null {
    const request = this.#waiting.shift();
    if (request === null) return null;
    const job = this.#jobs.take();
    job.request = request;
    job.offset = request.offset;
    job.restBytes = request.length;
    job.piecesOut = 0;
    job.status = BlockStatus.ok;
    this.#cutting = job;
    return job;
  }

  #start(job: SplitJob, piece: Piece): void {
    const { request } = job;
    const length = nextPieceBytes(this.#device.info, request.op, job.offset, job.restBytes);
    piece.job = job;
    piece.takeRange(request, job.offset, length);
    job.offset += length;
    job.restBytes -= length;
    job.piecesOut++;
    this.#device.submit(piece);
  }

  #pieceDone(piece: Piece): void {
    const { job } = piece;
    if (job.status === BlockStatus.ok) job.status = piece.status;
    job.piecesOut--;
    piece.slab = null;
    this.#pieces.give(piece);
    if (job !== this.#cutting && job.piecesOut === 0) this.#finish(job);
    this.#cut();
  }

  #finish(job: SplitJob): void {
    const { request, status } = job;
    job.request = NO_REQUEST;
    this.#jobs.give(job);
    this.#jobCount--;
    request.status = status;
    request.done(request);
    if (this.#jobCount === 0) this.#onIdle?.();
  }
}

const NO_REQUEST = new BlockRequest(() => undefined);

/** A request that is being cut. */
class SplitJob {
  request: BlockRequest = NO_REQUEST;
  /** Where the next piece starts, and how much is left from there. */
  offset = 0;
  restBytes = 0;
  piecesOut = 0;
  status: BlockStatus = BlockStatus.ok;
}

const NO_JOB = new SplitJob();

class Piece extends BlockRequest {
  job: SplitJob = NO_JOB;
}

function withoutLimits(info: BlockDeviceInfo): BlockDeviceInfo {
  return {
    ...info,
    transferBytesMax: SPLIT_BYTES_MAX,
    trimBytesMax: info.canTrim ? SPLIT_BYTES_MAX : 0,
    writeZeroesBytesMax: info.canWriteZeroes ? SPLIT_BYTES_MAX : 0,
  };
}

/** The longest request that the device takes; flush and cache have no limit. */
function pieceBytesMax(info: BlockDeviceInfo, op: BlockOp): number {
  switch (op) {
    case BlockOp.read:
    case BlockOp.write:
      return info.transferBytesMax;
    case BlockOp.trim:
      return info.canTrim ? info.trimBytesMax : SPLIT_BYTES_MAX;
    case BlockOp.writeZeroes:
      return info.canWriteZeroes ? info.writeZeroesBytesMax : SPLIT_BYTES_MAX;
    default:
      return SPLIT_BYTES_MAX;
  }
}

/**
 * The length of the piece at `offset`. Where the limit leaves room for it, the piece ends at a boundary that suits the
 * device. For data, that is a multiple of the preferred size. For trim and write zeroes, it is a multiple of the limit,
 * which is a multiple of the device's allocation unit: so no unit is trimmed in two halves.
 */
export function nextPieceBytes(
  info: BlockDeviceInfo,
  op: BlockOp,
  offset: number,
  restBytes: number,
): number {
  const limit = pieceBytesMax(info, op);
  const bytesMax = limit - (limit % info.minimumBytes);
  if (restBytes <= bytesMax) return restBytes;
  const isTransfer = op === BlockOp.read || op === BlockOp.write;
  const boundary = isTransfer ? info.preferredBytes : bytesMax;
  const end = offset + bytesMax;
  const alignedEnd = end - (end % boundary);
  return alignedEnd > offset ? alignedEnd - offset : bytesMax;
}
