import { describe, expect, it } from 'vitest';
import type { Measurement } from '../../bench/run-cell.js';
import { choose, isNoisy, median, summarize } from '../../bench/summary.js';
import type { Round } from '../../bench/summary.js';

const PEERS = ['peer'];

describe('the summary of a case', () => {
  it('takes the median, of an even number the middle between the two', () => {
    expect(median([5, 1, 9])).toBe(5);
    expect(median([4, 1, 2, 9])).toBe(3);
  });

  it('compares within each round, so that a drift of the machine does not move the ratio', () => {
    const rounds = [round(100, 50), round(200, 100), round(60, 30)];
    const [row] = summarize(rounds, ['ours', 'peer'], PEERS, false);
    expect(row?.value.iops).toBe(100);
    expect(row?.ratios['peer']).toEqual({ median: 2, low: 2, high: 2 });
  });

  it('has no ratio of a peer to itself, nor of a contestant that failed', () => {
    const failed: Round = { measurements: { peer: measurement(50) } };
    const rows = summarize([failed], ['ours', 'peer'], PEERS, false);
    expect(rows.map(({ contestant, ratios }) => [contestant, ratios])).toEqual([['peer', {}]]);
  });

  it('leaves noisy rounds out when there are enough quiet ones', () => {
    const noisy = round(1, 1, 0.5);
    const quiet = [round(100, 50), round(110, 50)];
    expect(choose([noisy, ...quiet], 2, 12)).toEqual({ rounds: quiet, isNoisy: false });
  });

  it('marks the case when quiet rounds are missing, and takes those with the least noise', () => {
    const worst = round(1, 1, 0.9);
    const bad = round(2, 1, 0.3);
    const quiet = round(3, 1, 0);
    expect(choose([worst, bad, quiet], 2, 12)).toEqual({ rounds: [quiet, bad], isNoisy: true });
  });

  it('counts what the hypervisor took as noise', () => {
    expect(isNoisy({ ...measurement(1), stealCores: 0.2 }, 12)).toBe(true);
    expect(isNoisy({ ...measurement(1), otherCores: 0.1 }, 12)).toBe(false);
  });
});

function round(ours: number, peer: number, otherCores = 0): Round {
  return { measurements: { ours: measurement(ours, otherCores), peer: measurement(peer) } };
}

function measurement(iops: number, otherCores = 0): Measurement {
  return {
    iops,
    bytesPerSecond: iops * 4096,
    meanUs: 1,
    p99Us: 2,
    cpuUsPerIo: { server: 3 },
    peakMib: { server: 4 },
    clientCores: 0.5,
    otherCores,
    stealCores: 0,
  };
}
