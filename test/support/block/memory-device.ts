import { checkRequest } from '../../../src/block/check.js';
import { BlockOp, BlockStatus } from '../../../src/block/device.js';
import type {
  BlockDevice,
  BlockDeviceInfo,
  BlockExtent,
  BlockRequest,
} from '../../../src/block/device.js';
import { until } from '../waiting.js';

/** Numbers from a seed, the same ones on every machine (Park and Miller's generator). */
export class SeededRandom {
  #state: number;

  constructor(seed: number) {
    this.#state = (seed % 2_147_483_646) + 1;
  }

  /** An integer in `[0, below)`. */
  below(below: number): number {
    this.#state = (this.#state * 48_271) % 2_147_483_647;
    return this.#state % below;
  }
}

export interface MemoryDeviceOptions {
  readonly sizeBytes?: number;
  readonly info?: Partial<BlockDeviceInfo>;
  /** Requests end in a random order of this seed. */
  readonly seed?: number;
}

/** What a request was when it arrived. */
export interface SeenRequest {
  readonly op: BlockOp;
  readonly offset: number;
  readonly length: number;
  readonly forceUnitAccess: boolean;
  readonly noHole: boolean;
  readonly fastOnly: boolean;
}

/**
 * A disk in memory that does everything as late and in as odd an order as the contract allows: a request takes
 * effect when it ends, and which of those in flight ends next is random. `isHeld` stops that until `release`.
 */
export class MemoryBlockDevice implements BlockDevice {
  info: BlockDeviceInfo;
  readonly bytes: Uint8Array;
  readonly seen: SeenRequest[] = [];
  /** Decides how a request ends; undefined lets it succeed. */
  fail: ((request: BlockRequest) => BlockStatus | undefined) | null = null;
  isHeld = false;
  isClosed = false;
  inFlightMax = 0;
  readonly inFlight: BlockRequest[] = [];
  readonly #random: SeededRandom;
  #isScheduled = false;

  constructor({ sizeBytes = 1 << 20, info = {}, seed = 1 }: MemoryDeviceOptions = {}) {
    this.bytes = new Uint8Array(sizeBytes);
    this.#random = new SeededRandom(seed);
    this.info = {
      sizeBytes,
      minimumBytes: 512,
      preferredBytes: 4096,
      transferBytesMax: sizeBytes,
      compareBytesMax: 512,
      trimBytesMax: sizeBytes,
      writeZeroesBytesMax: sizeBytes,
      readOnly: false,
      canForceUnitAccess: true,
      canFlush: true,
      canTrim: true,
      canWriteZeroes: true,
      canCache: true,
      canFindZeroes: true,
      trimReadsZeroes: true,
      readsAreVerified: true,
      multiConnection: true,
      rotational: false,
      ...info,
    };
  }

  submit(request: BlockRequest): void {
    const { op, offset, length, forceUnitAccess, noHole, fastOnly } = request;
    this.seen.push({ op, offset, length, forceUnitAccess, noHole, fastOnly });
    this.inFlight.push(request);
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight.length);
    this.#schedule();
  }

  queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]> {
    const { minimumBytes } = this.info;
    if (offset % minimumBytes !== 0 || lengthBytes % minimumBytes !== 0) {
      return Promise.reject(new Error('misaligned extent query'));
    }
    const extents: BlockExtent[] = [];
    for (let at = offset; at < offset + lengthBytes; at += minimumBytes) {
      const isZero = this.bytes.subarray(at, at + minimumBytes).every((byte) => byte === 0);
      extents.push({ lengthBytes: minimumBytes, hole: isZero, zero: isZero });
    }
    return Promise.resolve(extents);
  }

  refresh(): Promise<void> {
    return Promise.resolve();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    await until(() => this.inFlight.length === 0);
  }

  /** Lets the requests in flight, and all later ones, go on. */
  release(): void {
    this.isHeld = false;
    this.#schedule();
  }

  /** Ends the request at `index` of those in flight. */
  finish(index: number): void {
    const [request] = this.inFlight.splice(index, 1);
    if (request === undefined) throw new Error(`nothing in flight at ${index}`);
    request.status = this.#apply(request);
    request.done(request);
  }

  #schedule(): void {
    if (this.isHeld || this.#isScheduled || this.inFlight.length === 0) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (this.isHeld) return;
      this.finish(this.#random.below(this.inFlight.length));
      this.#schedule();
    });
  }

  #apply(request: BlockRequest): BlockStatus {
    const status = checkRequest(this.info, request);
    if (status !== BlockStatus.ok) return status;
    const failure = this.fail?.(request);
    if (failure !== undefined) return failure;
    const { op, offset, length, slab, slabOffset } = request;
    const disk = this.bytes.subarray(offset, offset + length);
    if (op === BlockOp.read) slab!.bytes.set(disk, slabOffset);
    if (op === BlockOp.write) disk.set(slab!.bytes.subarray(slabOffset, slabOffset + length));
    if (op === BlockOp.compareAndWrite) {
      const expected = slab!.bytes.subarray(slabOffset, slabOffset + length);
      if (Buffer.compare(disk, expected) !== 0) return BlockStatus.mismatch;
      disk.set(slab!.bytes.subarray(slabOffset + length, slabOffset + 2 * length));
    }
    if (op === BlockOp.trim || op === BlockOp.writeZeroes) disk.fill(0);
    return BlockStatus.ok;
  }
}
