import { assert } from '../common/assert.js';
import type { SlabPool } from '../common/slab.js';
import { BouncePool, bounceSlabs } from './bounce.js';
import { checkRequest, isMutation } from './check.js';
import { Completions } from './completions.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice, BlockDeviceInfo, BlockExtent } from './device.js';
import { clipExtents } from './extents.js';
import { RangeLock } from './range-lock.js';
import type { RangeHolder } from './range-lock.js';
import { UnalignedJob } from './unaligned.js';

/**
 * Takes requests at any byte over a device of sectors.
 *
 * - Aligned reads and flushes pass through untouched. Aligned writes, trims and write zeroes pass through a pooled
 *   object that remembers which sectors are being changed; that is all they pay.
 * - An unaligned read fetches its first and last sector into bounce memory, and what is between into its place.
 * - An unaligned write or write zeroes reads the sectors at its edges, changes their bytes and writes them back. From
 *   before that read until after that write it excludes every other change of a sector that it touches: without
 *   that, the one that reads early and writes late would undo the other's change (a lost update).
 * - An unaligned trim shrinks to the whole sectors in it; trimming is a hint. A cache request grows.
 *
 * Bounce memory is taken from the pool when the device is made and never again. A request holds its sectors before
 * it asks for bounce memory and waits for nothing but the device afterwards, so there is no deadlock, however many
 * buffers of the pool are held by requests that wait here.
 */
export class AligningDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #sectorBytes: number;
  readonly #completions = new Completions();
  readonly #lock = new RangeLock();
  readonly #bounce: BouncePool;
  #freePassages: Passage | null = null;
  #freeJobs: UnalignedJob | null = null;
  /** Requests that are not simply the inner device's. */
  #busyCount = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #innerInfo: BlockDeviceInfo;
  #info: BlockDeviceInfo;

  /** `pool` is not to be that of the data: a slot of it is taken for as long as the device is open. */
  constructor(device: BlockDevice, pool: SlabPool = bounceSlabs) {
    this.#device = device;
    this.#sectorBytes = device.info.minimumBytes;
    this.#bounce = new BouncePool(pool, 2 * this.#sectorBytes);
    this.#innerInfo = device.info;
    this.#info = { ...device.info, minimumBytes: 1 };
  }

  get info(): BlockDeviceInfo {
    const innerInfo = this.#device.info;
    if (innerInfo !== this.#innerInfo) {
      assert(innerInfo.minimumBytes === this.#sectorBytes, 'a device changed its sector size');
      this.#innerInfo = innerInfo;
      this.#info = { ...innerInfo, minimumBytes: 1 };
    }
    return this.#info;
  }

  submit(request: BlockRequest): void {
    if (this.#isClosed) {
      this.#completions.finishSoon(request, BlockStatus.shutdown);
      return;
    }
    const { op, offset, length } = request;
    const sectorBytes = this.#sectorBytes;
    if (offset % sectorBytes === 0 && length % sectorBytes === 0) {
      if (isMutation(op) && sectorBytes > 1) this.#pass(request, offset, length);
      else this.#device.submit(request);
      return;
    }
    if (op === BlockOp.flush) {
      this.#device.submit(request);
      return;
    }
    const status = this.#checkUnaligned(request);
    if (status === BlockStatus.ok) this.#submitUnaligned(request);
    else this.#completions.finishSoon(request, status);
  }

  async queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]> {
    const start = this.#floor(offset);
    const end = this.#ceil(offset + lengthBytes);
    const extents = await this.#device.queryExtents(start, end - start);
    return clipExtents(extents, offset - start, lengthBytes);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#isClosed = true;
    if (this.#busyCount > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve));
    await this.#device.close();
    this.#bounce.release();
  }

  /** Zeroing the edges takes a read and a write, which is not fast, and must not be found out half-way. */
  #checkUnaligned(request: BlockRequest): BlockStatus {
    const status = checkRequest(this.info, request);
    if (status !== BlockStatus.ok) return status;
    const isFastZero = request.op === BlockOp.writeZeroes && request.fastOnly;
    return isFastZero ? BlockStatus.notSupported : BlockStatus.ok;
  }

  #submitUnaligned(request: BlockRequest): void {
    const { op, offset, length } = request;
    switch (op) {
      case BlockOp.trim: {
        const start = this.#ceil(offset);
        const end = this.#floor(offset + length);
        if (start < end) this.#pass(request, start, end - start);
        else this.#completions.finishSoon(request, BlockStatus.ok);
        return;
      }
      case BlockOp.cache: {
        const start = this.#floor(offset);
        this.#pass(request, start, this.#ceil(offset + length) - start);
        return;
      }
      default: {
        const job = this.#takeJob();
        job.prepare(request, this.#sectorBytes);
        if (op === BlockOp.read) job.onRange();
        else this.#lock.acquire(job);
      }
    }
  }

  /** Hands down `[offset, offset + length)` of a request, holding the sectors if it changes them. */
  #pass(request: BlockRequest, offset: number, length: number): void {
    const passage = this.#takePassage();
    passage.prepare(request, offset, length);
    if (isMutation(request.op)) this.#lock.acquire(passage);
    else passage.onRange();
  }

  #takePassage(): Passage {
    this.#busyCount++;
    const passage = this.#freePassages;
    if (passage === null) {
      return new Passage(this.#device, (done) => this.#passed(done as Passage));
    }
    this.#freePassages = passage.nextFree;
    return passage;
  }

  #passed(passage: Passage): void {
    const { request, status } = passage;
    if (isMutation(passage.op)) this.#lock.release(passage);
    passage.forget();
    passage.nextFree = this.#freePassages;
    this.#freePassages = passage;
    this.#finish(request, status);
  }

  #takeJob(): UnalignedJob {
    this.#busyCount++;
    const job = this.#freeJobs;
    if (job === null) {
      return new UnalignedJob(this.#device, this.#bounce, (done) => this.#jobDone(done));
    }
    this.#freeJobs = job.nextFree;
    return job;
  }

  #jobDone(job: UnalignedJob): void {
    const { request, status } = job;
    if (isMutation(request.op)) this.#lock.release(job);
    job.forget();
    job.nextFree = this.#freeJobs;
    this.#freeJobs = job;
    this.#finish(request, status);
  }

  #finish(request: BlockRequest, status: BlockStatus): void {
    this.#busyCount--;
    request.status = status;
    request.done(request);
    if (this.#busyCount === 0) this.#onIdle?.();
  }

  #floor(offset: number): number {
    return offset - (offset % this.#sectorBytes);
  }

  #ceil(offset: number): number {
    return this.#floor(offset + this.#sectorBytes - 1);
  }
}

const NO_REQUEST = new BlockRequest(() => undefined);

/** An aligned part of a request on its way through; for a change, also the holder of its sectors. */
class Passage extends BlockRequest implements RangeHolder {
  request: BlockRequest = NO_REQUEST;
  startBytes = 0;
  endBytes = 0;
  readonly isExclusive = false;
  lockIndex = 0;
  nextWaiting: RangeHolder | null = null;
  nextFree: Passage | null = null;
  readonly #device: BlockDevice;

  constructor(device: BlockDevice, done: (request: BlockRequest) => void) {
    super(done);
    this.#device = device;
  }

  prepare(request: BlockRequest, offset: number, length: number): void {
    this.request = request;
    this.startBytes = offset;
    this.endBytes = offset + length;
    this.op = request.op;
    this.offset = offset;
    this.length = length;
    this.forceUnitAccess = request.forceUnitAccess;
    this.noHole = request.noHole;
    this.fastOnly = request.fastOnly;
    this.slab = request.slab;
    this.slabOffset = request.slabOffset;
  }

  onRange(): void {
    this.#device.submit(this);
  }

  forget(): void {
    this.request = NO_REQUEST;
    this.slab = null;
  }
}
