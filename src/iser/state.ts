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
 * init: nothing is sent. pending: address, route and connection are being established. up: the connection carries
 * PDUs. terminating: the queue pair is in the error state; what was posted is flushed. down: nothing is left.
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

/** `struct completion`: something that happens once. */
export class Completion {
  #isDone = false;
  #waiters: (() => void)[] = [];

  get isDone(): boolean {
    return this.#isDone;
  }

  /** Later calls change nothing. */
  complete(): void {
    if (this.#isDone) return;
    this.#isDone = true;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }

  /** Calls `waiter` when it has happened; at once if it has. */
  whenDone(waiter: () => void): void {
    if (this.#isDone) waiter();
    else this.#waiters.push(waiter);
  }
}

/**
 * The two completions that gate the release of a connection (the wait in `iser_release_work`). Nothing that the upper
 * layer or the transport still uses may be freed, and either can be last: the peer goes away and iSCSI hears of it,
 * or iSCSI stops and the peer takes its time.
 */
export class ReleaseGates {
  /** `stop_completion`: iSCSI knows that the connection is over, and no task is active. */
  readonly stopped = new Completion();
  /** `ib_completion`: the queue pair is drained and the connection manager is done with the peer. */
  readonly transportGone = new Completion();

  constructor(release: () => void) {
    this.stopped.whenDone(() => this.transportGone.whenDone(release));
  }
}
