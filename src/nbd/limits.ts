import { STRING_BYTES_MAX } from './wire.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What one NBD server takes on. Each limit bounds memory, time or both. */
export interface NbdLimits {
  /** Connections at a time; the next one is closed at once. */
  readonly connectionsMax: number;
  /** A client that has not chosen an export by then is cut off. */
  readonly handshakeMs: number;
  /** Options in one handshake, so that the deadline is not the only bound on what a client can make us answer. */
  readonly optionsMax: number;
  /** The longest option data that is read: larger is skipped and refused. */
  readonly optionBytesMax: number;
  /** The longest option data that is skipped (CVE-2017-15119); above it the connection is closed. */
  readonly optionSkipBytesMax: number;
  /** The longest READ and WRITE. */
  readonly payloadBytesMax: number;
  /** The longest payload of a refused WRITE that is skipped to stay in step; above it the connection is closed. */
  readonly drainBytesMax: number;
  /** Requests of one connection that are being read, carried out or answered. */
  readonly inFlightMax: number;
  /** Reply bytes waiting for a client to read them, above which no more of its requests are started. */
  readonly queuedBytesMax: number;
  /** A client that is in the middle of sending or reading a message, and does not go on, is cut off after this. */
  readonly stallMs: number;
  /** How long a connection that we ended waits for the client to close it as well. */
  readonly lingerMs: number;
  /** On shutdown, how long a client that is still choosing an export is told to go before it is cut off. */
  readonly handshakeDrainMs: number;
}

export const DEFAULT_LIMITS: NbdLimits = {
  // The buffer pool is laid out for 64 connections of queue depth 32.
  connectionsMax: 64,
  // A handshake is a handful of round trips.
  handshakeMs: 10_000,
  // The longest real handshake (libnbd listing everything) has about a dozen.
  optionsMax: 64,
  // A name, the widest list of information requests, and a dozen metadata queries.
  optionBytesMax: 4 * STRING_BYTES_MAX,
  optionSkipBytesMax: MIB,
  // What a client that did not ask for size constraints may send (proto.md, "Size constraints").
  payloadBytesMax: 32 * MIB,
  // Twice what every client may send, so that a client off by one buffer learns of it instead of losing its disk.
  drainBytesMax: 64 * MIB,
  // The kernel client's default queue depth.
  inFlightMax: 128,
  // One largest reply, and a batch of ordinary ones behind it, keep a link busy.
  queuedBytesMax: 8 * MIB,
  // The largest payload still gets through a link of 3 Mbit/s.
  stallMs: 120_000,
  lingerMs: 2_000,
  handshakeDrainMs: 1_000,
};

/** What one receive may leave unparsed: a data socket has a receive buffer of this size. */
export const CARRY_BYTES_MAX = 256 * KIB;
