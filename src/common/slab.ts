import { assert } from './assert.js';

let nextSlabId = 0;

/**
 * A piece of memory that is allocated once and never moves. RDMA devices register it as a whole, and find that
 * registration again by `id`, which counts up from 0 in this process.
 */
export class Slab {
  readonly id = nextSlabId++;
  readonly bytes: Buffer;
  readonly view: DataView;

  constructor(lengthBytes: number) {
    this.bytes = Buffer.allocUnsafeSlow(lengthBytes).fill(0);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, lengthBytes);
  }

  get length(): number {
    return this.bytes.length;
  }
}

/**
 * One buffer of a {@link SlabPool}. Data starts at `offset`; the `SLOT_HEADROOM_BYTES` before it belong to the
 * slot too, so that a reply header can be put there and leave with the data as one buffer.
 */
export interface BufferSlot {
  readonly slab: Slab;
  readonly offset: number;
  readonly capacity: number;
  /** Gives the slot back. Only when nobody will read or write its bytes again. */
  release(): void;
}

/** Room before a slot's data: an NBD extended reply header (32 bytes) and an offset chunk header fit. */
export const SLOT_HEADROOM_BYTES = 64;

/** One size class: slots of `slotBytes`, at most `slotsMax` of them, allocated `slotsPerSlab` at a time. */
export interface SizeClass {
  readonly slotBytes: number;
  readonly slotsMax: number;
  readonly slotsPerSlab: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/** 64 connections x 32 requests of 4 KiB, and the largest NBD request that a client may send unasked (32 MiB). */
export const DEFAULT_SIZE_CLASSES: readonly SizeClass[] = [
  { slotBytes: 4 * KIB, slotsMax: 2048, slotsPerSlab: 256 },
  { slotBytes: 32 * KIB, slotsMax: 512, slotsPerSlab: 32 },
  { slotBytes: 256 * KIB, slotsMax: 128, slotsPerSlab: 8 },
  { slotBytes: 2 * MIB, slotsMax: 16, slotsPerSlab: 1 },
  { slotBytes: 32 * MIB, slotsMax: 4, slotsPerSlab: 1 },
];

/**
 * The buffers that I/O data lives in, in size classes. Memory is taken on first use and kept; the classes' limits
 * bound it. When a class has run out, {@link acquire} returns null and the caller stops reading its peer until
 * {@link whenAvailable} calls it back: that is the backpressure.
 */
export class SlabPool {
  readonly #classes: SlotClass[];
  readonly requestBytesMax: number;

  constructor(classes: readonly SizeClass[] = DEFAULT_SIZE_CLASSES) {
    this.#classes = classes.map((sizeClass) => new SlotClass(sizeClass));
    this.requestBytesMax = classes.at(-1)?.slotBytes ?? 0;
  }

  /** A slot of at least `lengthBytes`, which must not be above `requestBytesMax`; null when none is free now. */
  acquire(lengthBytes: number): BufferSlot | null {
    return this.#classFor(lengthBytes).acquire();
  }

  /** Calls `retry` once, soon after a slot that {@link acquire} could hand out for `lengthBytes` came free. */
  whenAvailable(lengthBytes: number, retry: () => void): void {
    this.#classFor(lengthBytes).waiters.push(retry);
  }

  get usedCount(): number {
    return this.#classes.reduce((sum, slotClass) => sum + slotClass.usedCount, 0);
  }

  get allocatedBytes(): number {
    return this.#classes.reduce((sum, slotClass) => sum + slotClass.allocatedBytes, 0);
  }

  #classFor(lengthBytes: number): SlotClass {
    for (const slotClass of this.#classes) {
      if (lengthBytes <= slotClass.sizeClass.slotBytes) return slotClass;
    }
    assert(false, `no buffer slot holds ${lengthBytes} bytes`);
  }
}

class SlotClass {
  readonly sizeClass: SizeClass;
  readonly waiters: (() => void)[] = [];
  readonly #free: PooledSlot[] = [];
  #slotCount = 0;
  #wakePending = false;
  allocatedBytes = 0;

  constructor(sizeClass: SizeClass) {
    this.sizeClass = sizeClass;
  }

  get usedCount(): number {
    return this.#slotCount - this.#free.length;
  }

  acquire(): BufferSlot | null {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop();
    if (slot === undefined) return null;
    slot.inUse = true;
    return slot;
  }

  giveBack(slot: PooledSlot): void {
    assert(slot.inUse, 'buffer slot released twice');
    slot.inUse = false;
    this.#free.push(slot);
    if (this.waiters.length > 0 && !this.#wakePending) {
      this.#wakePending = true;
      process.nextTick(() => this.#wake());
    }
  }

  #wake(): void {
    this.#wakePending = false;
    // Each waiter may take a slot, or find that an earlier one took the last and queue again.
    for (let count = this.waiters.length; count > 0 && this.#free.length > 0; count--) {
      this.waiters.shift()?.();
    }
  }

  #grow(): void {
    const { slotBytes, slotsMax, slotsPerSlab } = this.sizeClass;
    const count = Math.min(slotsPerSlab, slotsMax - this.#slotCount);
    if (count <= 0) return;
    const strideBytes = SLOT_HEADROOM_BYTES + slotBytes;
    const slab = new Slab(strideBytes * count);
    this.allocatedBytes += slab.length;
    this.#slotCount += count;
    for (let index = count - 1; index >= 0; index--) {
      this.#free.push(
        new PooledSlot(this, slab, index * strideBytes + SLOT_HEADROOM_BYTES, slotBytes),
      );
    }
  }
}

class PooledSlot implements BufferSlot {
  inUse = false;

  constructor(
    readonly owner: SlotClass,
    readonly slab: Slab,
    readonly offset: number,
    readonly capacity: number,
  ) {}

  release(): void {
    this.owner.giveBack(this);
  }
}
