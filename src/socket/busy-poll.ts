import { nextTurn } from '../common/later.js';
import { PollPolicy } from './poll-policy.js';
import type { PollRecord } from './poll-policy.js';

/** The longest window. Polling for longer wastes a core: a sleep would hardly make the wait longer. */
export const POLL_US_MAX = 1000;

/** The event loop, as a {@link BusyPoller} uses it. */
export interface PollLoop {
  nowMs(): number;
  /** Calls `action` after the event loop has looked at the sockets. Until then, the event loop does not sleep. */
  nextTurn(action: () => void): void;
}

const nodeLoop: PollLoop = {
  nowMs: () => performance.now(),
  nextTurn: (action) => {
    nextTurn(action);
  },
};

/**
 * Keeps the event loop from sleeping for a short while after bytes have arrived. A pending immediate makes epoll_wait
 * return at once, so a chain of immediates is polling. While nothing arrives, there is no chain.
 */
export class BusyPoller {
  readonly #loop: PollLoop;
  #policy: PollPolicy | null = null;
  #isDue = false;
  readonly #turn = (): void => {
    this.#isDue = false;
    if (this.#policy?.turn(this.#loop.nowMs()) === true) this.#schedule();
  };

  constructor(loop: PollLoop = nodeLoop) {
    this.#loop = loop;
  }

  /** How long to poll after an arrival; 0 turns polling off. */
  set windowUs(windowUs: number) {
    this.#policy = windowUs === 0 ? null : new PollPolicy(windowUs / 1000);
  }

  /** Bytes have arrived from a source. */
  arrived(source: PollRecord, bytes: number): void {
    const policy = this.#policy;
    if (policy === null) return;
    // The clock is read only when its value is used.
    const nowMs = policy.isPolling ? this.#loop.nowMs() : 0;
    if (policy.arrived(source, bytes, nowMs)) this.#schedule();
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#loop.nextTurn(this.#turn);
  }
}

/** The poller of this thread. All data sockets report their bytes to it. Off until `windowUs` is set. */
export const busyPoller = new BusyPoller();
