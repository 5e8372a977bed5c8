import { nextTurn } from '../common/later.js';
import { PollPolicy } from './poll-policy.js';
import type { PollRecord } from './poll-policy.js';

/** The longest window: beyond it, a core is burnt for what a sleep would hardly lengthen. */
export const POLL_US_MAX = 1000;

/** What a {@link BusyPoller} needs of the event loop. */
export interface PollLoop {
  nowMs(): number;
  /** Calls `action` when the sockets have been looked at; until then, nobody sleeps. */
  nextTurn(action: () => void): void;
}

const nodeLoop: PollLoop = {
  nowMs: () => performance.now(),
  nextTurn: (action) => {
    nextTurn(action);
  },
};

/**
 * Keeps the event loop from sleeping for a short while after bytes have arrived. An immediate that is due makes
 * epoll_wait return at once; a chain of them is polling. When nothing arrives, there is none.
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
    // The clock is only read where it matters.
    const nowMs = policy.isPolling ? this.#loop.nowMs() : 0;
    if (policy.arrived(source, bytes, nowMs)) this.#schedule();
  }

  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    this.#loop.nextTurn(this.#turn);
  }
}

/** The one of this thread, which all data sockets tell of their bytes. Off unless somebody asks for it. */
export const busyPoller = new BusyPoller();
