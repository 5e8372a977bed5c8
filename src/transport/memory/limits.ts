/** Limits of the memory transport. */

/**
 * How long a caller waits for accept or reject. Memory has no delay, so only a consumer that never answers reaches
 * this limit.
 */
export const MEMORY_CONNECT_TIMEOUT_MS = 15_000;

/** The range of ports for `port: 0`: the dynamic range of RFC 6335, as for TCP. */
export const DYNAMIC_PORT_MIN = 49_152;

/**
 * Doorbells that are answered in microtasks before one waits for the event loop's next turn. Otherwise two ends that
 * answer each other at once would block every timer and socket. One turn per 256 doorbells costs almost nothing.
 */
export const DOORBELLS_PER_TURN = 256;
