import type { Slab } from '../common/slab.js';
import type { BouncePool, BounceUser } from './bounce.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice } from './device.js';
import { Edge } from './edge.js';
import { HeldRange } from './range-lock.js';

const NO_REQUEST = new BlockRequest(() => undefined);

/** Sectors of bounce memory that one job needs: two for each edge. */
export const BOUNCE_SECTORS = 4;

/**
 * One read, write or write zeroes that does not start, or does not end, at the boundary of a sector.
 *
 *     request          |--------------------------------|
 *     sectors     |  head   |  middle  ...   |   tail   |.|     head and tail: see Edge
 *     edges       |    |xxxx|                |xxxxxxxxxx|.|     middle: from and to the request's own memory
 *
 *     read    fetch edges and middle → done
 *     write   fetch edges → store edges and middle → done
 *
 * An aligned end has no edge: its sectors belong to the middle. A request within one sector has a head only.
 */
export class UnalignedJob implements BounceUser {
  request: BlockRequest = NO_REQUEST;
  status: BlockStatus = BlockStatus.ok;
  /** The range that the job must hold before it starts. */
  readonly range = new HeldRange(() => this.#bounce.take(this));
  next: BounceUser | null = null;

  readonly #device: BlockDevice;
  readonly #bounce: BouncePool;
  readonly #finished: (job: UnalignedJob) => void;
  readonly #usesCompare: boolean;
  #sectorBytes = 0;
  #bounceOffset = 0;
  readonly #head: Edge;
  readonly #middle: BlockRequest;
  readonly #tail: Edge;
  /** The middle's range; a head exists before it, a tail behind it. */
  #middleStart = 0;
  #middleEnd = 0;
  #isStoring = false;
  #partsOut = 0;

  /** `usesCompare`: edges are stored by compareAndWrite. */
  constructor(
    device: BlockDevice,
    {
      bounce,
      usesCompare,
      finished,
    }: {
      bounce: BouncePool;
      usesCompare: boolean;
      finished: (job: UnalignedJob) => void;
    },
  ) {
    this.#device = device;
    this.#bounce = bounce;
    this.#usesCompare = usesCompare;
    this.#finished = finished;
    const done = (status: BlockStatus): void => this.#partDone(status);
    this.#head = new Edge(device, done);
    this.#middle = new BlockRequest(({ status }) => done(status));
    this.#tail = new Edge(device, done);
  }

  /** Takes a request that was checked. It starts when its range is held. */
  prepare(request: BlockRequest, sectorBytes: number): void {
    const { range } = this;
    const end = request.offset + request.length;
    const headBytes = request.offset % sectorBytes;
    const tailBytes = end % sectorBytes;
    this.request = request;
    this.status = BlockStatus.ok;
    this.#sectorBytes = sectorBytes;
    range.access = request.op === BlockOp.read ? 'look' : 'revise';
    range.requester = request.requester;
    range.startBytes = request.offset - headBytes;
    range.endBytes = tailBytes === 0 ? end : end - tailBytes + sectorBytes;
    this.#middleStart = headBytes === 0 ? range.startBytes : range.startBytes + sectorBytes;
    this.#middleEnd = Math.max(this.#middleStart, end - tailBytes);
  }

  forget(): void {
    this.request = NO_REQUEST;
    this.#middle.slab = null;
    this.#head.forget();
    this.#tail.forget();
  }

  onBounce(slab: Slab, slabOffset: number): void {
    const isRead = this.request.op === BlockOp.read;
    this.#bounceOffset = slabOffset;
    this.#isStoring = false;
    // Counted before the first part is submitted: the phase is over when the count is back at zero.
    this.#partsOut = this.#edgeCount + (isRead && this.#hasMiddle ? 1 : 0);
    if (isRead && this.#hasMiddle) this.#submitMiddle();
    if (this.#hasHead) this.#fetchEdge(this.#head, this.range.startBytes, slab, slabOffset);
    if (this.#hasTail) {
      this.#fetchEdge(this.#tail, this.#middleEnd, slab, slabOffset + 2 * this.#sectorBytes);
    }
  }

  get #hasHead(): boolean {
    return this.range.startBytes < this.#middleStart;
  }

  get #hasMiddle(): boolean {
    return this.#middleStart < this.#middleEnd;
  }

  get #hasTail(): boolean {
    return this.#middleEnd < this.range.endBytes;
  }

  get #edgeCount(): number {
    return (this.#hasHead ? 1 : 0) + (this.#hasTail ? 1 : 0);
  }

  #fetchEdge(edge: Edge, sectorStart: number, slab: Slab, bounceOffset: number): void {
    const { request } = this;
    const sectorBytes = this.#sectorBytes;
    const usesCompare = this.#usesCompare;
    edge.fetch(request, { sectorStart, sectorBytes, slab, bounceOffset, usesCompare });
  }

  #submitMiddle(): void {
    const { request } = this;
    this.#middle.takeRange(request, this.#middleStart, this.#middleEnd - this.#middleStart);
    this.#device.submit(this.#middle);
  }

  #partDone(status: BlockStatus): void {
    if (this.status === BlockStatus.ok) this.status = status;
    this.#partsOut--;
    if (this.#partsOut > 0) return;
    const isRead = this.request.op === BlockOp.read;
    if (isRead || this.#isStoring || this.status !== BlockStatus.ok) this.#finish();
    else this.#store();
  }

  #store(): void {
    this.#isStoring = true;
    this.#partsOut = this.#edgeCount + (this.#hasMiddle ? 1 : 0);
    if (this.#hasMiddle) this.#submitMiddle();
    if (this.#hasHead) this.#head.store();
    if (this.#hasTail) this.#tail.store();
  }

  #finish(): void {
    this.#bounce.giveBack(this.#bounceOffset);
    this.#finished(this);
  }
}
