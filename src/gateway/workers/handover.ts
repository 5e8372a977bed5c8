import type { Clock, Timer } from '../../common/clock.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import { CLIENT_HANDOVER_MS } from './limits.js';

/** A client on its way to a worker. Its handle stays open here until the worker has taken it. */
export interface WaitingClient {
  readonly conn: number;
  readonly address: string | null;
  readonly handle: SocketHandle;
}

export interface HandoverHandler {
  send(client: WaitingClient): void;
  /** The worker has not taken a client for a long time. `clients` were not sent yet, and can go to other workers. */
  stalled(clients: readonly WaitingClient[]): void;
  /** The worker has taken the client after all. */
  recovered(): void;
}

/**
 * The clients on their way to one worker. They are sent one at a time: the next one after the worker has confirmed that
 * it took the last. A client may go to another worker only when it was never sent, or when its worker has ended without
 * confirming it. Otherwise two workers could talk to the same client.
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

  /** The worker has the client: this process closes its own copy of the handle. */
  taken(conn: number): void {
    if (this.#sent?.conn !== conn) return;
    this.#timer?.cancel();
    this.#sent.handle.close();
    this.#sent = null;
    if (this.#isStalled) this.#handler.recovered();
    this.#isStalled = false;
    this.#sendNext();
  }

  /** The worker has ended. Returns the clients that it never took, in order. */
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
