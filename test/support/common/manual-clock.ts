import type { Clock, Timer } from '../../../src/common/clock.js';

/** A clock that stands still until {@link ManualClock.advance} moves it. */
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
