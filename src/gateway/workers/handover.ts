import type { Clock, Timer } from '../../common/clock.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import { CLIENT_HANDOVER_MS } from './limits.js';

/** A client on its way to a worker; its handle is open here until it is taken there. */
export interface WaitingClient {
  readonly conn: number;
  readonly address: string | null;
  readonly handle: SocketHandle;
}

export interface HandoverHandler {
  send(client: WaitingClient): void;
  /** The worker has not taken a client for long; these, which were not sent yet, can go elsewhere. */
  stalled(clients: readonly WaitingClient[]): void;
  /** It has, after all. */
  recovered(): void;
}

/**
 * The clients on their way to one worker. One at a time is sent: the next when the worker has said that it took the
 * last. Only what was never sent, or was sent to a worker that has ended without a word of it, may go to another:
 * of two workers with one client, both would talk to it.
 */
export class Handover {
  readonly #clock: Clock;
  readonly #handler: HandoverHandler;
  #sent: WaitingClient | null = null;
  #queue: WaitingClient[] = [];
  #timer: Timer | null = null;
  #isStalled = false;

  constructor(clock: Clock, handler: HandoverHandler) {
    this.#clock = clock;
    this.#handler = handler;
  }

  give(client: WaitingClient): void {
    this.#queue.push(client);
    this.#sendNext();
  }

  /** The worker has the client: from now on it is only there. */
  taken(conn: number): void {
    if (this.#sent?.conn !== conn) return;
    this.#timer?.cancel();
    this.#sent.handle.close();
    this.#sent = null;
    if (this.#isStalled) this.#handler.recovered();
    this.#isStalled = false;
    this.#sendNext();
  }

  /** The worker has ended: all that it never took, the first first. */
  end(): readonly WaitingClient[] {
    this.#timer?.cancel();
    const left = this.#sent === null ? this.#queue : [this.#sent, ...this.#queue];
    this.#sent = null;
    this.#queue = [];
    return left;
  }

  #sendNext(): void {
    if (this.#sent !== null) return;
    const next = this.#queue.shift();
    if (next === undefined) return;
    this.#sent = next;
    this.#timer = this.#clock.after(CLIENT_HANDOVER_MS, () => this.#stall());
    this.#handler.send(next);
  }

  #stall(): void {
    this.#isStalled = true;
    this.#handler.stalled(this.#queue.splice(0));
  }
}
