import { NOBODY } from '../common/requester.js';
import type { Requester } from '../common/requester.js';
import { RangeIndex, RangeLink } from './range-index.js';

/** What a request does with its range. */
export type RangeAccess =
  /** Reads. It waits for changes of other requesters, and no request waits for it. */
  | 'look'
  /** Writes. Overlapping requests of other requesters wait. */
  | 'change'
  /** Reads and then writes. All overlapping changes wait, those of its own requester too. */
  | 'revise';

/** A place in the queue for a range of a device, and then the right to use it. Its owner makes it once and reuses it. */
export class HeldRange {
  startBytes = 0;
  endBytes = 0;
  access: RangeAccess = 'look';
  requester: Requester = NOBODY;
  /** The range may be used; called inside {@link RangeLock.acquire} or {@link RangeLock.release}. */
  readonly onHeld: () => void;
  /** The fields from here on are the lock's. */
  readonly firstLink = new RangeLink<HeldRange>(this);
  readonly secondLink = new RangeLink<HeldRange>(this);
  turn = 0;
  isWaiting = false;
  isWoken = false;
  /** The number of {@link RangeLock.tick} at which the range was given. */
  heldSinceTick = 0;
  /** The range's number in other processes; 0 while they do not know it. See {@link RangeLock.onAnnouncedOver}. */
  announcedAs = 0;

  constructor(onHeld: () => void) {
    this.onHeld = onHeld;
  }
}

/**
 * Orders the overlapping requests to one logical unit, from all connections and exports.
 *
 * - A change holds its range until the device has ended the change. Overlapping requests of other requesters wait, reads
 *   too. Without that, a slow change could overwrite newer data: its client may have reconnected meanwhile and written
 *   the range again. The lock works even when nobody has noticed that the first connection is gone.
 * - A requester's own changes do not wait for each other: NBD leaves the order of overlapping requests to the client.
 * - A revision excludes every other change: the bytes that it writes depend on the bytes that it has read.
 * - Waiting requests form a queue. No request overtakes a waiting change that it overlaps, so no request starves. A
 *   request waits only for earlier ones, so there is no deadlock.
 *
 * While only one requester uses the unit, taking and giving back a range costs two links in a list.
 */
export class RangeLock {
  /** Called when a range that was announced to other processes has ended. */
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

  /** No other requester is changing anything, so this requester can read any range without waiting. */
  isClearFor(requester: Requester): boolean {
    return this.#waitingCount === 0 && this.#heldCount === requester.heldCount;
  }

  /** Calls `range.onHeld` now or later. A `look` is over then; the caller releases any other range later. */
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

  /** Holds a range for a change that another process has already sent to the device. */
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

  /** Calls `visit` for every range that is held. `visit` must not acquire or release ranges. */
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

  /** Gives the ranges, in order, that waited for the released one and now wait for none. */
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
