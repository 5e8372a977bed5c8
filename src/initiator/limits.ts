/** Bounds on what a target can make the initiator hold or wait for, each with its reason. */

/** Redirections followed in one login: portal groups redirect once; a loop never ends. */
export const LOGIN_REDIRECTS_MAX = 4;

/** LIO serves one login per portal at a time, and a stuck neighbour holds it for 15 s. */
export const LOGIN_TIMEOUT_MS = 30_000;

/** Text requests in one SendTargets exchange: at the 128 bytes per PDU that ib_iser posts, 2 MiB take 16,384. */
export const TEXT_EXCHANGES_MAX = 16_384;

/** Silence after which a ping asks whether the target is there; open-iscsi's noop_out_interval is 5 s. */
export const PING_INTERVAL_MS = 5_000;
/** Without an answer by then the connection is dead; open-iscsi's noop_out_timeout is 5 s. */
export const PING_TIMEOUT_MS = 5_000;

/** The Linux sd driver gives a command 30 s. */
export const COMMAND_TIMEOUT_MS = 30_000;
/** open-iscsi's abort_timeout is 15 s. */
export const ABORT_TIMEOUT_MS = 15_000;
/** How long a response may come after the target said that the task to abort does not exist (any more). */
export const ABORT_GRACE_MS = 1_000;
/** How long commands still get that somebody else's reset may have ended without an answer, before they are aborted. */
export const QUESTIONED_MS = 1_000;
/** open-iscsi's lu_reset_timeout is 30 s. */
export const RESET_TIMEOUT_MS = 30_000;
/** open-iscsi's logout_timeout is 15 s. */
export const LOGOUT_TIMEOUT_MS = 15_000;
/**
 * How long a target has to close the connection after its logout response. LIO does it within 5 ms; closing from our side
 * before its Send has completed makes Linux soft-iWARP fail the queue pair.
 */
export const LOGOUT_CLOSE_MS = 100;
/** For the next piece of a text answer, and for all of it: the longest list of targets is 16,384 pieces. */
export const TEXT_TIMEOUT_MS = 30_000;
export const TEXT_WHOLE_TIMEOUT_MS = 300_000;
/** A datamover that cannot let go of its connection by then is left behind. */
export const SESSION_CLOSE_TIMEOUT_MS = 10_000;

/** How often command deadlines are looked at: one timer for all, so arming costs nothing per command. */
export const DEADLINE_TICK_MS = 250;

/** Control requests that may wait for a place, per task: each command that timed out asks for one, so two are enough. */
export const CONTROL_QUEUE_PER_TASK = 2;

/** Aborted commands may cost the target receives. When only this share of the commands is left, the connection ends. */
export const ABORTED_SHARE_LEFT_MIN = 1 / 4;

/** Burst lengths that are offered: on iSER they bound only the immediate data; open-iscsi's default values. */
export const MAX_BURST_BYTES = 16_776_192;
export const FIRST_BURST_BYTES = 262_144;
