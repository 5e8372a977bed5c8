import { soon } from '../common/later.js';
import type { Clock, Timer } from '../common/clock.js';
import type { DatamoverHandler } from '../iscsi/datamover.js';
import type { IserConnectionError } from './errors.js';
import { Completion, ReleaseGates } from './state.js';

/** What a connection does at the steps of its end. */
export interface TeardownSteps {
  /** Starts the orderly end at the connection manager; the peer's answer is `peerGone`. */
  disconnect(): void;
  /** Puts the queue pair into the error state. Resolves when nothing is posted any more. */
  drain(): Promise<void>;
  /** Makes every task inactive and revokes its keys. */
  deactivateTasks(): void;
  /** Frees everything. */
  release(): void;
}

/**
 * The end of a connection, whoever wants it, in any order of what others do:
 *
 *     ours, in order    begin ─► disconnect ─► peerGone (or its timeout) ─► drain ─► …
 *     any failure       begin ─► disconnect, drain ─► …            peerGone (or its timeout) whenever it comes
 *
 *     … ─► drained: tasks inactive ─┬─► with peerGone: the transport gate ─┐
 *                                   └─► iSCSI told: the stop gate ─────────┴─► release
 *
 * An orderly end lets what is queued leave, as a disconnect does; a failed connection is cut off at once.
 */
export class Teardown {
  readonly released = new Completion();
  readonly #steps: TeardownSteps;
  readonly #clock: Clock;
  readonly #disconnectTimeoutMs: number;
  readonly #gates = new ReleaseGates(() => this.#release());
  #handler: DatamoverHandler | null = null;
  #error: IserConnectionError | null = null;
  #hasBegun = false;
  #isDraining = false;
  #isDrained = false;
  #isPeerGone = false;
  #isNotified = false;
  #timer: Timer | null = null;

  constructor(steps: TeardownSteps, clock: Clock, disconnectTimeoutMs: number) {
    this.#steps = steps;
    this.#clock = clock;
    this.#disconnectTimeoutMs = disconnectTimeoutMs;
  }

  /** Why the connection ended; null when we wanted it to. */
  get error(): IserConnectionError | null {
    return this.#error;
  }

  get handler(): DatamoverHandler | null {
    return this.#handler;
  }

  set handler(handler: DatamoverHandler | null) {
    this.#handler = handler;
    // The end can come before anybody listens.
    if (this.#isDrained && !this.#isNotified) soon(() => this.#notify());
  }

  /** Called once. */
  begin(error: IserConnectionError | null): void {
    this.#error = error;
    this.#hasBegun = true;
    if (!this.#isPeerGone) {
      this.#timer = this.#clock.after(this.#disconnectTimeoutMs, () => this.peerGone());
      this.#steps.disconnect();
    }
    if (error !== null || this.#isPeerGone) this.#drain();
  }

  /** There is no peer, or none any more: it said goodbye, or never came. May precede `begin`. */
  peerGone(): void {
    this.#isPeerGone = true;
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#hasBegun) this.#drain();
    this.#openTransportGate();
  }

  #drain(): void {
    if (this.#isDraining) return;
    this.#isDraining = true;
    void this.#steps.drain().then(() => this.#drained());
  }

  #drained(): void {
    this.#isDrained = true;
    this.#steps.deactivateTasks();
    this.#openTransportGate();
    // Without a handler nobody uses the connection.
    if (this.#handler === null) this.#gates.stopped.complete();
    else this.#notify();
  }

  #openTransportGate(): void {
    if (this.#isDrained && this.#isPeerGone) this.#gates.transportGone.complete();
  }

  /** Tells iSCSI, once. What it used here, it has let go of when this returns. */
  #notify(): void {
    if (this.#isNotified || this.#handler === null) return;
    this.#isNotified = true;
    try {
      this.#handler.terminateNotify(this.#error);
    } finally {
      this.#gates.stopped.complete();
    }
  }

  #release(): void {
    this.#steps.release();
    this.released.complete();
  }
}
