import { STRING_BYTES_MAX } from './wire.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a client that did not ask for size constraints may send (proto.md, "Size constraints"). */
export const DEFAULT_PAYLOAD_BYTES = 32 * MIB;

/** What one NBD server takes on. Each limit bounds memory, time or both. */
export interface NbdLimits {
  /** Connections at a time; the next one is refused. Where there are Unix sockets, an eighth is kept for them. */
  readonly connectionsMax: number;
  /** Connections at a time from one IP address; null for as many as it leaves free. Unix sockets have none. */
  readonly connectionsPerAddressMax: number | null;
  /** A client that has not chosen an export by then is cut off. */
  readonly handshakeMs: number;
  /** How long an option waits for the device that it asks about, before it is answered with what is known. */
  readonly refreshMs: number;
  /** Options in one handshake, so that the deadline is not the only bound on what a client can make us answer. */
  readonly optionsMax: number;
  /** The longest option data that is read: larger is skipped and refused. */
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
  /** Extents in one reply to BLOCK_STATUS; the client asks again for what follows. */
  readonly extentsMax: number;
  /** The longest payload of a refused WRITE that is skipped to stay in step; above it the connection is closed. */
  readonly drainBytesMax: number;
  /** Requests of one connection that are being read, carried out or answered. */
  readonly inFlightMax: number;
  /** Buffer bytes that one connection holds for the data of its requests; one request is always let through. */
  readonly inFlightBytesMax: number;
  /** Reply bytes waiting for a client to read them, above which no more of its requests are started. */
  readonly queuedBytesMax: number;
  /** A client that is in the middle of sending or reading a message, and does not go on, is cut off after this. */
  readonly stallMs: number;
  /** The same for a client that holds buffers which others wait for. */
  readonly contendedStallMs: number;
  /** A client whose host is gone without a word is given up after this; see PeerProbe. */
  readonly vanishedMs: number;
  /** How long a connection that we ended waits for the client to close it as well. */
  readonly lingerMs: number;
  /** On shutdown, how long a client that is still choosing an export is told to go before it is cut off. */
  readonly handshakeDrainMs: number;
}

export const DEFAULT_LIMITS: NbdLimits = {
  // A hypervisor with 40 disks of 4 connections has 160, and a NAT may have three of them behind one address. Each may
  // take two receive buffers' worth of memory, 512 KiB, outside the pool, once it has filled them.
  connectionsMax: 1024,
  connectionsPerAddressMax: null,
  // A handshake is a handful of round trips.
  handshakeMs: 10_000,
  // Half of that, for a client that asks once.
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
  // Below, a chunk of its own costs more than sending the zeroes.
  readHoleBytesMin: 64 * KIB,
  // 16 KiB of reply, and as many as a SCSI device is asked for (proto.md: not above 2^20).
  extentsMax: 1024,
  // Twice what every client may send, so that a client off by one buffer learns of it instead of losing its disk.
  drainBytesMax: 64 * MIB,
  // The kernel client's default queue depth.
  inFlightMax: 128,
  // Two of the largest requests, or the whole queue depth at 512 KiB.
  inFlightBytesMax: 64 * MIB,
  // One largest reply, and a batch of ordinary ones behind it, keep a link busy.
  queuedBytesMax: 8 * MIB,
  // The largest payload still gets through a link of 3 Mbit/s.
  stallMs: 120_000,
  // Longer than TCP takes to send a lost segment again, a few times over.
  contendedStallMs: 5_000,
  // Below two minutes; and four rounds of probes, 60 s, outlast the restart of a switch.
  vanishedMs: 100_000,
  lingerMs: 2_000,
  handshakeDrainMs: 1_000,
};

/** Clients that are told at a time why they are not served, and for how long: a handshake over a slow link. */
export const REFUSALS_MAX = 32;
export const REFUSAL_MS = 5_000;

/** Rounds of probes until a client is given up. */
export const PROBE_ROUNDS = 5;
/** One burst of keep-alive probes, a second apart: three, so that four bursts make up the kernel's ten. */
export const PROBE_BURST_MS = 2_500;
/** The silence after which the kernel probes: its least during a burst, and between bursts longer than a round. */
export const PROBE_IDLE_MS = 1_000;
export const PROBE_REST_MS = 7_200_000;
/** The least that {@link NbdLimits.vanishedMs} may be: rounds longer than their bursts. */
export const VANISHED_MS_MIN = PROBE_ROUNDS * 4_000;

/** How often a client is looked at for whether it goes on: often enough that it is soon known to. */
export const STALL_WATCH_MS = 1_000;

/** What one receive may leave unparsed: a data socket has a receive buffer of this size. */
export const CARRY_BYTES_MAX = 256 * KIB;
