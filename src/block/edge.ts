import { assert } from '../common/assert.js';
import type { Slab } from '../common/slab.js';
import { BlockOp, BlockRequest, BlockStatus } from './device.js';
import type { BlockDevice } from './device.js';
import { COMPARE_ATTEMPTS_MAX } from './limits.js';

/**
 * A sector of which a request covers only a part.
 *
 *     read            fetch → copy the part to the request
 *     write, zeroes   fetch → change the part → store
 *
 * Where other programs may write to the device, storing is a compareAndWrite. It fails when the sector has changed since
 * it was fetched, and the edge begins again with the new bytes. So a change of the sector's other bytes is never lost.
 *
 * An edge uses two sectors of bounce memory: the fetched sector, then the sector to store.
 */
export class Edge {
  readonly #device: BlockDevice;
  readonly #part: BlockRequest;
  readonly #done: (status: BlockStatus) => void;
  #request: BlockRequest = NO_REQUEST;
  #slab: Slab | null = null;
  #fetchedOffset = 0;
  #storedOffset = 0;
  #partStart = 0;
  #partEnd = 0;
  #usesCompare = false;
  #isStoring = false;
  #attemptsLeft = 0;

  /** `done` is called once for each {@link fetch}, and once for each {@link store}. */
  constructor(device: BlockDevice, done: (status: BlockStatus) => void) {
    this.#device = device;
    this.#done = done;
    this.#part = new BlockRequest(() => this.#partDone());
  }

  /** Fetches the sector at `sectorStart`. For a read, copies the bytes that `request` covers to the request. */
  fetch(
    request: BlockRequest,
    { sectorStart, sectorBytes, slab, bounceOffset, usesCompare }: EdgePlace,
  ): void {
    this.#request = request;
    this.#slab = slab;
    this.#fetchedOffset = bounceOffset;
    this.#storedOffset = bounceOffset + sectorBytes;
    this.#partStart = Math.max(request.offset, sectorStart);
    this.#partEnd = Math.min(request.offset + request.length, sectorStart + sectorBytes);
    this.#usesCompare = usesCompare;
    this.#isStoring = false;
    this.#attemptsLeft = COMPARE_ATTEMPTS_MAX;
    const part = this.#part;
    part.offset = sectorStart;
    part.length = sectorBytes;
    part.slab = slab;
    part.requester = request.requester;
    this.#submitFetch();
  }

  /** Changes a copy of the fetched sector, and stores it. */
  store(): void {
    this.#change();
    const part = this.#part;
    this.#isStoring = true;
    part.op = this.#usesCompare ? BlockOp.compareAndWrite : BlockOp.write;
    part.forceUnitAccess = this.#request.forceUnitAccess;
    part.slabOffset = this.#usesCompare ? this.#fetchedOffset : this.#storedOffset;
    this.#device.submit(part);
  }

  forget(): void {
    this.#request = NO_REQUEST;
    this.#slab = null;
    this.#part.slab = null;
  }

  #submitFetch(): void {
    const part = this.#part;
    part.op = BlockOp.read;
    part.forceUnitAccess = false;
    part.slabOffset = this.#fetchedOffset;
    this.#device.submit(part);
  }

  #partDone(): void {
    const { op, status } = this.#part;
    if (op === BlockOp.read) this.#fetched(status);
    else if (status !== BlockStatus.mismatch) this.#done(status);
    else if (--this.#attemptsLeft > 0) this.#submitFetch();
    else this.#done(BlockStatus.ioError);
  }

  #fetched(status: BlockStatus): void {
    if (status === BlockStatus.ok && this.#isStoring) {
      this.store();
      return;
    }
    if (status === BlockStatus.ok && this.#request.op === BlockOp.read) this.#copyOut();
    this.#done(status);
  }

  #copyOut(): void {
    const bounce = this.#bounce;
    const { slab, slabOffset, offset } = this.#request;
    assert(slab !== null, 'a read without memory');
    const from = this.#fetchedOffset + this.#skipBytes;
    const to = slabOffset + (this.#partStart - offset);
    bounce.copy(slab.bytes, to, from, from + (this.#partEnd - this.#partStart));
  }

  /** Puts the request's bytes, or zeroes, into a copy of the sector. */
  #change(): void {
    const bounce = this.#bounce;
    bounce.copyWithin(this.#storedOffset, this.#fetchedOffset, this.#storedOffset);
    const { op, slab, slabOffset, offset } = this.#request;
    const at = this.#storedOffset + this.#skipBytes;
    const length = this.#partEnd - this.#partStart;
    if (op === BlockOp.writeZeroes) bounce.fill(0, at, at + length);
    else {
      assert(slab !== null, 'a write without memory');
      const from = slabOffset + (this.#partStart - offset);
      slab.bytes.copy(bounce, at, from, from + length);
    }
  }

  get #bounce(): Buffer {
    assert(this.#slab !== null, 'an edge without bounce memory');
    return this.#slab.bytes;
  }

  /** The bytes of the sector that are before the part. */
  get #skipBytes(): number {
    return this.#partStart - this.#part.offset;
  }
}

/** Where an edge is on the device and in memory. */
export interface EdgePlace {
  readonly sectorStart: number;
  readonly sectorBytes: number;
  /** Two sectors of bounce memory. */
  readonly slab: Slab;
  readonly bounceOffset: number;
  readonly usesCompare: boolean;
}

const NO_REQUEST = new BlockRequest(() => undefined);
