import { atTurnEnd } from './later.js';
import { classFor } from './slab.js';
import type {
  BufferSlot,
  SlabPool,
  SlotClass,
  SlotHolder,
  SlotSource,
  SlotWaiter,
} from './slab.js';

/**
 * The holders of one origin, an IP address say, whose parts of a pool count together: what holders of one origin do
 * not give back, those of others do not miss. Of each class a group may hold as many slots as it leaves free, at most:
 * one group gets half of them, `n` that take all they can get an equal part each, and as much again stays free for the
 * next.
 *
 * Among themselves, holders share likewise, and none takes a second slot while another one waits that has none. The
 * first slot of a holder may come out of what the group leaves to others: that of any holder while the group has less
 * than two thirds, that of one that is proven (see {@link SlabShare.isProven}) while it has less than three quarters.
 * So those who give back what they get go on, one slot at a time, beside any number of others that do not.
 */
export class SlabGroup {
  /** By class. */
  readonly heldCounts: number[];
  /** By class, the holders that wait and have none. */
  readonly starvingCounts: number[];
  readonly #classes: readonly SlotClass[];

  constructor({ classes }: SlabPool) {
    this.#classes = classes;
    this.heldCounts = classes.map(() => 0);
    this.starvingCounts = classes.map(() => 0);
  }

  /** The part of one holder, of which `bytesMax` bounds all classes together, but for a single slot. */
  share(bytesMax: number): SlabShare {
    return new SlabShare(this, this.#classes, bytesMax);
  }
}

/** One holder's part of a pool; see {@link SlabGroup}. */
export class SlabShare implements SlotSource, SlotHolder, SlotWaiter {
  readonly #group: SlabGroup;
  readonly #classes: readonly SlotClass[];
  readonly #bytesMax: number;
  /** By class. */
  readonly #heldCounts: number[];
  readonly #isQueued: boolean[];
  readonly #isStarving: boolean[];
  /** Whose data goes into the slots, and whether nobody else's may be found there. */
  #user: object | null = null;
  #clears = false;
  #heldBytes = 0;
  #isProven = false;
  #isOver = false;
  #retries: (() => void)[] = [];
  #spareRetries: (() => void)[] = [];
  #retryPending = false;
  readonly #retryNow = (): void => {
    this.#retryPending = false;
    this.#retry();
  };

  constructor(group: SlabGroup, classes: readonly SlotClass[], bytesMax: number) {
    this.#group = group;
    this.#classes = classes;
    this.#bytesMax = bytesMax;
    this.#heldCounts = classes.map(() => 0);
    this.#isQueued = classes.map(() => false);
    this.#isStarving = classes.map(() => false);
  }

  get requestBytesMax(): number {
    return this.#classes.at(-1)?.sizeClass.slotBytes ?? 0;
  }

  /**
   * From now on the slots are for the data of `user`, whatever object stands for it. With `clears`, a slot that held
   * anybody else's data is cleared before it is handed out: for a user whose data may turn out not to have come.
   */
  serve(user: object, clears: boolean): void {
    this.#user = user;
    this.#clears = clears;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The holder has been seen to give back what it gets. Whoever watches it says so. */
  get isProven(): boolean {
    return this.#isProven;
  }

  set isProven(isProven: boolean) {
    if (isProven === this.#isProven) return;
    this.#isProven = isProven;
    if (isProven) this.#retrySoon();
  }

  /**
   * It holds a slot of a class for which somebody waits who has none, and whom that slot would help: a holder of the
   * same group, or anybody where hardly any is free.
   */
  get isWanted(): boolean {
    return this.#classes.some((slotClass) => {
      if (this.#held(slotClass.index) === 0) return false;
      const isScarce = slotClass.freeCount <= slotClass.keptCount;
      return slotClass.waiters.some((waiter) => {
        if (waiter === this || waiter.isOver || !(waiter instanceof SlabShare)) return false;
        return waiter.#held(slotClass.index) === 0 && (isScarce || waiter.#group === this.#group);
      });
    });
  }

  acquire(lengthBytes: number): BufferSlot | null {
    const slotClass = classFor(this.#classes, lengthBytes);
    if (!this.mayTake(slotClass)) return null;
    const slot = slotClass.acquire(lengthBytes, this.#user, this.#clears);
    if (slot === null) return null;
    slot.holder = this;
    const { index, sizeClass } = slotClass;
    this.#setHeld(index, this.#held(index) + 1);
    this.#heldBytes += sizeClass.slotBytes;
    return slot;
  }

  whenAvailable(lengthBytes: number, retry: () => void): void {
    const slotClass = classFor(this.#classes, lengthBytes);
    this.#retries.push(retry);
    const { index } = slotClass;
    if (this.#isQueued[index] === true || this.#isOver) return;
    this.#isQueued[index] = true;
    this.#noteStarving(index);
    slotClass.wait(this);
  }

  /** The holder wants no more, and is not called any more. What it has it still gives back. */
  close(): void {
    this.#isOver = true;
    this.#retries.length = 0;
    for (const { index } of this.#classes) {
      this.#isQueued[index] = false;
      this.#noteStarving(index);
    }
  }

  // SlotWaiter

  get isOver(): boolean {
    return this.#isOver;
  }

  mayTake(slotClass: SlotClass): boolean {
    const { index, sizeClass, freeCount, keptCount } = slotClass;
    if (freeCount === 0 || this.#isOver) return false;
    if (this.#heldBytes > 0 && this.#heldBytes + sizeClass.slotBytes > this.#bytesMax) return false;
    const held = this.#held(index);
    const groupHeld = this.#group.heldCounts[index] ?? 0;
    const spareCount = freeCount - keptCount;
    if (held === 0) return groupHeld < (this.#isProven ? 3 * freeCount : 2 * spareCount);
    if ((this.#group.starvingCounts[index] ?? 0) > 0) return false;
    // What the group may still take, twice: one holder alone gets nearly all of it, and several get equal parts.
    return held < 2 * (spareCount - groupHeld);
  }

  called({ index }: SlotClass): void {
    this.#isQueued[index] = false;
    this.#noteStarving(index);
    this.#retry();
  }

  // SlotHolder

  gaveBack({ index, sizeClass }: SlotClass): void {
    this.#setHeld(index, this.#held(index) - 1);
    this.#heldBytes -= sizeClass.slotBytes;
    // What its own bytes or slots kept from it is known to nobody else.
    this.#retrySoon();
  }

  #setHeld(index: number, count: number): void {
    const { heldCounts } = this.#group;
    heldCounts[index] = (heldCounts[index] ?? 0) + count - this.#held(index);
    this.#heldCounts[index] = count;
    this.#noteStarving(index);
  }

  #held(index: number): number {
    return this.#heldCounts[index] ?? 0;
  }

  #noteStarving(index: number): void {
    const isStarving = this.#isQueued[index] === true && this.#held(index) === 0;
    if (isStarving === this.#isStarving[index]) return;
    this.#isStarving[index] = isStarving;
    const { starvingCounts } = this.#group;
    starvingCounts[index] = (starvingCounts[index] ?? 0) + (isStarving ? 1 : -1);
    // What it waited for, others of the group may have now.
    if (!isStarving) this.#classes[index]?.callSoon();
  }

  #retrySoon(): void {
    if (this.#retries.length === 0 || this.#retryPending) return;
    this.#retryPending = true;
    atTurnEnd(this.#retryNow);
  }

  #retry(): void {
    const due = this.#retries;
    this.#retries = this.#spareRetries;
    for (const retry of due) retry();
    due.length = 0;
    this.#spareRetries = due;
  }
}
