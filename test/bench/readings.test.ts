import { describe, expect, it } from 'vitest';
import { parseFio } from '../../bench/fio.js';
import { parseMachineCpu, parseProcessCpuSeconds } from '../../bench/proc.js';

describe('readings of /proc', () => {
  it('reads the CPU time of a process whose name has spaces and parentheses', () => {
    const stat = '77 (a) b (c)) S 1 77 77 0 -1 4194560 9 0 0 0 250 50 0 0 20 0 7 0 100 0 0';
    expect(parseProcessCpuSeconds(stat)).toBe(3);
  });

  it('counts user, nice, system and interrupt time as busy, and steal apart', () => {
    const stat = 'cpu  100 20 30 9999 500 10 40 600 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n';
    expect(parseMachineCpu(stat)).toEqual({ busy: 2, steal: 6 });
  });
});

describe("the reading of fio's JSON", () => {
  it('skips the lines before it, and tells when the measured time was', () => {
    const result = parseFio(output(direction(1000, 10, 20), direction(0, 0, 0)));
    expect(result).toMatchObject({ iops: 500, meanUs: 10, p99Us: 20, fromMs: 8000, toMs: 10_000 });
  });

  it('weighs the means of a mixed load, and takes the worse tail', () => {
    const result = parseFio(output(direction(3000, 10, 20), direction(1000, 30, 90)));
    expect(result).toMatchObject({ iops: 2000, meanUs: 15, p99Us: 90 });
  });

  it('refuses a run that failed, or that did nothing', () => {
    const idle = direction(0, 0, 0);
    expect(() => parseFio(output(direction(1, 1, 1), idle, 5))).toThrow('error 5');
    expect(() => parseFio(output(idle, idle))).toThrow('no request');
  });
});

function output(read: object, write: object, error = 0): string {
  const json = JSON.stringify({ timestamp_ms: 10_000, jobs: [{ error, read, write }] }, null, 2);
  return `fio: connected to NBD server\n${json}\n`;
}

function direction(ios: number, meanUs: number, p99Us: number): object {
  return {
    iops: ios / 2,
    bw_bytes: ios * 2048,
    total_ios: ios,
    runtime: 2000,
    lat_ns: { mean: meanUs * 1000 },
    clat_ns: ios === 0 ? {} : { percentile: { '99.000000': p99Us * 1000 } },
  };
}
