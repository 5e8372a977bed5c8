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
