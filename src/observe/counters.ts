/**
 * A number that the program keeps about itself. A publisher reads all counters from a {@link CounterSet}. Counting is a
 * field increment, so the data path may count.
 */
export class Counter {
  value = 0;

  constructor(
    readonly name: string,
    readonly help: string,
    readonly labels: Readonly<Record<string, string>> = {},
  ) {}

  add(amount = 1): void {
    this.value += amount;
  }
}

/** Counters by name and labels. The same name and labels give the same counter. */
export class CounterSet {
  readonly #counters = new Map<string, Counter>();

  counter(name: string, help: string, labels: Readonly<Record<string, string>> = {}): Counter {
    const key = counterKey(name, labels);
    let counter = this.#counters.get(key);
    if (counter === undefined) {
      counter = new Counter(name, help, labels);
      this.#counters.set(key, counter);
    }
    return counter;
  }

  [Symbol.iterator](): IterableIterator<Counter> {
    return this.#counters.values();
  }
}

/** A counter's name and labels as Prometheus writes them: `name{label="value"}`, labels in alphabetical order. */
export function counterKey(name: string, labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels)
    .sort(([left], [right]) => (left < right ? -1 : 1))
    .map(([label, value]) => `${label}=${JSON.stringify(value)}`);
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`;
}
