/** Bounds on what a peer can make the iSCSI layer hold or wait for, each with its reason. */

/** RFC 7143 13.12: what a login PDU may carry when nothing is declared; LIO's and ib_iser's login buffers. */
export const LOGIN_DATA_BYTES_MAX = 8192;

/** All text of one negotiation step, however many PDUs its C bit spreads it over. Real logins use below 1 KiB. */
export const TEXT_BYTES_MAX = 8192;

/** All text of one SendTargets answer: 4,000 targets with the longest names and two IPv6 portals each are 1.5 MB. */
export const DISCOVERY_TEXT_BYTES_MAX = 2 * 1024 * 1024;

/** Items of a SendTargets answer that are told when they had to be left out; all may be odd. */
export const ODD_ITEMS_TOLD_MAX = 10;

/** Key-value pairs in the text of a login: the RFCs define fewer than 50 keys. */
export const TEXT_PAIRS_MAX = 8192;

/** RFC 7143 6.1: a key name has at most 63 characters. */
export const KEY_NAME_CHARS_MAX = 63;

/** RFC 7143 6.1: a value has at most 255 bytes unless its key says otherwise. */
export const TEXT_VALUE_BYTES_MAX = 255;

/** RFC 7143 12.1.3: a CHAP challenge or response has at most 1024 bytes; in hexadecimal, two characters each. */
export const BINARY_VALUE_BYTES_MAX = 1024;
export const BINARY_VALUE_CHARS_MAX = 2 + 2 * BINARY_VALUE_BYTES_MAX;

/** RFC 7143 4.2.7.1: an iSCSI name. */
export const ISCSI_NAME_BYTES_MAX = 223;

/** RFC 7143 9.2.1: shorter secrets fall to an off-line attack on an overheard exchange. */
export const CHAP_SECRET_BYTES_MIN = 12;
/** More than any target stores; LIO keeps 256 with the terminator. */
export const CHAP_SECRET_BYTES_MAX = 255;
/** Bytes in our own challenges: as long as the longest digest, so that none is weaker than its hash. */
export const CHAP_CHALLENGE_BYTES = 32;

/** Login requests in one login. A normal login takes 2 to 5; only a peer that never finishes reaches this. */
export const LOGIN_EXCHANGES_MAX = 32;

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
export const CLOSE_TIMEOUT_MS = 10_000;

/** How often command deadlines are looked at: one timer for all, so arming costs nothing per command. */
export const DEADLINE_TICK_MS = 250;

/** Receives that an isert target posts for a connection (ISERT_QP_MAX_RECV_DTOS). */
export const TARGET_RECEIVES = 128;

/**
 * Control PDUs of ours that may be unanswered at once: a ping, a logout or text request, and task management;
 * ib_iser allows as many (ISER_MAX_TX_MISC_PDUS).
 */
export const CONTROL_PDUS_MAX = 6;

/**
 * Commands outstanding at once. A target whose window is wider than its receive queue would terminate the
 * connection when both run full, so the two together stay within what isert posts.
 */
export const COMMANDS_MAX = TARGET_RECEIVES - CONTROL_PDUS_MAX;

/**
 * Data of read commands outstanding at once. isert on soft-iWARP takes a work request per 24 KiB of it, has about a
 * thousand, and drops the connection when they run out; 8 MiB are 350.
 */
export const READ_BYTES_OUTSTANDING_MAX = 8 * 1024 * 1024;

/**
 * Data of write commands outstanding at once. LIO gives up the connection when a command's data is not there 3 seconds
 * after the command (`dataout_timeout`), and it fetches the data of all at the same time: with 8 MiB, a network may be as
 * slow as 3 MB/s.
 */
export const WRITE_BYTES_OUTSTANDING_MAX = 8 * 1024 * 1024;

/** Control requests waiting for a place; each timed-out command asks for one, so twice the commands is enough. */
export const CONTROL_QUEUE_MAX = 2 * COMMANDS_MAX;

/**
 * isert does not post a receive again for a command that was aborted without a response, so each abort costs one
 * of the target's receives. When only this share of the commands is left, the connection ends.
 */
export const ABORTED_SHARE_LEFT_MIN = 1 / 4;

/** Burst lengths that are offered: on iSER they bound only the immediate data; open-iscsi's default values. */
export const MAX_BURST_BYTES = 16_776_192;
export const FIRST_BURST_BYTES = 262_144;

/** The smallest data segment that a side may say it can receive (RFC 7143 13.12, RFC 7145 6.4 and 6.5). */
export const RECEIVE_DATA_BYTES_MIN = 512;
