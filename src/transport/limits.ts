/** Limits of all our RDMA transports, each with its reason. */

/** Work requests per queue. The largest queue of Linux's ib_iser has 512 * 9 + 10. */
export const WORK_REQUESTS_MAX = 8192;

/** SGEs per work request. iSER needs two, for header and data. A target's data may have five pieces. */
export const SGES_MAX = 8;

/** Outstanding RDMA Reads per direction: the number that soft-iWARP grants, far more than an iSER session uses. */
export const READ_DEPTH_MAX = 128;

/** Bytes that one fast registration covers: the largest NBD request (32 MiB). */
export const FAST_REGISTRATION_BYTES_MAX = 32 * 1024 * 1024;

/**
 * Written pieces after a gap in one registration. A target that splits a read into RDMA Writes and completes them in
 * any order has fewer. Further pieces are not counted; see rnic/placed-ranges.ts.
 */
export const PLACED_ISLANDS_MAX = 32;

/** The longest message: half the range of the 32-bit length of an RDMA Read. No implementation grants more. */
export const MESSAGE_BYTES_MAX = 0x7fff_ffff;

/**
 * Valid keys per device. This bounds the key table, and a guess of a 32-bit key succeeds with a probability of at
 * most 1 in 4096.
 */
export const REGION_KEYS_MAX = 1 << 20;

/** The largest completion queue: eight connections of Linux's largest queue pairs. */
export const COMPLETION_QUEUE_DEPTH_MAX = 1 << 17;

/** Private data of a connection's set-up: soft-iWARP accepts 256 bytes, and MPA uses four of them. */
export const PRIVATE_DATA_BYTES_MAX = 252;

/** A TCP port number has 16 bits. */
export const PORT_MAX = 65_535;

/** Callers of one listener that wait for accept or reject. `backlog` may set a lower limit. */
export const LISTEN_BACKLOG_MAX = 128;
