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
  /** The slab's bytes from `start` up to `end`, within the slot: the same object as long as one asks for the same. */
  view(start: number, end: number): Buffer;
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
 * The default classes, scaled to take `totalBytes` at most (or a little more: every class keeps two slots, so that
 * one holder never has all of it).
 */
export function sizeClassesWithin(totalBytes: number): readonly SizeClass[] {
  const defaultBytes = DEFAULT_SIZE_CLASSES.reduce(
    (sum, { slotBytes, slotsMax }) => sum + slotBytes * slotsMax,
    0,
  );
  const factor = totalBytes / defaultBytes;
  return DEFAULT_SIZE_CLASSES.map((sizeClass) => ({
    ...sizeClass,
    slotsMax: Math.max(2, Math.floor(sizeClass.slotsMax * factor)),
  }));
}

/** Where buffers come from. */
export interface SlotSource {
  /** The longest that {@link acquire} may be asked for. */
  readonly requestBytesMax: number;
  /** A slot of at least `lengthBytes`; null when none is to be had now. */
  acquire(lengthBytes: number): BufferSlot | null;
  /** Calls `retry` once, soon after it may be worth trying again. */
  whenAvailable(lengthBytes: number, retry: () => void): void;
}

/**
 * The buffers that I/O data lives in, in size classes. Memory is taken on first use and kept; the classes' limits
 * bound it. When a class has run out, {@link acquire} returns null and the caller stops reading its peer until
 * {@link whenAvailable} calls it back: that is the backpressure.
 */
export class SlabPool implements SlotSource {
  readonly #classes: SlotClass[];
  readonly requestBytesMax: number;

  constructor(classes: readonly SizeClass[] = DEFAULT_SIZE_CLASSES) {
    this.#classes = classes.map((sizeClass, index) => new SlotClass(sizeClass, index));
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

  /** A part of the pool for one of several holders that do not trust each other; see {@link SlabShare}. */
  share(bytesMax: number): SlabShare {
    return new SlabShare(this.#classes, bytesMax);
  }

  get usedCount(): number {
    return this.#classes.reduce((sum, slotClass) => sum + slotClass.usedCount, 0);
  }

  get allocatedBytes(): number {
    return this.#classes.reduce((sum, slotClass) => sum + slotClass.allocatedBytes, 0);
  }

  #classFor(lengthBytes: number): SlotClass {
    return classFor(this.#classes, lengthBytes);
  }
}

function classFor(classes: readonly SlotClass[], lengthBytes: number): SlotClass {
  for (const slotClass of classes) {
    if (lengthBytes <= slotClass.sizeClass.slotBytes) return slotClass;
  }
  assert(false, `no buffer slot holds ${lengthBytes} bytes`);
}

/**
 * One holder's part of a {@link SlabPool}. Of each class it may hold as many slots as are left free, at most: one
 * holder gets half of them, `n` that take all they can get an equal part each, and as much again stays free for the
 * next. So nobody who does not give slots back can take them all. `bytesMax` bounds a holder over all classes, but
 * for a single slot.
 */
export class SlabShare implements SlotSource {
  readonly #classes: readonly SlotClass[];
  readonly #bytesMax: number;
  /** By class. */
  readonly #heldCounts: number[];
  readonly #isQueued: boolean[];
  readonly #wakers: readonly (() => void)[];
  #heldBytes = 0;
  #retries: (() => void)[] = [];
  #spareRetries: (() => void)[] = [];
  #wakePending = false;
  readonly #wake = (): void => {
    this.#wakePending = false;
    this.#retry();
  };

  constructor(classes: readonly SlotClass[], bytesMax: number) {
    this.#classes = classes;
    this.#bytesMax = bytesMax;
    this.#heldCounts = classes.map(() => 0);
    this.#isQueued = classes.map(() => false);
    this.#wakers = classes.map(({ index }) => () => {
      this.#isQueued[index] = false;
      this.#retry();
    });
  }

  get requestBytesMax(): number {
    return this.#classes.at(-1)?.sizeClass.slotBytes ?? 0;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** It holds a slot of a class of which none is free, and for which somebody else waits. */
  get isWanted(): boolean {
    return this.#classes.some(
      ({ index, freeCount, waiters }) =>
        this.#held(index) > 0 &&
        freeCount === 0 &&
        waiters.length > (this.#isQueued[index] === true ? 1 : 0),
    );
  }

  acquire(lengthBytes: number): BufferSlot | null {
    const slotClass = classFor(this.#classes, lengthBytes);
    const { index, sizeClass } = slotClass;
    const held = this.#held(index);
    if (held >= slotClass.freeCount) return null;
    if (this.#heldBytes > 0 && this.#heldBytes + sizeClass.slotBytes > this.#bytesMax) return null;
    const slot = slotClass.acquire();
    if (slot === null) return null;
    slot.holder = this;
    this.#heldCounts[index] = held + 1;
    this.#heldBytes += sizeClass.slotBytes;
    return slot;
  }

  whenAvailable(lengthBytes: number, retry: () => void): void {
    const { index, waiters } = classFor(this.#classes, lengthBytes);
    this.#retries.push(retry);
    const waker = this.#wakers[index];
    if (this.#isQueued[index] === true || waker === undefined) return;
    this.#isQueued[index] = true;
    waiters.push(waker);
  }

  /** For {@link PooledSlot}. What is free now may be what this holder, and nobody else, waited for. */
  gaveBack({ index, sizeClass }: SlotClass): void {
    this.#heldCounts[index] = this.#held(index) - 1;
    this.#heldBytes -= sizeClass.slotBytes;
    if (this.#retries.length === 0 || this.#wakePending) return;
    this.#wakePending = true;
    process.nextTick(this.#wake);
  }

  #held(index: number): number {
    return this.#heldCounts[index] ?? 0;
  }

  #retry(): void {
    const due = this.#retries;
    this.#retries = this.#spareRetries;
    for (const retry of due) retry();
    due.length = 0;
    this.#spareRetries = due;
  }
}

class SlotClass {
  readonly sizeClass: SizeClass;
  /** Its place among the pool's classes. */
  readonly index: number;
  readonly waiters: (() => void)[] = [];
  readonly #free: PooledSlot[] = [];
  #slotCount = 0;
  #wakePending = false;
  allocatedBytes = 0;

  constructor(sizeClass: SizeClass, index: number) {
    this.sizeClass = sizeClass;
    this.index = index;
  }

  get usedCount(): number {
    return this.#slotCount - this.#free.length;
  }

  /** Slots that can still be handed out, those included whose memory is not taken yet. */
  get freeCount(): number {
    return this.sizeClass.slotsMax - this.usedCount;
  }

  acquire(): PooledSlot | null {
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
  holder: SlabShare | null = null;
  /** Replies to requests of one length are the usual case, and a view costs as much as copying 4 KiB. */
  #view: Buffer | null = null;
  #viewStart = 0;
  #viewEnd = 0;

  constructor(
    readonly owner: SlotClass,
    readonly slab: Slab,
    readonly offset: number,
    readonly capacity: number,
  ) {}

  view(start: number, end: number): Buffer {
    if (this.#view !== null && this.#viewStart === start && this.#viewEnd === end) {
      return this.#view;
    }
    this.#viewStart = start;
    this.#viewEnd = end;
    return (this.#view = this.slab.bytes.subarray(start, end));
  }

  release(): void {
    this.owner.giveBack(this);
    const { holder } = this;
    this.holder = null;
    holder?.gaveBack(this.owner);
  }
}
