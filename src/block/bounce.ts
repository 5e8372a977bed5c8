import { assert } from '../common/assert.js';
import { ConfigError } from '../common/errors.js';
import { LinkedQueue } from '../common/linked-queue.js';
import type { Linked } from '../common/linked-queue.js';
import { SlabPool } from '../common/slab.js';
import type { BufferSlot, Slab } from '../common/slab.js';
import { BOUNCE_BYTES, BOUNCE_DEVICES_MAX, BOUNCE_PIECE_BYTES_MAX } from './limits.js';

/**
 * The source of bounce memory, apart from the pool of the data, whose slots would be used up by as many open devices. It
 * keeps the slabs of closed devices for the next ones. None of its slots comes free before a device is closed, so who
 * finds it used up is told, and does not wait.
 */
export const bounceSlabs = new SlabPool([
  { slotBytes: BOUNCE_BYTES, slotsMax: BOUNCE_DEVICES_MAX, slotsPerSlab: 4 },
  { slotBytes: BOUNCE_PIECE_BYTES_MAX, slotsMax: BOUNCE_DEVICES_MAX, slotsPerSlab: 1 },
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

  /** @throws ConfigError when the pool is {@link bounceSlabs}, and as many devices are open as may be */
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
      if (this.pool === bounceSlabs) throw tooManyDevices();
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
      assert(slabOffset !== undefined, 'the list of free bounce memory is inconsistent');
      user.onBounce(this.#slot.slab, slabOffset);
    }
  }
}

function tooManyDevices(): ConfigError {
  return new ConfigError(
    'too-many-devices',
    `one process serves at most ${BOUNCE_DEVICES_MAX} disks; serve the others from another process`,
  );
}
