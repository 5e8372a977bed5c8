import { beforeEach, describe, expect, it } from 'vitest';
import { ManualClock } from '../../support/common/manual-clock.js';
import { STABLE_MS } from '../../../src/gateway/workers/limits.js';
import { Supervision } from '../../../src/gateway/workers/supervision.js';

let clock: ManualClock;
let starts: number[];
let supervision: Supervision;

beforeEach(() => {
  clock = new ManualClock();
  starts = [];
  supervision = new Supervision(clock, () => starts.push(clock.nowMs()));
  supervision.begin();
});

/** Serves for `ms`, ends, and waits for the next start; returns how long that took. */
function serveAndEnd(ms: number): number | null {
  supervision.ready();
  clock.advance(ms);
  const delayMs = supervision.ended();
  clock.advance(delayMs ?? 0);
  return delayMs;
}

describe('a worker', () => {
  it('is replaced at once when it ends', () => {
    expect(serveAndEnd(1000)).toBe(0);
    expect(starts).toEqual([0, 1000]);
    expect(supervision.state).toBe('starting');
  });

  it('that ends again and again is replaced later and later, up to half a minute', () => {
    const delays = Array.from({ length: 10 }, () => serveAndEnd(10));
    expect(delays).toEqual([0, 250, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
    expect(starts).toHaveLength(11);
  });

  it('that never gets to serve is tried later and later too', () => {
    const delays = [];
    for (let round = 0; round < 4; round++) {
      delays.push(supervision.ended());
      clock.advance(delays.at(-1) ?? 0);
    }
    expect(delays).toEqual([0, 250, 500, 1000]);
  });

  it('that has served for long is replaced at once, whatever came before', () => {
    for (let round = 0; round < 5; round++) serveAndEnd(10);
    expect(serveAndEnd(STABLE_MS)).toBe(0);
    expect(serveAndEnd(STABLE_MS - 1)).toBe(250);
  });

  it('that is to stop is not replaced', () => {
    supervision.ready();
    expect(supervision.stop()).toBe(true);
    expect(supervision.stop()).toBe(true);
    expect(supervision.ended()).toBeNull();
    clock.advance(100_000);
    expect([starts, supervision.state]).toEqual([[0], 'stopped']);
  });

  it('that is to stop while it starts is stopping, too', () => {
    expect(supervision.stop()).toBe(true);
    expect(supervision.ended()).toBeNull();
    expect(supervision.state).toBe('stopped');
  });

  it('that is to stop while it waits has stopped', () => {
    serveAndEnd(10);
    supervision.ready();
    supervision.ended();
    expect(supervision.stop()).toBe(false);
    clock.advance(100_000);
    expect([starts.length, supervision.state, clock.armedCount]).toEqual([2, 'stopped', 0]);
  });
});
