import { assert } from '../common/assert.js';
import { LinkedQueue } from '../common/linked-queue.js';
import type { Linked } from '../common/linked-queue.js';
import { SlabPool } from '../common/slab.js';
import type { BufferSlot, Slab } from '../common/slab.js';
import { BOUNCE_BYTES, BOUNCE_PIECE_BYTES_MAX } from './limits.js';

/**
 * The source of bounce memory. The pool of the data would not do: each open device keeps a slot, so that many devices
 * would use up the pool. This pool is limited by the number of devices only, and gives the slabs of closed devices to the
 * next ones.
 */
export const bounceSlabs = new SlabPool([
  { slotBytes: BOUNCE_BYTES, slotsMax: Number.MAX_SAFE_INTEGER, slotsPerSlab: 4 },
  { slotBytes: BOUNCE_PIECE_BYTES_MAX, slotsMax: Number.MAX_SAFE_INTEGER, slotsPerSlab: 1 },
]);

/** A request that waits for a piece of bounce memory. */
export interface BounceUser extends Linked<BounceUser> {
  /** The piece at `slabOffset` is the user's until `giveBack`. Called inside `take` or `giveBack`, or later. */
  onBounce(slab: Slab, slabOffset: number): void;
}

/**
 * One slot of the slab pool, cut into pieces of `pieceBytes` that are lent in order of request. The constructor asks for
 * the slot, before any request can wait here: later, all slots of the pool could be held by requests that wait for a
 * piece.
 */
export class BouncePool {
  readonly #free: number[] = [];
  #slot: BufferSlot | null = null;
  #isReleased = false;
  readonly #waiting = new LinkedQueue<BounceUser>();

  constructor(
    readonly pool: SlabPool,
    readonly pieceBytes: number,
  ) {
    this.#reserve();
  }

  take(user: BounceUser): void {
    this.#waiting.push(user);
    this.#serve();
  }

  giveBack(slabOffset: number): void {
    this.#free.push(slabOffset);
    this.#serve();
  }

  /** Gives the slot back. No request uses a piece or waits for one any more. */
  release(): void {
    this.#isReleased = true;
    this.#slot?.release();
    this.#slot = null;
    this.#free.length = 0;
  }

  #reserve(): void {
    if (this.#isReleased) return;
    const lengthBytes = Math.max(
      this.pieceBytes,
      Math.min(BOUNCE_BYTES, this.pool.requestBytesMax),
    );
    const slot = this.pool.acquire(lengthBytes);
    if (slot === null) {
      this.pool.whenAvailable(lengthBytes, () => this.#reserve());
      return;
    }
    this.#slot = slot;
    // The slot may hold data of another device, which must not get into a read of this one.
    slot.slab.bytes.fill(0, slot.offset, slot.offset + lengthBytes);
    const endMax = lengthBytes - this.pieceBytes;
    for (let at = 0; at <= endMax; at += this.pieceBytes) this.#free.push(slot.offset + at);
    this.#serve();
  }

  #serve(): void {
    while (this.#slot !== null && this.#free.length > 0) {
      const user = this.#waiting.shift();
      if (user === null) return;
      const slabOffset = this.#free.pop();
      assert(slabOffset !== undefined, 'a free piece of bounce memory that is not there');
      user.onBounce(this.#slot.slab, slabOffset);
    }
  }
}
