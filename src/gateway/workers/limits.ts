/**
 * Worker processes. A target has a session of each for every export, and takes a bounded number of them (ours 64) and
 * of logins at a time (ours 32).
 */
export const WORKERS_MAX = 32;

/** A worker that has served for this long before it ended is replaced at once, whatever came before. */
export const STABLE_MS = 60_000;
/** After the second end in a row, the third, and so on: doubled each time up to the last. The first costs no wait. */
export const RESTART_DELAY_MIN_MS = 250;
export const RESTART_DELAY_MAX_MS = 30_000;

/** A worker that has not taken a client after this long is stuck; those that wait behind it go to others. */
export const CLIENT_HANDOVER_MS = 5_000;

/** How often workers tell what they have counted: what a worker that is killed counted since is lost. */
export const COUNT_PERIOD_MS = 5_000;
/** How long a report waits for the counters of a worker that does not answer. */
export const COUNT_ANSWER_MS = 1_000;

/** What a worker gets beyond the time to drain before it is killed: to log out, and to end. */
export const STOP_GRACE_MS = 10_000;
/** What is left of a start that failed gets this long to log out. */
export const ABANDON_MS = 3_000;

/** How often a worker looks for changes that take long, and at which look, of those after its start, one does. */
export const ANNOUNCE_TICK_MS = 100;
/** Two ticks are 100 to 200 ms. Clients that give up on a request, and repeat it elsewhere, wait a second or more. */
export const ANNOUNCE_AFTER_TICKS = 2;
/** A client waits this long for the word of a worker that does not answer, before it is let in without. */
export const ADMISSION_MS = 5_000;

/**
 * How long the ranges are held that a worker was changing when it ended, if no successor comes to serve: as long as a
 * command has before it is aborted, and the abort.
 */
export const ORPHANS_HELD_MS = 45_000;
