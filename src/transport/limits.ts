/** Limits that every RDMA transport of ours shares, each with its reason. */

/** Work requests per queue: what Linux's ib_iser asks for at its largest (512 commands, 9 requests each, and 10). */
export const WORK_REQUESTS_MAX = 8192;

/** Header and one data buffer are what iSER needs; a target's data may lie in five pieces. */
export const SGES_MAX = 8;

/** RDMA Reads outstanding per direction: what soft-iWARP grants, and far more than an iSER session uses. */
export const READ_DEPTH_MAX = 128;

/** Bytes that one fast registration covers: the largest NBD request (32 MiB). */
export const FAST_REGISTRATION_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Pieces of one registration that a peer may have written beyond a gap, at once: a target that spreads a read over
 * RDMA Writes that end in any order has fewer. More are not counted, see rnic/placed-ranges.ts.
 */
export const PLACED_ISLANDS_MAX = 32;

/** The longest message: the 32-bit length of an RDMA Read, less the half that no implementation grants. */
export const MESSAGE_BYTES_MAX = 0x7fff_ffff;

/** Live keys per device: bounds the key table, and keeps a guessed 32-bit key a 1 in 4096 shot at worst. */
export const REGION_KEYS_MAX = 1 << 20;

/** The largest completion queue: eight connections of Linux's largest queue pairs. */
export const COMPLETION_QUEUE_DEPTH_MAX = 1 << 17;

/** Private data of a connection's set-up: soft-iWARP takes 256 bytes in all, of which four are MPA's own. */
export const PRIVATE_DATA_BYTES_MAX = 252;

/** A TCP port number has 16 bits. */
export const PORT_MAX = 65_535;

/** Callers that wait for accept or reject on one listener, when `backlog` does not say less. */
export const LISTEN_BACKLOG_MAX = 128;
