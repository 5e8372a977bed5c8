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
 * The holders of one origin, such as an IP address. Their parts of a pool are counted together: slots that the holders of
 * one origin do not give back are not missing to the holders of another. A group holds at most as many slots of a class
 * as it leaves free: one group gets half of them. Of `n` groups that take all they can, each gets an equal part, and one
 * such part stays free for the next group.
 *
 * The holders of a group share its part in the same way, and no holder takes a second slot while another holder waits
 * for its first. A holder's first slot may come from the part that the group leaves to others: for any holder while the
 * group has less than two thirds of the class, for a proven one (see {@link SlabShare.isProven}) while the group has less
 * than three quarters. So holders that give back their slots always go on, one slot at a time, beside any number of
 * holders that do not.
 */
export class SlabGroup {
  /** By class. */
  readonly heldCounts: number[];
  /** By class, the number of holders that wait and have no slot. */
  readonly starvingCounts: number[];
  readonly #classes: readonly SlotClass[];

  constructor({ classes }: SlabPool) {
    this.#classes = classes;
    this.heldCounts = classes.map(() => 0);
    this.starvingCounts = classes.map(() => 0);
  }

  /** The part of one holder. `bytesMax` bounds its bytes in all classes together; a single slot may be larger. */
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
  /** The user whose data goes into the slots, and whether the slots must contain no other user's data. */
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
   * From now on the slots are for the data of `user`; any object may stand for a user. With `clears`, a slot that held
   * another user's data is cleared before it is handed out. A user needs that when its reads can end before all its data
   * has come.
   */
  serve(user: object, clears: boolean): void {
    this.#user = user;
    this.#clears = clears;
  }

  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** The holder has been seen to give back its slots. The code that watches the holder sets this. */
  get isProven(): boolean {
    return this.#isProven;
  }

  set isProven(isProven: boolean) {
    if (isProven === this.#isProven) return;
    this.#isProven = isProven;
    if (isProven) this.#retrySoon();
  }

  /**
   * This share holds a slot that another share waits for, which has none of that class. The waiting share is in the same
   * group, or in any group where hardly any slot is free.
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

  /** The holder wants no more slots and is not called any more. It still gives back the slots that it has. */
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
    // Twice what the group may still take: one holder alone gets nearly all of it, and several get equal parts.
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
    // This share's own bounds may have refused it a slot. Nothing else knows that, so it tries again by itself.
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
    // Other shares of the group may now take the slot that this one waited for.
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
