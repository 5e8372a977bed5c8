/**
 * Numbers that the program keeps about itself. Here they are only counted; whoever wants to publish them walks a
 * {@link CounterSet}. Counting is a field increment, so the data path may do it.
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

/** Counters by name and labels; asking twice for the same one gives the same one. */
export class CounterSet {
  readonly #counters = new Map<string, Counter>();

  counter(name: string, help: string, labels: Readonly<Record<string, string>> = {}): Counter {
    const key = `${name} ${JSON.stringify(Object.entries(labels).sort())}`;
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
