import type { ConnectionEvent } from '../../../src/transport/verbs.js';

type EventOf<T extends ConnectionEvent['type']> = Extract<ConnectionEvent, { type: T }>;

interface Waiter {
  readonly type: ConnectionEvent['type'];
  readonly resolve: (event: ConnectionEvent) => void;
  readonly reject: (error: Error) => void;
}

/** After one of these, no other event of the same connection is worth waiting for. */
const ENDINGS: readonly ConnectionEvent['type'][] = [
  'addressError',
  'routeError',
  'rejected',
  'unreachable',
  'connectError',
];

/** Collects the events of one connection id, and lets a test wait for them in order. */
export class EventLog {
  readonly all: ConnectionEvent[] = [];
  #unseen: ConnectionEvent[] = [];
  #waiters: Waiter[] = [];

  readonly handler = (event: ConnectionEvent): void => {
    this.all.push(event);
    this.#unseen.push(event);
    this.#settle();
  };

  get types(): readonly string[] {
    return this.all.map((event) => event.type);
  }

  /** The next event of a type, skipping others. Rejects when the connection fails in another way. */
  next<T extends ConnectionEvent['type']>(type: T): Promise<EventOf<T>> {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ type, resolve: (event) => resolve(event as EventOf<T>), reject });
      this.#settle();
    });
  }

  #settle(): void {
    for (;;) {
      const waiter = this.#waiters[0];
      if (waiter === undefined) return;
      const at = this.#unseen.findIndex(
        (event) => event.type === waiter.type || ENDINGS.includes(event.type),
      );
      const event = this.#unseen[at];
      if (event === undefined) return;
      this.#unseen = this.#unseen.slice(at + 1);
      this.#waiters.shift();
      if (event.type === waiter.type) waiter.resolve(event);
      else waiter.reject(new Error(`waited for ${waiter.type}, got ${JSON.stringify(event)}`));
    }
  }
}
