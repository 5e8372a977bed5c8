/** An armed timer. A second cancel does nothing, and neither does a cancel after the timer has fired. */
export interface Timer {
  cancel(): void;
}

/** The time for state machines. It is an argument, so that tests can control it. */
export interface Clock {
  /** Monotonic milliseconds. */
  nowMs(): number;
  after(delayMs: number, action: () => void): Timer;
}

/** The machine's clock. An armed timer keeps the process alive, so a caller cancels a timer that it no longer needs. */
export const systemClock: Clock = {
  nowMs: () => performance.now(),
  after(delayMs, action) {
    const timeout = setTimeout(action, delayMs);
    return { cancel: () => clearTimeout(timeout) };
  },
};

/** A clock that stands still until {@link ManualClock.advance} moves it; for tests. */
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

  /** Moves the time forward, and fires the timers that become due, in order of their due time. */
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
