/** Limits on the memory and the time that a target can cost the initiator, each with its reason. */

/** Redirections in one login. Portal groups redirect once. A loop of redirections must end. */
export const LOGIN_REDIRECTS_MAX = 4;

/**
 * The time for a login. LIO serves one login per portal at a time, and another initiator's stuck login blocks it for
 * 15 s.
 */
export const LOGIN_TIMEOUT_MS = 30_000;

/** Text requests in one SendTargets exchange: with 128 bytes per PDU, as ib_iser posts, 2 MiB take 16,384 requests. */
export const TEXT_EXCHANGES_MAX = 16_384;

/** The silence after which the initiator pings the target; open-iscsi's noop_out_interval is 5 s. */
export const PING_INTERVAL_MS = 5_000;
/** The time for the answer to a ping, before the connection counts as dead; open-iscsi's noop_out_timeout is 5 s. */
export const PING_TIMEOUT_MS = 5_000;

/** The Linux sd driver gives a command 30 s. */
export const COMMAND_TIMEOUT_MS = 30_000;
/** open-iscsi's abort_timeout is 15 s. */
export const ABORT_TIMEOUT_MS = 15_000;
/** How long the initiator waits for a response after the target reports that the task to abort does not exist. */
export const ABORT_GRACE_MS = 1_000;
/**
 * How long a command may still run before it is aborted, when another initiator's reset may have ended it without an
 * answer.
 */
export const QUESTIONED_MS = 1_000;
/** open-iscsi's lu_reset_timeout is 30 s. */
export const RESET_TIMEOUT_MS = 30_000;
/** open-iscsi's logout_timeout is 15 s. */
export const LOGOUT_TIMEOUT_MS = 15_000;
/**
 * How long a target has to close the connection after its logout response. LIO closes it within 5 ms. If we close
 * before the target's Send has completed, Linux soft-iWARP fails the queue pair.
 */
export const LOGOUT_CLOSE_MS = 100;
/**
 * The time for the next part of a text answer, and for the whole answer. The longest list of targets has 16,384
 * parts.
 */
export const TEXT_TIMEOUT_MS = 30_000;
export const TEXT_WHOLE_TIMEOUT_MS = 300_000;
/** The time for a datamover to end its connection, before the session stops waiting for it. */
export const SESSION_CLOSE_TIMEOUT_MS = 10_000;

/** How often command deadlines are checked. One timer serves all commands, so a command arms no timer. */
export const DEADLINE_TICK_MS = 250;

/** Control requests that may wait for a place, per task. A command that timed out needs one, so two are enough. */
export const CONTROL_QUEUE_PER_TASK = 2;

/**
 * The connection ends when aborted commands, which may cost the target receives, have reduced the usable commands to
 * this share.
 */
export const ABORTED_SHARE_LEFT_MIN = 1 / 4;

/** The burst lengths that are offered: open-iscsi's defaults. On iSER they limit only the immediate data. */
export const MAX_BURST_BYTES = 16_776_192;
export const FIRST_BURST_BYTES = 262_144;
