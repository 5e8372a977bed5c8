import { counterKey } from './counters.js';
import type { Counter } from './counters.js';

/** What a counter stood at; this travels between processes. */
export interface CounterReading {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function readingsOf(counters: Iterable<Counter>): CounterReading[] {
  return Array.from(counters, ({ name, labels, value }) => ({ name, labels, value }));
}

/**
 * Counters of several processes as one: readings with the same name and labels add up. What a process has last told
 * stays in the sum when it ends, so that a sum never goes back.
 */
export class CounterSums {
  readonly #latest = new Map<string, readonly CounterReading[]>();
  #ended: readonly CounterReading[] = [];

  /** All that `source` has counted so far; takes the place of what it told before. */
  update(source: string, readings: readonly CounterReading[]): void {
    this.#latest.set(source, readings);
  }

  /** `source` will tell no more; another one of the same name begins at zero. */
  end(source: string): void {
    this.#ended = sum([...this.#ended, ...(this.#latest.get(source) ?? [])]);
    this.#latest.delete(source);
  }

  /** The sums, in the order in which they were first told. */
  total(): readonly CounterReading[] {
    return sum([...this.#ended, ...[...this.#latest.values()].flat()]);
  }
}

/** Those that have counted something, by {@link counterKey}. */
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
