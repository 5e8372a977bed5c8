import { describe, expect, it } from 'vitest';
import { BusyPoller } from '../../src/socket/busy-poll.js';
import type { PollLoop } from '../../src/socket/busy-poll.js';
import { PollRecord } from '../../src/socket/poll-policy.js';

/** An event loop that turns when it is told to. */
class HandLoop implements PollLoop {
  timeMs = 1;
  #due: (() => void)[] = [];

  nowMs(): number {
    return this.timeMs;
  }

  nextTurn(action: () => void): void {
    this.#due.push(action);
  }

  get dueCount(): number {
    return this.#due.length;
  }

  turn(byUs = 0): void {
    this.timeMs += byUs / 1000;
    for (const action of this.#due.splice(0)) action();
  }
}

describe('busy polling', () => {
  it('is off until it is asked for, and after it was turned off', () => {
    const loop = new HandLoop();
    const poller = new BusyPoller(loop);
    poller.arrived(new PollRecord(), 28);
    expect(loop.dueCount).toBe(0);
    poller.windowUs = 50;
    poller.arrived(new PollRecord(), 28);
    expect(loop.dueCount).toBe(1);
    poller.windowUs = 0;
    loop.turn();
    poller.arrived(new PollRecord(), 28);
    expect(loop.dueCount).toBe(0);
  });

  it('keeps the loop turning for the window, with one call a turn, and then lets it sleep', () => {
    const loop = new HandLoop();
    const poller = new BusyPoller(loop);
    poller.windowUs = 50;
    for (let count = 0; count < 3; count++) poller.arrived(new PollRecord(), 28);
    let turns = 0;
    for (; loop.dueCount > 0; turns++) {
      expect(loop.dueCount).toBe(1);
      loop.turn(10);
    }
    expect(turns).toBe(6);
  });

  it('costs a silent loop nothing', () => {
    const loop = new HandLoop();
    const poller = new BusyPoller(loop);
    poller.windowUs = 1000;
    for (let turn = 0; turn < 100; turn++) loop.turn(100);
    expect(loop.dueCount).toBe(0);
  });
});
