import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  POLL_HANDOVER_MS,
  INTERRUPTED_MS,
  PollPolicy,
  PollRecord,
} from '../../src/socket/poll-policy.js';

const WINDOW_MS = 0.05;
const STEP_MS = WINDOW_MS / 10;

/** One arrival, and turns until the policy sleeps or the window is over; returns whether it polled. */
function arriveInVain(policy: PollPolicy, source: PollRecord, clock: { nowMs: number }): boolean {
  policy.arrived(source, 28, clock.nowMs);
  let polled = false;
  for (let turn = 0; turn < 20 && policy.turn(clock.nowMs); turn++) {
    polled = true;
    clock.nowMs += STEP_MS;
  }
  return polled;
}

describe('the polling policy', () => {
  it('sleeps until something arrives', () => {
    const policy = new PollPolicy(WINDOW_MS);
    expect(policy.turn(1)).toBe(false);
    expect(policy.isPolling).toBe(false);
  });

  it('polls from an arrival until the window has passed, and sleeps from then on', () => {
    const policy = new PollPolicy(WINDOW_MS);
    expect(policy.arrived(new PollRecord(), 28, 1)).toBe(true);
    expect(policy.turn(1)).toBe(true);
    expect(policy.turn(1 + WINDOW_MS - 0.001)).toBe(true);
    expect(policy.turn(1 + WINDOW_MS)).toBe(false);
    expect(policy.turn(1 + WINDOW_MS)).toBe(false);
  });

  it('polls anew from each arrival', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const source = new PollRecord();
    policy.arrived(source, 28, 0);
    for (let nowMs = 1; nowMs < 2; nowMs += WINDOW_MS - 0.001) {
      expect(policy.turn(nowMs)).toBe(true);
      policy.arrived(source, 28, nowMs);
      expect(policy.turn(nowMs)).toBe(true);
    }
  });

  it('counts the window from the turn that follows an arrival, however long the work took', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const source = new PollRecord();
    policy.arrived(source, 28, 1);
    policy.turn(1);
    policy.arrived(source, 28, 1.001);
    expect(policy.turn(50)).toBe(true);
    expect(policy.turn(50 + WINDOW_MS - 0.001)).toBe(true);
  });

  it('polls after 1, 2, 4 … at last 64 arrivals when windows pass in vain', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const source = new PollRecord();
    const clock = { nowMs: 1 };
    const polledAt: number[] = [];
    for (let arrival = 1; arrival <= 300; arrival++) {
      if (arriveInVain(policy, source, clock)) polledAt.push(arrival);
      clock.nowMs += 1;
    }
    expect(polledAt).toEqual([1, 3, 7, 15, 31, 63, 127, 191, 255]);
  });

  it('polls after every arrival again once one came within the window', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const source = new PollRecord();
    const clock = { nowMs: 1 };
    for (let arrival = 0; arrival < 200; arrival++) arriveInVain(policy, source, clock);
    while (!policy.arrived(source, 28, clock.nowMs)) clock.nowMs += 1;
    expect(policy.turn(clock.nowMs)).toBe(true);
    for (let arrival = 0; arrival < 10; arrival++) {
      expect(policy.arrived(source, 28, clock.nowMs)).toBe(true);
      expect(policy.turn(clock.nowMs)).toBe(true);
    }
  });

  it('holds it against a source when what follows was sent from our own core, by one that we kept from it', () => {
    const strideAfter = (gapMs: number, bytes: number): number => {
      const policy = new PollPolicy(WINDOW_MS);
      const source = new PollRecord();
      policy.arrived(source, 28, 0);
      policy.turn(1);
      policy.arrived(source, bytes, 1 + gapMs);
      return source.stride;
    };
    expect(strideAfter(POLL_HANDOVER_MS / 2, 28)).toBe(1);
    expect(strideAfter(POLL_HANDOVER_MS * 2, 28)).toBe(2);
    // Reading much takes a while, too.
    expect(strideAfter(POLL_HANDOVER_MS * 2, 1 << 20)).toBe(1);
  });

  it('does not hold against one source what another one does', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const [slow, quick] = [new PollRecord(), new PollRecord()];
    const clock = { nowMs: 1 };
    for (let arrival = 0; arrival < 200; arrival++) {
      arriveInVain(policy, slow, clock);
      expect(policy.arrived(quick, 28, clock.nowMs)).toBe(true);
      expect(policy.turn(clock.nowMs)).toBe(true);
    }
    expect(quick.stride).toBe(1);
  });

  it('pauses when something else had the core, twice as long each time', () => {
    const policy = new PollPolicy(WINDOW_MS);
    const source = new PollRecord();
    let nowMs = 1;
    const pauses: number[] = [];
    for (let round = 0; round < 13; round++) {
      policy.arrived(source, 28, nowMs);
      expect(policy.turn(nowMs)).toBe(true);
      nowMs += INTERRUPTED_MS * 1.5;
      expect(policy.turn(nowMs)).toBe(false);
      const sinceMs = nowMs;
      const isOver = () => policy.arrived(source, 28, nowMs) && policy.turn(nowMs);
      while (!isOver()) nowMs += 0.125;
      pauses.push(Math.round((nowMs - sinceMs) * 4) / 4);
    }
    expect(pauses).toEqual([0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 128, 128, 128]);
    nowMs += 10_000;
    policy.arrived(source, 28, nowMs);
    policy.turn(nowMs);
    policy.turn(nowMs + INTERRUPTED_MS * 1.5);
    policy.arrived(source, 28, nowMs);
    expect(policy.turn(nowMs + INTERRUPTED_MS * 1.5 + 1)).toBe(true);
  });

  it('never polls longer than a window without an arrival, whatever has happened', () => {
    const event = fc.oneof(
      fc.record({ source: fc.nat(2) }),
      fc.record({ byMs: fc.oneof(fc.double({ min: 0, max: 0.03, noNaN: true }), fc.nat(2000)) }),
    );
    fc.assert(
      fc.property(fc.array(event, { maxLength: 300 }), (events) => {
        const policy = new PollPolicy(WINDOW_MS);
        const sources = [new PollRecord(), new PollRecord(), new PollRecord()];
        let nowMs = 0;
        /** When the first turn behind the last arrival was; null before it. */
        let openedMs: number | null = null;
        let hasArrived = false;
        for (const item of events) {
          if ('source' in item) {
            const source = sources[item.source] ?? new PollRecord();
            expect(policy.arrived(source, 28, nowMs)).toBe(policy.isPolling);
            openedMs = null;
            hasArrived = true;
            continue;
          }
          nowMs += item.byMs;
          const wasPolling = policy.isPolling;
          const polls = policy.turn(nowMs);
          expect(polls).toBe(policy.isPolling);
          openedMs ??= nowMs;
          if (polls) {
            expect(wasPolling && hasArrived).toBe(true);
            expect(nowMs - openedMs).toBeLessThan(WINDOW_MS);
          }
        }
        for (const { stride } of sources) expect(stride).toBeLessThanOrEqual(64);
      }),
    );
  });
});
