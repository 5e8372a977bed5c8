import type { Slab } from '../common/slab.js';
import type { BouncePool, BounceUser } from './bounce.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice } from './device.js';
import type { RangeHolder } from './range-lock.js';

const NO_REQUEST = new BlockRequest(() => undefined);

/**
 * One read, write or write zeroes that does not start or does not end at a sector.
 *
 *     request          |--------------------------------|
 *     sectors     |  head   |  middle  ...   |   tail   |.|     head and tail: bounce memory, one sector each
 *     edges       |    |xxxx|                |xxxxxxxxxx|.|     middle: the request's own memory
 *
 *     read    fetch edges and middle → copy edges out → done
 *     write   fetch edges → copy (or zero) into them → store edges and middle → done
 *
 * An edge that happens to be aligned belongs to the middle. A request within one sector has a head only.
 */
export class UnalignedJob implements RangeHolder, BounceUser {
  request: BlockRequest = NO_REQUEST;
  status: BlockStatus = BlockStatus.ok;
  startBytes = 0;
  endBytes = 0;
  readonly isExclusive = true;
  lockIndex = 0;
  nextWaiting: RangeHolder | null = null;
  nextBounceUser: BounceUser | null = null;
  nextFree: UnalignedJob | null = null;

  readonly #device: BlockDevice;
  readonly #bounce: BouncePool;
  readonly #finished: (job: UnalignedJob) => void;
  #sectorBytes = 0;
  #slab: Slab | null = null;
  #bounceOffset = 0;
  readonly #head: BlockRequest;
  readonly #middle: BlockRequest;
  readonly #tail: BlockRequest;
  /** The middle's range; a head exists before it, a tail behind it. */
  #middleStart = 0;
  #middleEnd = 0;
  #isStoring = false;
  #partsOut = 0;

  constructor(device: BlockDevice, bounce: BouncePool, finished: (job: UnalignedJob) => void) {
    this.#device = device;
    this.#bounce = bounce;
    this.#finished = finished;
    const done = (part: BlockRequest): void => this.#partDone(part);
    this.#head = new BlockRequest(done);
    this.#middle = new BlockRequest(done);
    this.#tail = new BlockRequest(done);
  }

  /** Takes a request that was checked. It starts when {@link onRange} is called. */
  prepare(request: BlockRequest, sectorBytes: number): void {
    const end = request.offset + request.length;
    const headBytes = request.offset % sectorBytes;
    const tailBytes = end % sectorBytes;
    this.request = request;
    this.status = BlockStatus.ok;
    this.#sectorBytes = sectorBytes;
    this.startBytes = request.offset - headBytes;
    this.endBytes = tailBytes === 0 ? end : end - tailBytes + sectorBytes;
    this.#middleStart = headBytes === 0 ? this.startBytes : this.startBytes + sectorBytes;
    this.#middleEnd = Math.max(this.#middleStart, end - tailBytes);
  }

  forget(): void {
    this.request = NO_REQUEST;
    this.#slab = null;
    for (const part of [this.#head, this.#middle, this.#tail]) part.slab = null;
  }

  onRange(): void {
    this.#bounce.take(this);
  }

  onBounce(slab: Slab, slabOffset: number): void {
    this.#slab = slab;
    this.#bounceOffset = slabOffset;
    this.#isStoring = false;
    // Counted before the first is submitted, as the job is over when the count comes back to zero.
    this.#partsOut = this.#edgeCount;
    if (this.request.op === BlockOp.read) {
      if (this.#hasMiddle) this.#partsOut++;
      if (this.#hasMiddle) this.#submitMiddle(BlockOp.read);
    }
    this.#submitEdges(BlockOp.read);
  }

  get #hasHead(): boolean {
    return this.startBytes < this.#middleStart;
  }

  get #hasTail(): boolean {
    return this.#middleEnd < this.endBytes;
  }

  get #hasMiddle(): boolean {
    return this.#middleStart < this.#middleEnd;
  }

  get #edgeCount(): number {
    return (this.#hasHead ? 1 : 0) + (this.#hasTail ? 1 : 0);
  }

  #submitEdges(op: BlockOp): void {
    if (this.#hasHead) this.#submitEdge(this.#head, op, this.startBytes, this.#bounceOffset);
    if (this.#hasTail) {
      const bounceOffset = this.#bounceOffset + this.#sectorBytes;
      this.#submitEdge(this.#tail, op, this.#middleEnd, bounceOffset);
    }
  }

  #submitEdge(part: BlockRequest, op: BlockOp, offset: number, slabOffset: number): void {
    part.op = op;
    part.offset = offset;
    part.length = this.#sectorBytes;
    part.forceUnitAccess = op === BlockOp.write && this.request.forceUnitAccess;
    part.slab = this.#slab;
    part.slabOffset = slabOffset;
    this.#device.submit(part);
  }

  #submitMiddle(op: BlockOp): void {
    const { request } = this;
    const part = this.#middle;
    part.op = op;
    part.offset = this.#middleStart;
    part.length = this.#middleEnd - this.#middleStart;
    part.forceUnitAccess = request.forceUnitAccess;
    part.noHole = request.noHole;
    part.fastOnly = request.fastOnly;
    part.slab = request.slab;
    part.slabOffset = request.slabOffset + (this.#middleStart - request.offset);
    this.#device.submit(part);
  }

  #partDone(part: BlockRequest): void {
    if (this.status === BlockStatus.ok) this.status = part.status;
    this.#partsOut--;
    if (this.#partsOut > 0) return;
    const isRead = this.request.op === BlockOp.read;
    if (this.#isStoring || this.status !== BlockStatus.ok) this.#finish();
    else if (isRead) this.#finishRead();
    else this.#store();
  }

  #finishRead(): void {
    this.#copyEdges(true);
    this.#finish();
  }

  #store(): void {
    this.#copyEdges(false);
    this.#isStoring = true;
    this.#partsOut = this.#edgeCount + (this.#hasMiddle ? 1 : 0);
    if (this.#hasMiddle) this.#submitMiddle(this.request.op);
    this.#submitEdges(BlockOp.write);
  }

  /** Moves the request's bytes of the edge sectors: out of bounce memory for a read, else into it. */
  #copyEdges(isRead: boolean): void {
    const { request } = this;
    const end = request.offset + request.length;
    if (this.#hasHead) {
      const start = request.offset;
      const length = Math.min(end, this.#middleStart) - start;
      this.#copyEdge(isRead, this.#bounceOffset + (start - this.startBytes), start, length);
    }
    if (this.#hasTail) {
      const bounceOffset = this.#bounceOffset + this.#sectorBytes;
      this.#copyEdge(isRead, bounceOffset, this.#middleEnd, end - this.#middleEnd);
    }
  }

  #copyEdge(isRead: boolean, bounceOffset: number, diskOffset: number, length: number): void {
    const bounce = this.#slab?.bytes;
    const { request } = this;
    const data = request.slab?.bytes;
    const dataOffset = request.slabOffset + (diskOffset - request.offset);
    if (request.op === BlockOp.writeZeroes) bounce?.fill(0, bounceOffset, bounceOffset + length);
    else if (isRead && data !== undefined) {
      bounce?.copy(data, dataOffset, bounceOffset, bounceOffset + length);
    } else if (bounce !== undefined)
      data?.copy(bounce, bounceOffset, dataOffset, dataOffset + length);
  }

  #finish(): void {
    this.#bounce.giveBack(this.#bounceOffset);
    this.#finished(this);
  }
}
