import { NOBODY } from '../common/requester.js';
import type { Requester } from '../common/requester.js';
import { RangeIndex, RangeLink } from './range-index.js';

/** What the holder of a range does there. */
export type RangeAccess =
  /** Reads. It waits for others' changes, and nobody waits for it. */
  | 'look'
  /** Changes what is there. Other requesters wait. */
  | 'change'
  /** Changes what it has read before. Other changes wait, those of its own requester too. */
  | 'revise';

/** A place in line for a range of a device, and then the right to it. Its owner makes it once and uses it again. */
export class HeldRange {
  startBytes = 0;
  endBytes = 0;
  access: RangeAccess = 'look';
  requester: Requester = NOBODY;
  /** The range may be used; called inside {@link RangeLock.acquire} or {@link RangeLock.release}. */
  readonly onHeld: () => void;
  /** For the lock. */
  readonly firstLink = new RangeLink<HeldRange>(this);
  readonly secondLink = new RangeLink<HeldRange>(this);
  turn = 0;
  isWaiting = false;
  isWoken = false;
  /** When it was given the range, on the lock's own count of {@link RangeLock.tick}. */
  heldSinceTick = 0;
  /** What other processes know it by; 0 while they do not. See {@link RangeLock.onAnnouncedOver}. */
  announcedAs = 0;

  constructor(onHeld: () => void) {
    this.onHeld = onHeld;
  }
}

/**
 * The order in which requests that overlap may reach one logical unit, whichever connection and export they come by.
 *
 * - A change holds its range until the device has ended it. Requests of other requesters that overlap it wait, reads
 *   too. So a change that takes long, whose client is gone by then and has come back on another connection, cannot land
 *   over what was written there later. That a client is gone need not be noticed for this.
 * - A requester's own changes do not wait for each other: NBD leaves it to a client to order what overlaps.
 * - A revision excludes every other change: what it writes depends on what it has read.
 * - Who waits is in line: nobody overtakes a waiting change that overlaps, so none starves. One waits only for those that
 *   came before, so there is no deadlock.
 *
 * While only one requester uses the unit, taking and giving back a range is two links in a list.
 */
export class RangeLock {
  /** Told of the end of a range that was announced to other processes. */
  onAnnouncedOver: ((announcedAs: number) => void) | null = null;
  readonly #index = new RangeIndex<HeldRange>();
  /** Ranges that are held, and ranges that wait. */
  #heldCount = 0;
  #waitingCount = 0;
  #reviseCount = 0;
  #lastTurn = 0;
  #tick = 0;
  readonly #blocks = (other: HeldRange, range: HeldRange): boolean => mustWaitFor(range, other);
  readonly #woken: HeldRange[] = [];
  readonly #wakes = (other: HeldRange): boolean => {
    if (!other.isWaiting || other.isWoken) return false;
    other.isWoken = true;
    this.#woken.push(other);
    return false;
  };

  /** Nobody else is changing anything, so that this requester need not wait for any range to read it. */
  isClearFor(requester: Requester): boolean {
    return this.#waitingCount === 0 && this.#heldCount === requester.heldCount;
  }

  /** `onHeld` is called, now or later. A `look` is over then, everything else is to be released. */
  acquire(range: HeldRange): void {
    range.turn = ++this.#lastTurn;
    if (range.access === 'revise') this.#reviseCount++;
    if (!this.#mustAsk(range) || !this.#index.some(range, this.#blocks)) {
      this.#give(range);
      return;
    }
    range.isWaiting = true;
    this.#waitingCount++;
    this.#index.add(range);
  }

  /** Holds a range for a change that the device has got already, by another way than through this lock. */
  seize(range: HeldRange): void {
    range.turn = 0;
    this.#hold(range);
  }

  /** The device has ended the change. */
  release(range: HeldRange): void {
    this.#index.remove(range);
    this.#heldCount--;
    range.requester.heldCount--;
    if (range.access === 'revise') this.#reviseCount--;
    if (range.announcedAs !== 0) this.#announcedOver(range);
    if (this.#waitingCount > 0) this.#wake(range);
  }

  #announcedOver(range: HeldRange): void {
    const { announcedAs } = range;
    range.announcedAs = 0;
    this.onAnnouncedOver?.(announcedAs);
  }

  /** Counts time for {@link HeldRange.heldSinceTick}. */
  tick(): number {
    return ++this.#tick;
  }

  /** Shows every range that is held; `visit` must not acquire or release. */
  forEachHeld(visit: (range: HeldRange) => void): void {
    this.#index.forEach((range) => {
      if (!range.isWaiting) visit(range);
    });
  }

  #mustAsk({ access, requester }: HeldRange): boolean {
    if (!this.isClearFor(requester)) return true;
    return access === 'revise' || (access === 'change' && this.#reviseCount > 0);
  }

  #give(range: HeldRange): void {
    if (range.access !== 'look') this.#hold(range);
    range.onHeld();
  }

  #hold(range: HeldRange): void {
    range.heldSinceTick = this.#tick;
    this.#heldCount++;
    range.requester.heldCount++;
    this.#index.add(range);
  }

  /** Lets those go on, in order, that waited for this range and now for none. */
  #wake(released: HeldRange): void {
    this.#index.some(released, this.#wakes);
    if (this.#woken.length === 0) return;
    const woken = this.#woken.splice(0).sort((a, b) => a.turn - b.turn);
    for (const range of woken) {
      range.isWoken = false;
      if (this.#index.some(range, this.#blocks)) continue;
      range.isWaiting = false;
      this.#waitingCount--;
      this.#index.remove(range);
      this.#give(range);
    }
  }
}

/** `range` comes after `other`, which overlaps it. */
function mustWaitFor(range: HeldRange, other: HeldRange): boolean {
  if (other === range || other.access === 'look' || other.turn > range.turn) return false;
  if (other.requester !== range.requester) return true;
  return range.access !== 'look' && (range.access === 'revise' || other.access === 'revise');
}
