import { HeldRange } from '../../block/range-lock.js';
import type { Clock, Timer } from '../../common/clock.js';
import { soon } from '../../common/later.js';
import { Requester } from '../../common/requester.js';
import type { SharedUnit, UnitRegistry } from '../units.js';
import { ANNOUNCE_AFTER_TICKS, ANNOUNCE_TICK_MS } from './limits.js';
import type { BusyRange, BusyRanges, EndedRanges } from './messages.js';

/** The units whose ranges are announced. */
export type Units = Pick<UnitRegistry, 'get' | typeof Symbol.iterator>;

/** Sends a worker's news to the primary. */
export interface RangeNewsSink {
  busy(news: BusyRanges): void;
  over(news: EndedRanges): void;
}

/**
 * Announces the ranges that this worker is changing to the other workers, and hears theirs. So the order of overlapping
 * requests holds across processes (see RangeLock). A change that ends soon is not announced, as it concerns no other
 * worker. Announced are:
 *
 * - slow changes: a client that gives up waits at least a second first, and by then all workers know the range;
 * - changes whose client is gone, at once;
 * - all changes under way when a client is about to be admitted, as that client may have been connected before.
 */
export class RangeNews {
  readonly #units: Units;
  readonly #clock: Clock;
  readonly #sink: RangeNewsSink;
  /** The ranges that other workers have announced, by worker and by the worker's number of the range. */
  readonly #foreign = new Map<number, Map<number, ForeignRange>>();
  /** The numbers of ended ranges that have not been sent yet, by unit. */
  readonly #ended = new Map<string, number[]>();
  #lastNumber = 0;
  #timer: Timer | null = null;
  readonly #tellEnded = (): void => this.#flushEnded();

  constructor(units: Units, clock: Clock, sink: RangeNewsSink) {
    this.#units = units;
    this.#clock = clock;
    this.#sink = sink;
    for (const unit of units) unit.lock.onAnnouncedOver = (number) => this.#over(unit, number);
    this.#armTick();
  }

  /** Announces all changes under way. */
  announceAll(): void {
    this.#announce(() => true);
  }

  /** A client is gone: announces its changes that are still under way. */
  announceOrphans(): void {
    this.#announce(({ requester }) => requester.isGone);
  }

  /** Another worker is changing these ranges. */
  hear({ worker, unitName, ranges }: BusyRanges & { readonly worker: number }): void {
    const unit = this.#units.get(unitName);
    if (unit === undefined) return;
    const known = this.#foreign.get(worker) ?? new Map<number, ForeignRange>();
    this.#foreign.set(worker, known);
    for (const { number, startBytes, endBytes } of ranges) {
      const range = new ForeignRange(unit, startBytes, endBytes);
      known.set(number, range);
      unit.lock.seize(range);
    }
  }

  hearEnd({ worker, numbers }: EndedRanges & { readonly worker: number }): void {
    const known = this.#foreign.get(worker);
    for (const number of numbers) {
      const range = known?.get(number);
      known?.delete(number);
      range?.unit.lock.release(range);
    }
  }

  close(): void {
    this.#timer?.cancel();
    for (const { lock } of this.#units) lock.onAnnouncedOver = null;
  }

  #armTick(): void {
    this.#timer = this.#clock.after(ANNOUNCE_TICK_MS, () => {
      this.#armTick();
      const ticks = new Map<SharedUnit, number>();
      for (const unit of this.#units) ticks.set(unit, unit.lock.tick());
      this.#announce(
        ({ heldSinceTick }, unit) => heldSinceTick + ANNOUNCE_AFTER_TICKS <= (ticks.get(unit) ?? 0),
      );
    });
  }

  #announce(isNews: (range: HeldRange, unit: SharedUnit) => boolean): void {
    for (const unit of this.#units) {
      const ranges: BusyRange[] = [];
      unit.lock.forEachHeld((range) => {
        if (range.announcedAs !== 0 || range instanceof ForeignRange || !isNews(range, unit))
          return;
        range.announcedAs = ++this.#lastNumber;
        const { announcedAs: number, startBytes, endBytes } = range;
        ranges.push({ number, startBytes, endBytes });
      });
      if (ranges.length > 0) this.#sink.busy({ unitName: unit.name, ranges });
    }
  }

  #over({ name }: SharedUnit, number: number): void {
    if (this.#ended.size === 0) soon(this.#tellEnded);
    const numbers = this.#ended.get(name);
    if (numbers === undefined) this.#ended.set(name, [number]);
    else numbers.push(number);
  }

  #flushEnded(): void {
    for (const [unitName, numbers] of this.#ended) this.#sink.over({ unitName, numbers });
    this.#ended.clear();
  }
}

/** A range that another worker is changing. */
class ForeignRange extends HeldRange {
  readonly unit: SharedUnit;

  constructor(unit: SharedUnit, startBytes: number, endBytes: number) {
    super(() => undefined);
    this.unit = unit;
    this.startBytes = startBytes;
    this.endBytes = endBytes;
    this.access = 'change';
    this.requester = new Requester();
  }
}
