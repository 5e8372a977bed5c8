import type { BusyRange, BusyRanges, EndedRanges } from './messages.js';

/** The ranges that workers have announced as busy and that have not ended; for workers that start later. */
export class BusyTable {
  /** By worker, by unit, by the worker's number of the range. */
  readonly #workers = new Map<number, Map<string, Map<number, BusyRange>>>();

  add(worker: number, { unitName, ranges }: BusyRanges): void {
    const units = getOrMake(this.#workers, worker, () => new Map<string, Map<number, BusyRange>>());
    const known = getOrMake(units, unitName, () => new Map<number, BusyRange>());
    for (const range of ranges) known.set(range.number, range);
  }

  end(worker: number, { unitName, numbers }: EndedRanges): void {
    const known = this.#workers.get(worker)?.get(unitName);
    for (const number of numbers) known?.delete(number);
  }

  /** The busy ranges of a worker, in the form of its announcements. */
  of(worker: number): BusyRanges[] {
    const units = this.#workers.get(worker) ?? new Map<string, Map<number, BusyRange>>();
    return [...units]
      .map(([unitName, ranges]) => ({ unitName, ranges: [...ranges.values()] }))
      .filter(({ ranges }) => ranges.length > 0);
  }

  /** Forgets all ranges of a worker, and returns them as ended. */
  drop(worker: number): EndedRanges[] {
    const ended = this.of(worker).map(({ unitName, ranges }) => ({
      unitName,
      numbers: ranges.map(({ number }) => number),
    }));
    this.#workers.delete(worker);
    return ended;
  }
}

function getOrMake<Key, Value>(map: Map<Key, Value>, key: Key, make: () => Value): Value {
  const found = map.get(key);
  if (found !== undefined) return found;
  const made = make();
  map.set(key, made);
  return made;
}
