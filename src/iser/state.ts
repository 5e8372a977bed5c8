import { StateMachine } from '../common/state-machine.js';
import type { Edges } from '../common/state-machine.js';

/**
 * `enum iser_conn_state`:
 *
 *                connect            established          terminate, any failure        both gates
 *       init ───────────► pending ────────────► up ──────────────────────► terminating ─────────► down
 *         │                  │                                                  ▲                  ▲
 *         │                  └──── refused, timed out, given up ────────────────┘                  │
 *         └──── no connection id to be had ────────────────────────────────────────────────────────┘
 *
 * init: nothing is sent. pending: address and route are being resolved, or the connection is being established. up:
 * the connection carries PDUs. terminating: the connection is ending, and posted requests are completed or flushed.
 * down: every resource is released.
 */
export type IserConnectionState = 'init' | 'pending' | 'up' | 'terminating' | 'down';

export const transitions: Edges<IserConnectionState> = {
  init: ['pending', 'down'],
  pending: ['up', 'terminating'],
  up: ['terminating'],
  terminating: ['down'],
  down: [],
};

export class IserStateMachine {
  readonly #machine = new StateMachine('an iSER connection', transitions, 'init');
  readonly #entered: (state: IserConnectionState) => void;

  constructor(entered: (state: IserConnectionState) => void = () => undefined) {
    this.#entered = entered;
  }

  get state(): IserConnectionState {
    return this.#machine.state;
  }

  enter(next: IserConnectionState): void {
    this.#machine.enter(next);
    this.#entered(next);
  }
}

/** `struct completion`: an event that happens once. */
export class Completion {
  #isDone = false;
  #waiters: (() => void)[] = [];

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Marks the event as happened. Later calls have no effect. */
  complete(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  /** Calls `waiter` when the event happens; at once if it has happened. */
  whenDone(waiter: () => void): void {
    if (this.#isDone) waiter();
    else this.#waiters.push(waiter);
  }
}

/**
 * The two completions that gate the release of a connection (the wait in `iser_release_work`). A resource may be
 * freed only when neither iSCSI nor the transport uses it. Either can finish last.
 */
export class ReleaseGates {
  /** `stop_completion`: iSCSI knows that the connection has ended, and no task is active. */
  readonly stopped = new Completion();
  /** `ib_completion`: the queue pair is drained, and the connection manager has finished with the peer. */
  readonly transportGone = new Completion();

  constructor(release: () => void) {
    this.stopped.whenDone(() => this.transportGone.whenDone(release));
  }
}
