import { beforeEach, describe, expect, it } from 'vitest';
import { HeldRange, RangeLock } from '../../../src/block/range-lock.js';
import { ManualClock } from '../../support/common/manual-clock.js';
import { Requester } from '../../../src/common/requester.js';
import type { SharedUnit } from '../../../src/gateway/units.js';
import { ANNOUNCE_AFTER_TICKS, ANNOUNCE_TICK_MS } from '../../../src/gateway/workers/limits.js';
import type { BusyRanges, EndedRanges } from '../../../src/gateway/workers/messages.js';
import { RangeNews } from '../../../src/gateway/workers/range-news.js';

const LONG_MS = (ANNOUNCE_AFTER_TICKS + 1) * ANNOUNCE_TICK_MS;

class Process {
  readonly clock = new ManualClock();
  readonly unit: SharedUnit = { name: 'disk', lock: new RangeLock(), disks: new Set() };
  readonly busy: BusyRanges[] = [];
  readonly over: EndedRanges[] = [];
  readonly news = new RangeNews(
    {
      get: (name) => (name === 'disk' ? this.unit : undefined),
      [Symbol.iterator]: () => [this.unit][Symbol.iterator](),
    },
    this.clock,
    { busy: (news) => this.busy.push(news), over: (news) => this.over.push(news) },
  );

  /** A change of `[startBytes, startBytes + 512)`, and whether it may go ahead. */
  change(startBytes: number, requester = new Requester()) {
    const state = { isHeld: false };
    const range = new HeldRange(() => (state.isHeld = true));
    range.startBytes = startBytes;
    range.endBytes = startBytes + 512;
    range.access = 'change';
    range.requester = requester;
    this.unit.lock.acquire(range);
    return { range, state };
  }
}

let first: Process;
let second: Process;

beforeEach(() => {
  first = new Process();
  second = new Process();
});

/** What the first process has said reaches the second. */
async function deliver(): Promise<void> {
  await Promise.resolve();
  for (const news of first.busy.splice(0)) second.news.hear({ worker: 1, ...news });
  for (const news of first.over.splice(0)) second.news.hearEnd({ worker: 1, ...news });
}

describe('a change in one process', () => {
  it('is nobody else’s concern if it is short', async () => {
    const { range } = first.change(0);
    first.clock.advance(ANNOUNCE_TICK_MS);
    first.unit.lock.release(range);
    first.clock.advance(LONG_MS);
    await Promise.resolve();
    expect([first.busy, first.over]).toEqual([[], []]);
  });

  it('is announced once when it takes long, and so is its end', async () => {
    const { range } = first.change(0);
    first.clock.advance(10 * LONG_MS);
    expect(first.busy).toEqual([
      { unitName: 'disk', ranges: [{ number: 1, startBytes: 0, endBytes: 512 }] },
    ]);
    first.unit.lock.release(range);
    await Promise.resolve();
    expect(first.over).toEqual([{ unitName: 'disk', numbers: [1] }]);
  });

  it('is announced at once when its client is gone', () => {
    const gone = new Requester();
    first.change(0);
    first.change(512, gone);
    gone.isGone = true;
    first.news.announceOrphans();
    expect(first.busy.flatMap(({ ranges }) => ranges.map(({ startBytes }) => startBytes))).toEqual([
      512,
    ]);
  });

  it('holds up what overlaps it in another process, until it has ended', async () => {
    const { range } = first.change(0);
    first.change(4096);
    first.news.announceAll();
    await deliver();
    const within = second.change(100);
    const elsewhere = second.change(1024);
    expect([within.state.isHeld, elsewhere.state.isHeld]).toEqual([false, true]);
    first.unit.lock.release(range);
    await deliver();
    expect(within.state.isHeld).toBe(true);
  });

  it('is not passed on by those who have heard of it', async () => {
    first.change(0);
    first.news.announceAll();
    await deliver();
    second.news.announceAll();
    second.clock.advance(LONG_MS);
    expect(second.busy).toEqual([]);
  });

  it('that waits is not announced: it holds nothing', () => {
    first.change(0);
    first.change(0);
    first.news.announceAll();
    expect(first.busy[0]?.ranges).toHaveLength(1);
  });
});

describe('the end', () => {
  it('leaves no timer', () => {
    first.news.close();
    expect(first.clock.armedCount).toBe(0);
  });

  it('of a range that was never announced is no matter', async () => {
    first.news.hearEnd({ worker: 2, unitName: 'disk', numbers: [4] });
    first.news.hear({ worker: 2, unitName: 'other', ranges: [] });
    await Promise.resolve();
    expect(first.over).toEqual([]);
  });
});
