import type { Clock, Timer } from '../common/clock.js';
import { readTcpTable } from '../socket/tcp-table.js';
import type { TcpState } from '../socket/tcp-table.js';
import { PROBE_BURST_MS, PROBE_IDLE_MS, PROBE_REST_MS, PROBE_ROUNDS } from './limits.js';

/** A TCP client whose host may be gone. */
export interface ProbedPeer {
  /** Its socket's; null when that is not known. */
  readonly inode: number | null;
  /** After this much silence, the kernel asks the peer for a sign of life. */
  keepAlive(idleMs: number): void;
  /** The peer has not answered for a long time. */
  vanished(): void;
}

export interface PeerProbeOptions {
  readonly clock: Clock;
  /** A peer that is silent is given up after this, at most. */
  readonly vanishedMs: number;
  readonly readTable?: typeof readTcpTable;
}

interface Silence {
  /** Rounds in a row at whose end something was unanswered. */
  rounds: number;
  unansweredCount: number;
  unackedBytes: number;
}

/**
 * Finds out which clients' hosts are gone without a word: power off, cable out. Nothing in NBD asks an idle client for a
 * sign of life, and TCP by itself notices after a quarter of an hour at best, when something was sent.
 *
 * Two things of the kernel's are used, since Node lets us set no more of a socket than how long it may be idle before
 * keep-alive probes are sent. The probes: libuv has fixed them at ten, a second apart, so that an outage of ten seconds
 * would end every idle connection. They are let go in bursts of three, therefore: a round is a short idle time for a
 * moment, and a long one for the rest. And the table of connections, read at the end of each burst. It tells of probes
 * that were not answered, and of data that was sent again and again, for which no probes are sent.
 *
 *      ├ burst ┤   table   rest                ├ burst ┤   table   …
 *
 * A client of which nothing was heard at the end of each of `PROBE_ROUNDS` rounds but one has vanished.
 */
export class PeerProbe {
  readonly #clock: Clock;
  readonly #roundMs: number;
  readonly #readTable: typeof readTcpTable;
  readonly #peers = new Map<ProbedPeer, Silence>();
  #timer: Timer | null = null;

  constructor({ clock, vanishedMs, readTable = readTcpTable }: PeerProbeOptions) {
    this.#clock = clock;
    this.#roundMs = vanishedMs / PROBE_ROUNDS;
    this.#readTable = readTable;
  }

  add(peer: ProbedPeer): void {
    peer.keepAlive(PROBE_REST_MS);
    this.#peers.set(peer, { rounds: 0, unansweredCount: 0, unackedBytes: 0 });
    if (this.#peers.size === 1) this.#rest();
  }

  remove(peer: ProbedPeer): void {
    this.#peers.delete(peer);
    if (this.#peers.size === 0) this.#timer?.cancel();
  }

  #rest(): void {
    this.#timer = this.#clock.after(this.#roundMs - PROBE_BURST_MS, () => this.#burst());
  }

  #burst(): void {
    for (const peer of this.#peers.keys()) peer.keepAlive(PROBE_IDLE_MS);
    this.#timer = this.#clock.after(PROBE_BURST_MS, () => {
      for (const peer of this.#peers.keys()) peer.keepAlive(PROBE_REST_MS);
      this.#rest();
      void this.#look();
    });
  }

  async #look(): Promise<void> {
    const inodes = new Set<number>();
    for (const { inode } of this.#peers.keys()) if (inode !== null) inodes.add(inode);
    const states = await this.#readTable(inodes);
    for (const [peer, silence] of this.#peers) {
      const state = peer.inode === null ? undefined : states.get(peer.inode);
      if (state !== undefined && isGone(silence, state)) peer.vanished();
    }
  }
}

/** Keeps count of the rounds; true when the peer has been silent for too many. */
function isGone(silence: Silence, { unansweredCount, unackedBytes }: TcpState): boolean {
  // Whoever acknowledges part of what was sent, or answers one of several probes, is there.
  const isSilent =
    unansweredCount > 0 &&
    unansweredCount >= silence.unansweredCount &&
    (silence.rounds === 0 || unackedBytes >= silence.unackedBytes);
  if (isSilent) silence.rounds++;
  else silence.rounds = unansweredCount > 0 ? 1 : 0;
  silence.unansweredCount = unansweredCount;
  silence.unackedBytes = unackedBytes;
  return silence.rounds >= PROBE_ROUNDS - 1;
}
