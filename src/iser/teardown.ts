import { soon } from '../common/later.js';
import type { Clock, Timer } from '../common/clock.js';
import type { DatamoverHandler } from '../iscsi/datamover.js';
import type { IserConnectionError } from './errors.js';
import { Completion, ReleaseGates } from './state.js';

/** The steps of a connection's end. */
export interface TeardownSteps {
  /** Starts the orderly end at the connection manager. The peer's answer calls `peerGone`. */
  disconnect(): void;
  /** Puts the queue pair into the error state. Resolves when no request is posted any more. */
  drain(): Promise<void>;
  /** Makes every task inactive and revokes its keys. */
  deactivateTasks(): void;
  /** Frees everything. */
  release(): void;
}

/**
 * The end of a connection, for every cause and every order of events:
 *
 *     ours, in order    begin ─► disconnect ─► peerGone (or its timeout) ─► drain ─► …
 *     any failure       begin ─► disconnect, drain ─► …            peerGone (or its timeout) whenever it comes
 *
 *     … ─► drained: tasks inactive ─┬─► with peerGone: the transport gate ─┐
 *                                   └─► iSCSI told: the stop gate ─────────┴─► release
 *
 * An orderly end sends the queued PDUs first, as a disconnect does. A failed connection is cut off at once.
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

  /** Why the connection ended; null for an intended end. */
  get error(): IserConnectionError | null {
    return this.#error;
  }

  get handler(): DatamoverHandler | null {
    return this.#handler;
  }

  set handler(handler: DatamoverHandler | null) {
    this.#handler = handler;
    // The connection may have ended before the handler was set.
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

  /** The peer has disconnected, or was never connected. May be called before `begin`. */
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
    // Without a handler iSCSI does not use the connection.
    if (this.#handler === null) this.#gates.stopped.complete();
    else this.#notify();
  }

  #openTransportGate(): void {
    if (this.#isDrained && this.#isPeerGone) this.#gates.transportGone.complete();
  }

  /** Notifies iSCSI, once. When this returns, iSCSI uses no resource of the connection. */
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
