/** Limits of the iwarp transport, each with its reason. */

/** RFC 5044 section 7.1: PD_Length is at most 512, including the enhanced data of RFC 6581. */
export const MPA_PRIVATE_DATA_BYTES_MAX = 512;

/** The time for a complete request. Linux siw waits 5 s, too. */
export const MPA_REQUEST_TIMEOUT_MS = 5_000;

/**
 * The time for a complete reply. Linux siw waits 10 s, too: LIO's accept path may be busy with another login for that
 * long.
 */
export const MPA_REPLY_TIMEOUT_MS = 10_000;

/**
 * Connections without a complete request. At this limit a new connection displaces the one that has been silent
 * longest.
 */
export const HALF_OPEN_CONNECTIONS_MAX = 128;
/** The same limit per address: enough for a gateway that opens 40 exports at the same time, and half of all places. */
export const HALF_OPEN_PER_HOST_MAX = 64;

/** The time for our last FPDUs, such as a Terminate, to leave when the peer does not read. */
export const STREAM_CLOSE_TIMEOUT_MS = 2_000;

/** The time for the TCP connection, over all addresses of a name. */
export const TCP_CONNECT_TIMEOUT_MS = 10_000;

/** Our outstanding reads when the peer sent no read depth (no enhanced data). Every RNIC supports one. */
export const READ_DEPTH_UNNEGOTIATED = 1;

/**
 * The FPDU sizes that a user may set. Smaller FPDUs are mostly headers. Larger FPDUs exceed the 16-bit length field.
 */
export const FPDU_BYTES_MIN = 512;
export const FPDU_BYTES_MAX = 65_500;

/**
 * The default FPDU size: 15 pages of payload. Linux siw accepts any size, and the cost is per FPDU (measured: 65 KB
 * FPDUs transfer twice as much as 9 KB FPDUs). Hardware RNICs require that an FPDU fits into a TCP segment; the
 * setting exists for them.
 */
export const FPDU_BYTES_DEFAULT = 61_460;

/** A payload up to this size is copied after its header. The copy is cheaper than one more buffer in writev. */
export const COPY_BYTES_MAX = 8_192;

/** The most bytes that are built but not accepted by the operating system. Enough to keep a fast link busy. */
export const TRANSMIT_BYTES_MAX = 512 * 1024;

/** The most bytes of one batch, before other connections have their turn. At most two batches are on their way. */
export const TRANSMIT_BATCH_BYTES_MAX = 256 * 1024;

/** The ring for headers, CRCs and copied payload. It holds {@link TRANSMIT_BYTES_MAX} and one more FPDU. */
export const TRANSMIT_RING_BYTES = 1024 * 1024;

/**
 * A Read Request starts and ends within the first bytes of its write, which TCP sends in one segment: Linux siw, at
 * least up to 6.18, misreads a Read Request that is split between two segments.
 */
export const READ_REQUEST_WRITE_BYTES_MAX = 1_400;

/**
 * Linux siw, as a responder, loses the wake-up for bytes that arrive between its MPA reply and the hand-over of its
 * socket to the queue pair. The initiator's first message then waits until other bytes arrive. So an initiator that
 * has sent and received nothing since then sends an empty RDMA Write after this time, and repeats it after twice the
 * time each time.
 */
export const NUDGE_FIRST_MS = 100;

/** 25 s in total: longer than the 15 s after which LIO aborts a login. */
export const NUDGES_MAX = 8;
