import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../support/common/manual-clock.js';
import type { TcpState } from '../../src/socket/tcp-table.js';
import { PROBE_BURST_MS, PROBE_IDLE_MS, PROBE_REST_MS } from '../../src/nbd/limits.js';
import { PeerProbe } from '../../src/nbd/peer-probe.js';
import type { ProbedPeer } from '../../src/nbd/peer-probe.js';

const VANISHED_MS = 100_000;
const ROUND_MS = VANISHED_MS / 5;

class Peer implements ProbedPeer {
  readonly idleTimes: number[] = [];
  vanishedCount = 0;

  constructor(readonly inode: number | null) {}

  keepAlive(idleMs: number): void {
    this.idleTimes.push(idleMs);
  }

  vanished(): void {
    this.vanishedCount++;
  }
}

let clock: ManualClock;
let table: Map<number, TcpState>;
let reads: number[][];
let probe: PeerProbe;

beforeEach(() => {
  clock = new ManualClock();
  table = new Map();
  reads = [];
  probe = new PeerProbe({
    clock,
    vanishedMs: VANISHED_MS,
    readTable: (wanted) => {
      reads.push([...wanted]);
      return Promise.resolve(table);
    },
  });
});

function added(inode: number | null): Peer {
  const peer = new Peer(inode);
  probe.add(peer);
  return peer;
}

/** One round, at whose end the kernel's table says this of the peer with inode 1. */
async function round(unansweredCount: number, unackedBytes = 0): Promise<void> {
  table.set(1, { unansweredCount, unackedBytes, isEstablished: true });
  clock.advance(ROUND_MS);
  for (let turn = 0; turn < 4; turn++) await Promise.resolve();
}

describe('clients’ hosts', () => {
  it('are probed in bursts, and left in peace between', () => {
    const peer = added(1);
    expect(peer.idleTimes).toEqual([PROBE_REST_MS]);
    clock.advance(ROUND_MS - PROBE_BURST_MS);
    expect(peer.idleTimes).toEqual([PROBE_REST_MS, PROBE_IDLE_MS]);
    clock.advance(PROBE_BURST_MS - 1);
    expect(peer.idleTimes).toHaveLength(2);
    expect(reads).toEqual([]);
    clock.advance(1);
    expect(peer.idleTimes).toEqual([PROBE_REST_MS, PROBE_IDLE_MS, PROBE_REST_MS]);
    expect(reads).toEqual([[1]]);
  });

  it('are not probed, and no clock runs, when there are none', () => {
    expect(clock.armedCount).toBe(0);
    const [one, other] = [added(1), added(2)];
    probe.remove(one);
    expect(clock.armedCount).toBe(1);
    probe.remove(other);
    probe.remove(other);
    expect(clock.armedCount).toBe(0);
    added(3);
    expect(clock.armedCount).toBe(1);
  });

  it('have vanished when nothing was heard for four rounds: of an idle client', async () => {
    const [gone, there] = [added(1), added(2)];
    for (const unanswered of [0, 0, 3, 6, 9]) await round(unanswered);
    expect(gone.vanishedCount).toBe(0);
    await round(10);
    expect([gone.vanishedCount, there.vanishedCount]).toEqual([1, 0]);
  });

  it('have vanished when nothing was heard for four rounds: of one that we still send to', async () => {
    const gone = added(1);
    for (const [unanswered, unacked] of [
      [4, 1000],
      [5, 1000],
      [6, 5000],
    ] as const) {
      await round(unanswered, unacked);
    }
    expect(gone.vanishedCount).toBe(0);
    await round(7, 5000);
    expect(gone.vanishedCount).toBe(1);
  });

  it('are there when they answered in between', async () => {
    const peer = added(1);
    for (let count = 0; count < 3; count++) {
      for (const unanswered of [3, 6, 9]) await round(unanswered);
      await round(0);
    }
    // An outage, its end, and another one.
    for (const unanswered of [3, 6, 9, 3, 6, 9]) await round(unanswered);
    expect(peer.vanishedCount).toBe(0);
  });

  it('are there when they acknowledge, however slowly', async () => {
    const peer = added(1);
    for (let unacked = 100_000; unacked > 0; unacked -= 10_000) await round(2, unacked);
    expect(peer.vanishedCount).toBe(0);
  });

  it('are there where the kernel says nothing of them', async () => {
    const peers = [added(null), added(7)];
    for (let count = 0; count < 10; count++) await round(5);
    expect(peers.map(({ vanishedCount }) => vanishedCount)).toEqual([0, 0]);
  });
});
