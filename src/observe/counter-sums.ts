import { counterKey } from './counters.js';
import type { Counter } from './counters.js';

/** The value of a counter at one moment. Processes send readings to each other. */
export interface CounterReading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function readingsOf(counters: Iterable<Counter>): CounterReading[] {
  return Array.from(counters, ({ name, labels, value }) => ({ name, labels, value }));
}

/**
 * Counters of several processes as one: readings with the same name and labels add up. When a process ends, its last
 * readings stay in the sum, so that a sum never decreases.
 */
export class CounterSums {
  readonly #latest = new Map<string, readonly CounterReading[]>();
  #ended: readonly CounterReading[] = [];

  /** `readings` is all that `source` has counted so far. It replaces the earlier readings of `source`. */
  update(source: string, readings: readonly CounterReading[]): void {
    this.#latest.set(source, readings);
  }

  /** `source` sends no more readings. A later source of the same name begins at zero. */
  end(source: string): void {
    this.#ended = sum([...this.#ended, ...(this.#latest.get(source) ?? [])]);
    this.#latest.delete(source);
  }

  /** The sums, in the order in which their counters first appeared. */
  total(): readonly CounterReading[] {
    return sum([...this.#ended, ...[...this.#latest.values()].flat()]);
  }
}

/** The readings above zero, by {@link counterKey}. */
export function nonZero(readings: Iterable<CounterReading>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { name, labels, value } of readings) {
    if (value !== 0) counts[counterKey(name, labels)] = value;
  }
  return counts;
}

function sum(readings: Iterable<CounterReading>): readonly CounterReading[] {
  const sums = new Map<string, CounterReading>();
  for (const reading of readings) {
    const key = counterKey(reading.name, reading.labels);
    const value = (sums.get(key)?.value ?? 0) + reading.value;
    sums.set(key, { ...reading, value });
  }
  return [...sums.values()];
}
