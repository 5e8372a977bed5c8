import { assert } from '../common/assert.js';
import { FreeList } from '../common/free-list.js';
import { NOBODY, Requester } from '../common/requester.js';
import type { SlabPool } from '../common/slab.js';
import { BouncePool, bounceSlabs } from './bounce.js';
import { checkRequest, isMutation } from './check.js';
import { Completions } from './completions.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice, BlockDeviceInfo, BlockExtent } from './device.js';
import { clipExtents } from './extents.js';
import { HeldRange, RangeLock } from './range-lock.js';
import { BOUNCE_SECTORS, UnalignedJob } from './unaligned.js';

export interface AligningOptions {
  /** The source of bounce memory. Not the pool of the data: the device keeps one slot for as long as it is open. */
  readonly pool?: SlabPool;
  /** Devices over one medium share one lock. */
  readonly lock?: RangeLock;
  /** Only devices that share the lock write to the medium. */
  readonly isExclusive?: boolean;
}

/**
 * Puts requests that overlap in order, and lets requests begin and end at any byte of a device of sectors.
 *
 * - Every change holds its range in a {@link RangeLock} until the device has ended the change. Overlapping requests of
 *   other requesters wait for that; see RangeLock.
 * - Aligned reads and flushes pass through untouched while no other requester is changing anything.
 * - An unaligned read fetches its first and last sector into bounce memory, and the sectors between into their place.
 * - An unaligned write or write zeroes reads the sectors at its edges, changes their bytes and writes the sectors back.
 *   From before that read until after that write it excludes every other change of these sectors. Otherwise a request
 *   that reads early and writes late would undo the change of another one (a lost update). Where other programs can
 *   write to the medium, without the lock, the edges are written by compareAndWrite. When the device cannot do that,
 *   this device takes whole sectors only, and its `info` says so.
 * - An unaligned trim shrinks to the whole sectors in its range, as trimming is a hint. A cache request grows.
 *
 * The device takes bounce memory from the pool once, when it is made. A request holds its sectors before it asks for
 * bounce memory, and after that waits for the device only. So there is no deadlock, however many buffers of the pool are
 * held by requests that wait here.
 */
export class AligningDevice implements BlockDevice {
  readonly #device: BlockDevice;
  readonly #sectorBytes: number;
  readonly #isExclusive: boolean;
  readonly #completions = new Completions();
  readonly #lock: RangeLock;
  readonly #bounce: BouncePool;
  /** The requester of queries for extents. It changes nothing itself, so it waits for all changes. */
  readonly #observer = new Requester();
  /** Unbounded here, as are the jobs: a request has one, and whoever submits requests has a limit on them. */
  readonly #passages = new FreeList(
    Infinity,
    () => new Passage(this.#device, (done) => this.#passed(done as Passage)),
  );
  readonly #jobs = new FreeList(Infinity, () => this.#newJob());
  /** Requests that this device works on, or that wait here. */
  #busyCount = 0;
  #isClosed = false;
  #closing: Promise<void> | null = null;
  #onIdle: (() => void) | null = null;
  #innerInfo: BlockDeviceInfo;
  #info: BlockDeviceInfo;

  constructor(
    device: BlockDevice,
    { pool = bounceSlabs, lock = new RangeLock(), isExclusive = true }: AligningOptions = {},
  ) {
    this.#device = device;
    this.#sectorBytes = device.info.minimumBytes;
    this.#isExclusive = isExclusive;
    this.#lock = lock;
    this.#bounce = new BouncePool(pool, BOUNCE_SECTORS * this.#sectorBytes);
    this.#innerInfo = device.info;
    this.#info = this.#infoOver(device.info);
  }

  get info(): BlockDeviceInfo {
    const innerInfo = this.#device.info;
    if (innerInfo !== this.#innerInfo) {
      assert(innerInfo.minimumBytes === this.#sectorBytes, 'a device changed its sector size');
      this.#innerInfo = innerInfo;
      this.#info = this.#infoOver(innerInfo);
    }
    return this.#info;
  }

  #infoOver(inner: BlockDeviceInfo): BlockDeviceInfo {
    const takesAnyByte = this.#isExclusive || inner.compareBytesMax >= this.#sectorBytes;
    return { ...inner, minimumBytes: takesAnyByte ? 1 : this.#sectorBytes };
  }

  submit(request: BlockRequest): void {
    if (this.#isClosed) {
      this.#completions.finishSoon(request, BlockStatus.shutdown);
      return;
    }
    const { op, offset, length } = request;
    const sectorBytes = this.#sectorBytes;
    if (offset % sectorBytes === 0 && length % sectorBytes === 0) {
      if (length > 0 && !this.#passesFreely(request)) this.#pass(request, offset, length);
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
    await this.#untilUnchanged(start, end);
    const extents = await this.#device.queryExtents(start, end - start);
    return clipExtents(extents, offset - start, lengthBytes);
  }

  refresh(): Promise<void> {
    return this.#device.refresh();
  }

  /** Resolves when all changes of that range that are under way now have ended. */
  async #untilUnchanged(startBytes: number, endBytes: number): Promise<void> {
    if (this.#lock.isClearFor(this.#observer)) return;
    this.#busyCount++;
    await new Promise<void>((resolve) => {
      const range = new HeldRange(resolve);
      range.startBytes = startBytes;
      range.endBytes = endBytes;
      range.requester = this.#observer;
      this.#lock.acquire(range);
    });
    this.#leave();
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

  /** The request changes nothing, and no other requester is changing anything. */
  #passesFreely({ op, requester }: BlockRequest): boolean {
    return !isMutation(op) && this.#lock.isClearFor(requester);
  }

  /** Zeroing the edges takes a read and a write, which is not fast. That must be known before the request begins. */
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
        this.#lock.acquire(job.range);
      }
    }
  }

  /** Hands down `[offset, offset + length)` of a request when its turn has come. */
  #pass(request: BlockRequest, offset: number, length: number): void {
    const passage = this.#takePassage();
    passage.prepare(request, offset, length);
    this.#lock.acquire(passage.range);
  }

  #takePassage(): Passage {
    this.#busyCount++;
    return this.#passages.take();
  }

  #passed(passage: Passage): void {
    const { request, status } = passage;
    if (isMutation(passage.op)) this.#lock.release(passage.range);
    passage.forget();
    this.#passages.give(passage);
    this.#finish(request, status);
  }

  #takeJob(): UnalignedJob {
    this.#busyCount++;
    return this.#jobs.take();
  }

  #newJob(): UnalignedJob {
    return new UnalignedJob(this.#device, {
      bounce: this.#bounce,
      usesCompare: !this.#isExclusive,
      finished: (job) => this.#jobDone(job),
    });
  }

  #jobDone(job: UnalignedJob): void {
    const { request, status } = job;
    if (isMutation(request.op)) this.#lock.release(job.range);
    job.forget();
    this.#jobs.give(job);
    this.#finish(request, status);
  }

  #finish(request: BlockRequest, status: BlockStatus): void {
    request.status = status;
    request.done(request);
    this.#leave();
  }

  #leave(): void {
    this.#busyCount--;
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

/** An aligned part of a request on its way through. */
class Passage extends BlockRequest {
  request: BlockRequest = NO_REQUEST;
  readonly range: HeldRange;

  constructor(device: BlockDevice, done: (request: BlockRequest) => void) {
    super(done);
    this.range = new HeldRange(() => device.submit(this));
  }

  prepare(request: BlockRequest, offset: number, length: number): void {
    const { range } = this;
    this.request = request;
    range.startBytes = offset;
    range.endBytes = offset + length;
    range.access = isMutation(request.op) ? 'change' : 'look';
    range.requester = request.requester;
    this.takeRange(request, offset, length);
  }

  forget(): void {
    this.request = NO_REQUEST;
    this.requester = NOBODY;
    this.slab = null;
  }
}
