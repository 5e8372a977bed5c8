/**
 * How tests wait: for what happens, never for a time. Each function lets the event loop turn, so that promises,
 * `soon` and `atTurnEnd` of common/later.ts, and sockets come to their turn.
 */

/** As it was, for tests that spy on the global one. */
const immediate = setImmediate;

/** Enough for whatever is under way in this process to come to rest. */
const SETTLED_TURNS = 50;

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
