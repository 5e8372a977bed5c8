/**
 * The most worker processes. For every export, each worker has a session with the target. A target takes a limited number
 * of sessions (ours 64), and of logins at a time (ours 32).
 */
export const WORKERS_MAX = 32;

/** A worker that served for this long before it ended is replaced at once, also when earlier ones ended soon. */
export const STABLE_MS = 60_000;
/** The delay after the second end in a row; it doubles each time, up to the maximum. The first end has no delay. */
export const RESTART_DELAY_MIN_MS = 250;
export const RESTART_DELAY_MAX_MS = 30_000;

/** A worker that has not taken a client after this time is stuck. The clients that wait behind it go to other workers. */
export const CLIENT_HANDOVER_MS = 5_000;

/** How often workers send their counters. A worker that is killed loses its counts since then. */
export const COUNT_PERIOD_MS = 5_000;
/** How long a report waits for the counters of a worker that does not answer. */
export const COUNT_ANSWER_MS = 1_000;

/** The time that a worker gets after draining, to log out and end, before it is killed. */
export const STOP_GRACE_MS = 10_000;
/** After a failed start, the workers that did start get this long to log out. */
export const ABANDON_MS = 3_000;

/** How often a worker looks for slow changes. A change is slow at this many looks after its start. */
export const ANNOUNCE_TICK_MS = 100;
/** Two ticks are 100 to 200 ms. A client that gives up a request, and repeats it elsewhere, waits a second or more. */
export const ANNOUNCE_AFTER_TICKS = 2;
/** How long a client waits for a worker that does not answer, before the client is admitted without the answer. */
export const ADMISSION_MS = 5_000;

/**
 * How long the ranges of a worker that has ended are held, when no successor is ready sooner: the time limit of a command
 * and of its abort.
 */
export const ORPHANS_HELD_MS = 45_000;
