import type { Clock } from '../../common/clock.js';
import { LISTEN_BACKLOG_MAX, PORT_MAX } from '../limits.js';
import type { PortalAddress } from '../verbs.js';
import { VerbsError } from '../verbs.js';
import { DYNAMIC_PORT_MIN } from './limits.js';

/** An id that listens. `waiting` callers have neither been accepted nor rejected yet. */
export interface MemoryListener<Owner> {
  readonly address: PortalAddress;
  readonly backlog: number;
  readonly owner: Owner;
  waiting: number;
}

/** Addresses that stand for every host name. */
const WILDCARD_HOSTS = ['0.0.0.0', '::'];

/** The listeners of a fabric, by `host:port`. Host names are not resolved, only compared. */
export class MemoryNetwork<Owner> {
  readonly clock: Clock;
  readonly #listeners = new Map<string, MemoryListener<Owner>>();
  #callers = 0;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** @throws VerbsError when the address is in use, or no port is free */
  bind(address: PortalAddress, backlog: number, owner: Owner): MemoryListener<Owner> {
    const { host } = address;
    const port = address.port === 0 ? this.#freePort(host) : address.port;
    const key = keyOf(host, port);
    if (this.#listeners.has(key)) {
      throw new VerbsError('address-in-use', `Another listener already uses ${host}:${port}.`, {
        host,
        port,
      });
    }
    const listener: MemoryListener<Owner> = {
      address: { host, port },
      backlog: Math.max(1, Math.min(backlog, LISTEN_BACKLOG_MAX)),
      owner,
      waiting: 0,
    };
    this.#listeners.set(key, listener);
    return listener;
  }

  unbind(listener: MemoryListener<Owner>): void {
    this.#listeners.delete(keyOf(listener.address.host, listener.address.port));
  }

  find(address: PortalAddress): MemoryListener<Owner> | null {
    for (const host of [address.host, ...WILDCARD_HOSTS]) {
      const listener = this.#listeners.get(keyOf(host, address.port));
      if (listener !== undefined) return listener;
    }
    return null;
  }

  /** A name for a caller in the peer's logs, because a caller has no address. */
  nextCallerName(): string {
    return `memory:${++this.#callers}`;
  }

  #freePort(host: string): number {
    for (let port = DYNAMIC_PORT_MIN; port <= PORT_MAX; port++) {
      if (!this.#listeners.has(keyOf(host, port))) return port;
    }
    throw new VerbsError('address-in-use', `No port is free at ${host}.`, { host });
  }
}

function keyOf(host: string, port: number): string {
  return `${host}|${port}`;
}
