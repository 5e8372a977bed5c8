/** A timer that has been armed; cancelling twice, or after it fired, does nothing. */
export interface Timer {
  cancel(): void;
}

/** Time as the state machines see it: handed in, so that tests own it. */
export interface Clock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  after(delayMs: number, action: () => void): Timer;
}

/** The machine's clock. An armed timer keeps the process alive: whoever is done with one cancels it. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, action) {
    const timeout = setTimeout(action, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};

/** A clock that stands still until it is told to move; for tests. */
export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #armed = new Set<{ dueMs: number; action: () => void }>();

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, action: () => void): Timer {
    const entry = { dueMs: this.#nowMs + delayMs, action };
    this.#armed.add(entry);
    return { cancel: () => this.#armed.delete(entry) };
  }

  get armedCount(): number {
    return this.#armed.size;
  }

  /** Moves time forward and fires, in order of their due time, the timers that this reaches. */
  advance(byMs: number): void {
    const untilMs = this.#nowMs + byMs;
    for (;;) {
      let next: { dueMs: number; action: () => void } | null = null;
      for (const entry of this.#armed) {
        if (entry.dueMs <= untilMs && (next === null || entry.dueMs < next.dueMs)) next = entry;
      }
      if (next === null) break;
      this.#armed.delete(next);
      this.#nowMs = next.dueMs;
      next.action();
    }
    this.#nowMs = untilMs;
  }
}
