import { STRING_BYTES_MAX } from './wire.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/**
 * A client that was held back for this long may have gone away, and its requests that wait in its socket be outdated: a
 * second is what the most impatient client gives a server before it connects anew and writes again.
 */
export const HELD_BACK_MS = 1_000;

/** The payload that a client may send without asking for size constraints (proto.md, "Size constraints"). */
export const DEFAULT_PAYLOAD_BYTES = 32 * MIB;

/** The limits of one NBD server. Each bounds memory, time or both. */
export interface NbdLimits {
  /** Connections at a time; the next one is refused. A server with Unix sockets keeps an eighth for them. */
  readonly connectionsMax: number;
  /** Connections at a time from one IP address; null for as many as the address leaves free. Not for Unix sockets. */
  readonly connectionsPerAddressMax: number | null;
  /** A client that has not chosen an export after this time is cut off. */
  readonly handshakeMs: number;
  /** How long an option waits until its device is refreshed. Then it is answered with the earlier properties. */
  readonly refreshMs: number;
  /** Options in one handshake. Without this limit, only the deadline would bound the answers that a client can cause. */
  readonly optionsMax: number;
  /** The longest option data that is read. Longer data is skipped, and the option is refused. */
  readonly optionBytesMax: number;
  /** The longest option data that is skipped (CVE-2017-15119); above it the connection is closed. */
  readonly optionSkipBytesMax: number;
  /** Queries in one LIST_META_CONTEXT or SET_META_CONTEXT. */
  readonly metaQueriesMax: number;
  /** The longest READ and WRITE. A longer READ is answered in chunks where the client can take them. */
  readonly payloadBytesMax: number;
  /** A READ above this is answered in chunks of this size, each when its data is there. */
  readonly readChunkBytes: number;
  /** Chunks of one connection that are being read or sent. */
  readonly readChunksMax: number;
  /** Within a READ that is answered in chunks, a run of zeroes of at least this is sent as a hole. */
  readonly readHoleBytesMin: number;
  /** Extents in one reply to BLOCK_STATUS. The client asks again for the rest. */
  readonly extentsMax: number;
  /** The longest payload of a refused WRITE that is skipped to stay in step; above it the connection is closed. */
  readonly drainBytesMax: number;
  /** Requests of one connection that are being read, carried out or answered. */
  readonly inFlightMax: number;
  /** Buffer bytes that one connection holds for the data of its requests; one request is always let through. */
  readonly inFlightBytesMax: number;
  /** Reply bytes that a client has not read. Above this, no more of its requests are started. */
  readonly queuedBytesMax: number;
  /** A client that stops in the middle of sending or reading a message is cut off after this. */
  readonly stallMs: number;
  /** The same limit for a client that holds buffers which others wait for. */
  readonly contendedStallMs: number;
  /** A client whose host does not answer the kernel any more is cut off after this; see PeerProbe. */
  readonly vanishedMs: number;
  /** How long a connection that the server has ended waits for the client to close it too. */
  readonly lingerMs: number;
  /** On shutdown, the time between ERR_SHUTDOWN for a client that is still choosing an export and its cut-off. */
  readonly handshakeDrainMs: number;
}

export const DEFAULT_LIMITS: NbdLimits = {
  // A hypervisor with 40 disks of 4 connections has 160, and a NAT may have three of them behind one address. Each may
  // take two receive buffers' worth of memory, 512 KiB, outside the pool, once it has filled them.
  connectionsMax: 1024,
  connectionsPerAddressMax: null,
  // A handshake is a handful of round trips.
  handshakeMs: 10_000,
  // Half of `handshakeMs`: a client usually asks once.
  refreshMs: 5_000,
  // The longest real handshake (libnbd listing everything) has about a dozen.
  optionsMax: 64,
  // A name, the widest list of information requests, and a dozen metadata queries.
  optionBytesMax: 4 * STRING_BYTES_MAX,
  optionSkipBytesMax: MIB,
  // There is one context to select; a list of everything that clients know of has half a dozen.
  metaQueriesMax: 64,
  payloadBytesMax: DEFAULT_PAYLOAD_BYTES,
  // A buffer size class, and what copying programs read at a time: what they ask for stays one chunk.
  readChunkBytes: 2 * MIB,
  // 16 MiB under way keep a fast device busy, and leave buffers to others.
  readChunksMax: 8,
  // For a shorter run, a chunk of its own costs more than sending the zeroes.
  readHoleBytesMin: 64 * KIB,
  // 16 KiB of reply, and as many as a SCSI device is asked for (proto.md: not above 2^20).
  extentsMax: 1024,
  // Twice the default payload: a client that sends a little too much gets an error instead of losing its connection.
  drainBytesMax: 64 * MIB,
  // The kernel client's default queue depth.
  inFlightMax: 128,
  // Two of the largest requests, or the whole queue depth at 512 KiB.
  inFlightBytesMax: 64 * MIB,
  // One largest reply, and a batch of ordinary ones behind it, keep a link busy.
  queuedBytesMax: 8 * MIB,
  // The largest payload still gets through a link of 3 Mbit/s.
  stallMs: 120_000,
  // Longer than TCP takes to send a lost segment again a few times.
  contendedStallMs: 5_000,
  // Less than two minutes. Four silent rounds span 60 s, which is longer than the restart of a switch.
  vanishedMs: 100_000,
  lingerMs: 2_000,
  handshakeDrainMs: 1_000,
};

/** How many refused clients get a handshake at a time, and for how long: enough for a slow link. */
export const REFUSALS_MAX = 32;
export const REFUSAL_MS = 5_000;

/** Rounds of probes until a client is cut off. */
export const PROBE_ROUNDS = 5;
/** One burst of keep-alive probes, a second apart: three, so that four bursts make up the kernel's ten. */
export const PROBE_BURST_MS = 2_500;
/** The silence after which the kernel probes: the least possible during a burst; between bursts, longer than a round. */
export const PROBE_IDLE_MS = 1_000;
export const PROBE_REST_MS = 7_200_000;
/** The least value of {@link NbdLimits.vanishedMs}: each round must be longer than its burst. */
export const VANISHED_MS_MIN = PROBE_ROUNDS * 4_000;

/** How often the server looks whether a client goes on: often, so that a client is soon known to be active. */
export const STALL_WATCH_MS = 1_000;

/** The most that one receive can leave unparsed: the receive buffer of a data socket has this size. */
export const CARRY_BYTES_MAX = 256 * KIB;
