import { BlockOp, BlockStatus } from '../../../src/block/device.js';
import type {
  BlockDevice,
  BlockDeviceInfo,
  BlockExtent,
  BlockRequest,
} from '../../../src/block/device.js';

/** One submitted request as it was, for tests to look at: the request itself is used again. */
export interface SeenRequest {
  readonly op: BlockOp;
  readonly offset: number;
  readonly length: number;
  readonly forceUnitAccess: boolean;
  readonly noHole: boolean;
  readonly fastOnly: boolean;
}

const KIB = 1024;

/**
 * A disk in memory. It completes requests by itself at the end of the turn; or, when `holds` is set, when the test
 * says so. It does not check ranges: the server in front of it has to.
 */
export class RamDevice implements BlockDevice {
  /** Replaced when the disk changes its size. */
  info: BlockDeviceInfo;
  readonly bytes: Buffer;
  readonly seen: SeenRequest[] = [];
  /** Kept back until {@link complete}. */
  readonly held: BlockRequest[] = [];
  holds = false;
  /** Reads end well and leave their buffer as it was. */
  leavesReads = false;
  readonly queries: { readonly offset: number; readonly lengthBytes: number }[] = [];
  /** How many extents one query tells of. */
  extentsMax = Infinity;
  /** What requests end with. */
  status: BlockStatus = BlockStatus.ok;
  #due: BlockRequest[] = [];
  #spare: BlockRequest[] = [];
  #record: boolean;
  readonly #run = (): void => this.#runDue();

  constructor(
    sizeBytes: number,
    info: Partial<BlockDeviceInfo> = {},
    { record = true }: { readonly record?: boolean } = {},
  ) {
    this.bytes = Buffer.alloc(sizeBytes);
    this.#record = record;
    this.info = {
      sizeBytes,
      minimumBytes: 1,
      preferredBytes: 4 * KIB,
      transferBytesMax: 64 * KIB * KIB,
      compareBytesMax: 0,
      trimBytesMax: 0xffff_ffff,
      writeZeroesBytesMax: 0xffff_ffff,
      readOnly: false,
      canForceUnitAccess: true,
      canFlush: true,
      canTrim: true,
      canWriteZeroes: true,
      canCache: true,
      canFindZeroes: false,
      trimReadsZeroes: true,
      readsAreVerified: true,
      multiConnection: true,
      rotational: false,
      ...info,
    };
  }

  submit(request: BlockRequest): void {
    if (this.#record) {
      const { op, offset, length, forceUnitAccess, noHole, fastOnly } = request;
      this.seen.push({ op, offset, length, forceUnitAccess, noHole, fastOnly });
    }
    if (this.holds) {
      this.held.push(request);
      return;
    }
    if (this.#due.length === 0) queueMicrotask(this.#run);
    this.#due.push(request);
  }

  /** Carries out and completes a held request: the oldest, unless told which. */
  complete(index = 0, status: BlockStatus = this.status): void {
    const [request] = this.held.splice(index, 1);
    if (request === undefined) throw new Error('no request is held');
    this.#carryOut(request, status);
  }

  completeAll(): void {
    while (this.held.length > 0) this.complete();
  }

  /** By 512 bytes, without joining neighbours, when the disk can find zeroes. */
  queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]> {
    this.queries.push({ offset, lengthBytes });
    if (this.status !== BlockStatus.ok) return Promise.reject(new Error('the device has failed'));
    if (!this.info.canFindZeroes) {
      return Promise.resolve([{ lengthBytes, hole: false, zero: false }]);
    }
    const extents: BlockExtent[] = [];
    for (let at = offset; at < offset + lengthBytes && extents.length < this.extentsMax;) {
      const end = Math.min(at + 512 - (at % 512), offset + lengthBytes);
      const isZero = this.bytes.subarray(at, end).every((byte) => byte === 0);
      extents.push({ lengthBytes: end - at, hole: isZero, zero: isZero });
      at = end;
    }
    return Promise.resolve(extents);
  }

  /** What a client that is about to attach waits for. */
  refreshing: Promise<void> = Promise.resolve();
  refreshCount = 0;

  refresh(): Promise<void> {
    this.refreshCount++;
    return this.refreshing;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #runDue(): void {
    const due = this.#due;
    this.#due = this.#spare;
    for (const request of due) this.#carryOut(request, this.status);
    due.length = 0;
    this.#spare = due;
  }

  #carryOut(request: BlockRequest, status: BlockStatus): void {
    const { op, offset, length, slab, slabOffset } = request;
    if (status === BlockStatus.ok) {
      if (op === BlockOp.read && slab !== null) {
        if (!this.leavesReads) this.bytes.copy(slab.bytes, slabOffset, offset, offset + length);
      } else if (op === BlockOp.write && slab !== null) {
        slab.bytes.copy(this.bytes, offset, slabOffset, slabOffset + length);
      } else if (op === BlockOp.writeZeroes || op === BlockOp.trim) {
        this.bytes.fill(0, offset, offset + length);
      }
    }
    request.status = status;
    request.done(request);
  }
}
