/** Limits of the memory transport. */

/** How long a caller waits for accept or reject. Nothing travels, so only a consumer that forgot is this slow. */
export const MEMORY_CONNECT_TIMEOUT_MS = 15_000;

/** Where ports for `port: 0` are looked for: the dynamic range of RFC 6335, as TCP would pick. */
export const DYNAMIC_PORT_MIN = 49_152;

/**
 * Doorbells that are answered in microtasks before one waits for the event loop's next turn. Two ends that answer
 * each other at once would otherwise never let a timer or a socket have its say; one hop in 256 costs nothing.
 */
export const DOORBELLS_PER_TURN = 256;
