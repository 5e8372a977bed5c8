/** Limits of the iwarp transport, each with its reason. */

/** RFC 5044 section 7.1: PD_Length never exceeds 512, the enhanced data of RFC 6581 included. */
export const MPA_PRIVATE_DATA_BYTES_MAX = 512;

/** Linux siw waits 5 s for a request; a peer of ours has the same time for its whole frame. */
export const MPA_REQUEST_TIMEOUT_MS = 5_000;

/** Linux siw waits 10 s for a reply; LIO's accept path may be busy with another login for that long. */
export const MPA_REPLY_TIMEOUT_MS = 10_000;

/** Connections that have sent no whole request yet: beyond this, the longest silent one makes room for a new one. */
export const HALF_OPEN_CONNECTIONS_MAX = 128;
/** Those of one address: as many as a gateway with 40 exports opens at once, and half of all at most. */
export const HALF_OPEN_PER_HOST_MAX = 64;

/** Time for our last FPDUs, a Terminate among them, to leave towards a peer that does not read any more. */
export const STREAM_CLOSE_TIMEOUT_MS = 2_000;

/** For TCP to come up, over all addresses of a name. */
export const TCP_CONNECT_TIMEOUT_MS = 10_000;

/** Reads towards a peer that could not say what it bears (no enhanced data): every RNIC bears one. */
export const READ_DEPTH_UNNEGOTIATED = 1;

/** The FPDU size that a user may ask for: below, headers dominate; above, the 16-bit length does not reach. */
export const FPDU_BYTES_MIN = 512;
export const FPDU_BYTES_MAX = 65_500;

/**
 * The default FPDU size: 15 pages of payload. Linux siw takes any size and the cost is per FPDU (measured: 65 KB
 * FPDUs move twice what 9 KB FPDUs do). Hardware RNICs want an FPDU to fit a TCP segment, for which the setting
 * exists.
 */
export const FPDU_BYTES_DEFAULT = 61_460;

/** A payload up to this size is copied behind its header: the copy is cheaper than one more buffer in writev. */
export const COPY_BYTES_MAX = 8_192;

/** Bytes produced but not yet taken by the operating system: enough to keep a fast link busy, and the bound of it. */
export const TRANSMIT_BYTES_MAX = 512 * 1024;

/** Bytes built in one go, before other connections have their turn: two of these are on their way at most. */
export const TRANSMIT_BATCH_BYTES_MAX = 256 * 1024;

/** The ring for headers, CRCs and copied payload: holds what {@link TRANSMIT_BYTES_MAX} allows and one FPDU more. */
export const TRANSMIT_RING_BYTES = 1024 * 1024;

/**
 * A Read Request starts and ends within the first bytes of its write, which TCP sends in one segment: Linux siw
 * up to at least 6.18 mistakes a Read Request that is cut between two segments.
 */
export const READ_REQUEST_WRITE_BYTES_MAX = 1_400;

/**
 * Linux siw, as a responder, loses the wake-up for what arrives between its MPA reply and its socket's hand-over to the
 * queue pair; the initiator's first message then lies there until something else arrives. So an initiator that has sent
 * and heard nothing sends an empty RDMA Write, after this time and again after twice as long each time.
 */
export const NUDGE_FIRST_MS = 100;

/** 25 s in all: longer than the 15 s after which LIO gives a login up. */
export const NUDGES_MAX = 8;
