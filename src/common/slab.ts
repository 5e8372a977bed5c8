import { atTurnEnd } from './later.js';
import { assert } from './assert.js';

let nextSlabId = 0;

/**
 * A piece of memory that is allocated once and never moves. RDMA devices register a slab as a whole, and find the
 * registration again by `id`. Ids count up from 0 in this process.
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
 * One buffer of a {@link SlabPool}. Data starts at `offset`. The `SLOT_HEADROOM_BYTES` before `offset` belong to the slot
 * too: a reply header goes there, and leaves with the data as one buffer.
 */
export interface BufferSlot {
  readonly slab: Slab;
  readonly offset: number;
  readonly capacity: number;
  /** The slab's bytes from `start` up to `end`, within the slot. The same range gives the same object. */
  view(start: number, end: number): Buffer;
  /** Gives the slot back. The caller makes sure that nothing will read or write its bytes any more. */
  release(): void;
}

/** Room before a slot's data: an NBD extended reply header (32 bytes) and the header of an offset chunk fit. */
export const SLOT_HEADROOM_BYTES = 64;

/** One size class: slots of `slotBytes`, at most `slotsMax` of them, allocated `slotsPerSlab` at a time. */
export interface SizeClass {
  readonly slotBytes: number;
  readonly slotsMax: number;
  readonly slotsPerSlab: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * Enough for 64 connections x 32 requests of 4 KiB, all from one host, which gets half of the slots (see SlabGroup); and
 * for the largest NBD request that a client may send without asking (32 MiB).
 */
export const DEFAULT_SIZE_CLASSES: readonly SizeClass[] = [
  { slotBytes: 4 * KIB, slotsMax: 4096, slotsPerSlab: 256 },
  { slotBytes: 32 * KIB, slotsMax: 512, slotsPerSlab: 32 },
  { slotBytes: 256 * KIB, slotsMax: 128, slotsPerSlab: 8 },
  { slotBytes: 2 * MIB, slotsMax: 16, slotsPerSlab: 1 },
  { slotBytes: 32 * MIB, slotsMax: 4, slotsPerSlab: 1 },
];

/**
 * The default classes, scaled to at most `totalBytes` (or a little more: every class keeps two slots, so that one holder
 * never has all slots of a class).
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

/** Hands out buffers. */
export interface SlotSource {
  /** The longest buffer that a caller may ask {@link acquire} for. */
  readonly requestBytesMax: number;
  /** A slot of at least `lengthBytes`; null when none is available now. */
  acquire(lengthBytes: number): BufferSlot | null;
  /** Calls `retry` once, soon after a slot may have become available. */
  whenAvailable(lengthBytes: number, retry: () => void): void;
}

/**
 * The buffers for I/O data, in size classes. Memory is allocated on first use and kept; the limits of the classes bound
 * it. When a class has run out, {@link acquire} returns null, and the caller stops reading from its peer until
 * {@link whenAvailable} calls back. This is the backpressure.
 */
export class SlabPool implements SlotSource {
  /** For the pool's shares; from the smallest slots to the largest. */
  readonly classes: readonly SlotClass[];
  readonly requestBytesMax: number;

  constructor(classes: readonly SizeClass[] = DEFAULT_SIZE_CLASSES) {
    this.classes = classes.map((sizeClass, index) => new SlotClass(sizeClass, index));
    this.requestBytesMax = classes.at(-1)?.slotBytes ?? 0;
  }

  /** A slot of at least `lengthBytes`, which must not be above `requestBytesMax`; null when none is free now. */
  acquire(lengthBytes: number): BufferSlot | null {
    return this.#classFor(lengthBytes).acquire(lengthBytes, null, false);
  }

  /** Calls `retry` once, soon after a slot for `lengthBytes` came free. */
  whenAvailable(lengthBytes: number, retry: () => void): void {
    this.#classFor(lengthBytes).wait({ isOver: false, mayTake: () => true, called: retry });
  }

  get usedCount(): number {
    return this.classes.reduce((sum, slotClass) => sum + slotClass.usedCount, 0);
  }

  get allocatedBytes(): number {
    return this.classes.reduce((sum, slotClass) => sum + slotClass.allocatedBytes, 0);
  }

  #classFor(lengthBytes: number): SlotClass {
    return classFor(this.classes, lengthBytes);
  }
}

/** The smallest class whose slots hold `lengthBytes`. */
export function classFor(classes: readonly SlotClass[], lengthBytes: number): SlotClass {
  for (const slotClass of classes) {
    if (lengthBytes <= slotClass.sizeClass.slotBytes) return slotClass;
  }
  assert(false, `no buffer slot holds ${lengthBytes} bytes`);
}

/** A class with this many slots or more keeps one slot in `KEPT_PART` for proven holders. */
const KEPT_CLASS_MIN = 4;
const KEPT_PART = 8;

/** A holder that waits for a slot of a class. */
export interface SlotWaiter {
  /** The holder does not wait any more. */
  readonly isOver: boolean;
  /** Whether the holder may have a slot now. */
  mayTake(slotClass: SlotClass): boolean;
  /** The holder's wait has ended. It may take a slot now, or wait again. */
  called(slotClass: SlotClass): void;
}

/** Hears when a slot comes back. */
export interface SlotHolder {
  gaveBack(slotClass: SlotClass): void;
}

/** The slots of one size, for the pool and its shares. */
export class SlotClass {
  readonly sizeClass: SizeClass;
  /** The class's place among the pool's classes. */
  readonly index: number;
  /** The number of last free slots that shares keep for the first slots of proven holders. */
  readonly keptCount: number;
  /** In the order in which they began to wait. */
  waiters: SlotWaiter[] = [];
  #spareWaiters: SlotWaiter[] = [];
  readonly #free: PooledSlot[] = [];
  #slotCount = 0;
  #callPending = false;
  allocatedBytes = 0;

  constructor(sizeClass: SizeClass, index: number) {
    this.sizeClass = sizeClass;
    this.index = index;
    const { slotsMax } = sizeClass;
    this.keptCount = slotsMax < KEPT_CLASS_MIN ? 0 : Math.max(1, Math.floor(slotsMax / KEPT_PART));
  }

  get usedCount(): number {
    return this.#slotCount - this.#free.length;
  }

  /** Slots that can still be handed out, with those whose memory is not allocated yet. */
  get freeCount(): number {
    return this.sizeClass.slotsMax - this.usedCount;
  }

  acquire(lengthBytes: number, user: object | null, clears: boolean): PooledSlot | null {
    if (this.#free.length === 0) this.#grow();
    const slot = this.#free.pop();
    if (slot === undefined) return null;
    slot.inUse = true;
    slot.serve(lengthBytes, user, clears);
    return slot;
  }

  wait(waiter: SlotWaiter): void {
    this.waiters.push(waiter);
  }

  giveBack(slot: PooledSlot): void {
    assert(slot.inUse, 'buffer slot released twice');
    slot.inUse = false;
    this.#free.push(slot);
    this.callSoon();
  }

  /** At the end of the present turn, calls the waiters that may take a slot. */
  callSoon(): void {
    if (this.waiters.length === 0 || this.#callPending) return;
    this.#callPending = true;
    atTurnEnd(this.#callWaiters);
  }

  readonly #callWaiters = (): void => {
    this.#callPending = false;
    const due = this.waiters;
    this.waiters = this.#spareWaiters;
    for (const waiter of due) {
      if (waiter.isOver) continue;
      if (this.freeCount > 0 && waiter.mayTake(this)) waiter.called(this);
      else this.waiters.push(waiter);
    }
    due.length = 0;
    this.#spareWaiters = due;
  };

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
  holder: SlotHolder | null = null;
  /** The user whose data is in the first `#usedBytes`. An earlier user's may be there too, unless `#isOnlyUser`. */
  #user: object | null = null;
  #usedBytes = 0;
  #isOnlyUser = false;
  /** The last view. Most requests have the same length, and a new view costs as much as copying 4 KiB. */
  #view: Buffer | null = null;
  #viewStart = 0;
  #viewEnd = 0;

  constructor(
    readonly owner: SlotClass,
    readonly slab: Slab,
    readonly offset: number,
    readonly capacity: number,
  ) {}

  /** `user` is going to use `lengthBytes`; see {@link SlabShare.serve}. */
  serve(lengthBytes: number, user: object | null, clears: boolean): void {
    if (user !== this.#user || (clears && !this.#isOnlyUser)) {
      this.#user = user;
      this.#isOnlyUser = clears;
      if (clears) {
        this.slab.bytes.fill(0, this.offset, this.offset + this.#usedBytes);
        this.#usedBytes = 0;
      }
    }
    if (lengthBytes > this.#usedBytes) this.#usedBytes = lengthBytes;
  }

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
