import { describe, expect, it } from 'vitest';
import { ManualClock } from '../support/common/manual-clock.js';
import { systemClock } from '../../src/common/clock.js';

describe('a manual clock', () => {
  it('fires in the order of due times, at those times', () => {
    const clock = new ManualClock();
    const fired: [string, number][] = [];
    const note = (name: string) => () => fired.push([name, clock.nowMs()]);
    clock.after(20, note('b'));
    clock.after(10, note('a'));
    clock.after(20, note('c'));
    clock.after(31, note('d'));
    clock.advance(30);
    expect(fired).toEqual([
      ['a', 10],
      ['b', 20],
      ['c', 20],
    ]);
    expect(clock.nowMs()).toBe(30);
    expect(clock.armedCount).toBe(1);
  });

  it('fires what a timer arms, when that falls due as well', () => {
    const clock = new ManualClock();
    const times: number[] = [];
    const again = (): void => {
      times.push(clock.nowMs());
      clock.after(10, again);
    };
    clock.after(10, again);
    clock.advance(35);
    expect(times).toEqual([10, 20, 30]);
  });

  it('forgets a timer that is cancelled, also by another one that is due', () => {
    const clock = new ManualClock();
    let fired = 0;
    const second = clock.after(10, () => fired++);
    clock.after(5, () => second.cancel());
    clock.advance(100);
    second.cancel();
    expect(fired).toBe(0);
  });
});

describe('the system clock', () => {
  it('fires not before the time, and goes forward', async () => {
    const start = systemClock.nowMs();
    await new Promise<void>((resolve) => systemClock.after(5, resolve));
    // Node's timers count whole milliseconds of the event loop's own clock.
    expect(systemClock.nowMs() - start).toBeGreaterThanOrEqual(4);
  });

  it('does not fire what was cancelled', async () => {
    let fired = false;
    const timer = systemClock.after(1, () => (fired = true));
    timer.cancel();
    timer.cancel();
    await new Promise<void>((resolve) => systemClock.after(3, resolve));
    expect(fired).toBe(false);
  });
});
