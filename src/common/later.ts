/**
 * Running something later. A call that must not happen inside of another one happens at one of three moments, and which
 * one follows from what it has to come after:
 *
 *     turn of JavaScript ─► {@link soon} ... soon ─► {@link atTurnEnd} ... ─► sockets, timers ─► {@link nextTurn} ...
 *
 * - `soon`: the caller has returned. For completions and events, which must not come from inside of the call that
 *   causes them. It is the one to take unless there is a reason for another.
 * - `atTurnEnd`: all that was going on has ended, `soon` included. For what gathers: bytes for one system call, memory
 *   that was given back. Inside of a `soon`, it still comes behind all of them.
 * - `nextTurn`: the sockets have been looked at. For what would otherwise keep them waiting.
 *
 * Nothing else in src calls queueMicrotask, process.nextTick or setImmediate: a lint rule sees to that. Waiting for a
 * time is `common/clock.ts`.
 */

const resolved = Promise.resolve();

/** The calls that wait: a ring whose length is a power of two. It grows with the largest burst, and no further. */
let ring: (() => void)[] = Array.from({ length: 64 }, () => ignore);
let head = 0;
let count = 0;
let isScheduled = false;

/**
 * Calls `action` once, when the present turn of JavaScript has ended, in the order of the calls. It is `queueMicrotask`
 * at a fraction of the price, as that makes an AsyncResource each time (measured: 250 ns against 75), and what an action
 * asks for joins the round that is running. What an action throws is an uncaught exception, as there, and keeps nobody
 * else's action from running.
 */
export function soon(action: () => void): void {
  if (count === ring.length) grow();
  ring[(head + count) & (ring.length - 1)] = action;
  count++;
  if (isScheduled) return;
  isScheduled = true;
  void resolved.then(runAll);
}

/** Calls `action` once, when all that is going on has ended, before the event loop goes on. */
export function atTurnEnd(action: () => void): void {
  process.nextTick(action);
}

/** Calls `action` once, in the event loop's next turn, when the sockets have been looked at. */
export function nextTurn(action: () => void): void {
  setImmediate(action);
}

function runAll(): void {
  try {
    while (count > 0) {
      const action = ring[head] ?? ignore;
      ring[head] = ignore;
      head = (head + 1) & (ring.length - 1);
      count--;
      action();
    }
  } catch (error) {
    // From here it would become an unhandled rejection.
    queueMicrotask(() => {
      throw error;
    });
  }
  isScheduled = count > 0;
  // Something threw: the rest has a round of its own.
  if (isScheduled) void resolved.then(runAll);
}

function grow(): void {
  const ordered = [...ring.slice(head), ...ring.slice(0, head)];
  ring = [...ordered, ...Array.from({ length: ordered.length }, () => ignore)];
  head = 0;
}

function ignore(): void {
  /* Stands where nothing waits. */
}
