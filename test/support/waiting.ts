/**
 * How tests wait: for what happens, never for a time. Each function lets the event loop turn, so that promises,
 * `soon` and `atTurnEnd` of common/later.ts, and sockets come to their turn.
 */

import type { ManualClock } from './common/manual-clock.js';

/** As it was, for tests that spy on the global one. */
const immediate = setImmediate;

/** Enough for whatever is under way in this process to come to rest. */
const SETTLED_TURNS = 50;

const STEP_MS = 250;
const STEP_TURNS = 5;

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => immediate(resolve));
}

export async function turns(count: number): Promise<void> {
  for (let left = count; left > 0; left--) await turn();
}

/** Waits until `condition` holds; not longer than `turnsMax` turns, for those who look themselves what has come of it. */
export async function until(condition: () => boolean, turnsMax = Infinity): Promise<void> {
  for (let count = 0; count < turnsMax && !condition(); count++) await turn();
}

/**
 * Gives something that must not happen the occasion to happen. What must happen is waited for with {@link until}, as
 * nobody knows how many turns a socket takes.
 */
export function settle(): Promise<void> {
  return turns(SETTLED_TURNS);
}

/** Lets time pass until something has happened. */
export async function passTime<T>(clock: ManualClock, something: Promise<T>): Promise<T> {
  let isOver = false;
  const over = (): void => {
    isOver = true;
  };
  something.then(over, over);
  while (!isOver) {
    await turn();
    clock.advance(1000);
  }
  return something;
}

/** Lets so much time pass, in steps small enough for answers in between. */
export async function advance(clock: ManualClock, milliseconds: number): Promise<void> {
  for (let left = milliseconds; left > 0; left -= STEP_MS) {
    clock.advance(Math.min(left, STEP_MS));
    await turns(STEP_TURNS);
  }
}
