/** Something that changes the blocks `[startBytes, endBytes)` of a device. */
export interface RangeHolder {
  startBytes: number;
  endBytes: number;
  /** Excludes every other holder of an overlapping range; holders that are not exclusive share. */
  isExclusive: boolean;
  /** The range is held; called inside {@link RangeLock.acquire} or {@link RangeLock.release}. */
  onRange(): void;
  /** For the lock: its place among the holders. */
  lockIndex: number;
  /** For the lock: its place in the queue. */
  nextWaiting: RangeHolder | null;
}

/**
 * Lets holders have byte ranges, in order of arrival where they exclude each other: nobody overtakes a waiting
 * holder whose range overlaps its own, so none starves. While no exclusive holder exists, taking and giving back
 * a range is an array push and a swap.
 */
export class RangeLock {
  readonly #active: RangeHolder[] = [];
  #waitingHead: RangeHolder | null = null;
  /** Exclusive holders, active and waiting. */
  #exclusiveCount = 0;

  acquire(holder: RangeHolder): void {
    if (holder.isExclusive) this.#exclusiveCount++;
    if (this.#exclusiveCount > 0 && this.#mustWait(holder, null)) this.#enqueue(holder);
    else this.#activate(holder);
  }

  release(holder: RangeHolder): void {
    const last = this.#active.pop();
    if (last !== undefined && last !== holder) {
      this.#active[holder.lockIndex] = last;
      last.lockIndex = holder.lockIndex;
    }
    if (holder.isExclusive) this.#exclusiveCount--;
    if (this.#waitingHead !== null) this.#wake();
  }

  #activate(holder: RangeHolder): void {
    holder.lockIndex = this.#active.length;
    this.#active.push(holder);
    holder.onRange();
  }

  /** Is there an active holder, or one that waits in front of `place` (null: anywhere), that `holder` conflicts with? */
  #mustWait(holder: RangeHolder, place: RangeHolder | null): boolean {
    for (const other of this.#active) if (conflict(holder, other)) return true;
    let other = this.#waitingHead;
    while (other !== place && other !== null) {
      if (conflict(holder, other)) return true;
      other = other.nextWaiting;
    }
    return false;
  }

  #enqueue(holder: RangeHolder): void {
    holder.nextWaiting = null;
    if (this.#waitingHead === null) {
      this.#waitingHead = holder;
      return;
    }
    let last = this.#waitingHead;
    while (last.nextWaiting !== null) last = last.nextWaiting;
    last.nextWaiting = holder;
  }

  #wake(): void {
    let previous: RangeHolder | null = null;
    let holder = this.#waitingHead;
    while (holder !== null) {
      const next: RangeHolder | null = holder.nextWaiting;
      if (this.#mustWait(holder, holder)) {
        previous = holder;
      } else {
        if (previous === null) this.#waitingHead = next;
        else previous.nextWaiting = next;
        holder.nextWaiting = null;
        this.#activate(holder);
      }
      holder = next;
    }
  }
}

function conflict(a: RangeHolder, b: RangeHolder): boolean {
  return (a.isExclusive || b.isExclusive) && a.startBytes < b.endBytes && b.startBytes < a.endBytes;
}
