import type { Clock, Timer } from '../common/clock.js';
import { readTcpTable } from '../socket/tcp-table.js';
import type { TcpState } from '../socket/tcp-table.js';
import { PROBE_BURST_MS, PROBE_IDLE_MS, PROBE_REST_MS, PROBE_ROUNDS } from './limits.js';

/** A TCP client whose host may be gone. */
export interface ProbedPeer {
  /** The inode of the peer's socket; null when it is not known. */
  readonly inode: number | null;
  /** Sets the silence after which the kernel probes the peer. */
  keepAlive(idleMs: number): void;
  /** The peer has not answered for a long time. */
  vanished(): void;
}

export interface PeerProbeOptions {
  readonly clock: Clock;
  /** A silent peer is reported after this time at the latest. */
  readonly vanishedMs: number;
  readonly readTable?: typeof readTcpTable;
}

interface Silence {
  /** Rounds in a row that ended with something unanswered. */
  rounds: number;
  unansweredCount: number;
  unackedBytes: number;
}

/**
 * Finds clients whose hosts have vanished without closing the connection: power off, cable out. NBD has no message that
 * checks an idle client. TCP by itself notices after a quarter of an hour at best, and only when something was sent.
 *
 * Node lets a program set only one property of keep-alive: how long a socket may be idle before the kernel sends probes.
 * libuv fixes the probes at ten, a second apart: with these, an outage of ten seconds would end every idle connection. So
 * the probes are sent in bursts of three: in each round, the idle time is short for a moment, and long for the rest. At
 * the end of each burst, the kernel's table of connections is read. It shows probes that were not answered, and also data
 * that was sent again and again, for which the kernel sends no probes.
 *
 *      ├ burst ┤   table   rest                ├ burst ┤   table   …
 *
 * A client that was silent at the end of `PROBE_ROUNDS - 1` rounds in a row has vanished.
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

/** Counts the silent rounds; true when the peer has been silent for too many. */
function isGone(silence: Silence, { unansweredCount, unackedBytes }: TcpState): boolean {
  // A peer that acknowledges some bytes, or answers one of several probes, has not vanished.
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
