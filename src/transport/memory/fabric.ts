import type { Clock } from '../../common/clock.js';
import { systemClock } from '../../common/clock.js';
import { LISTEN_BACKLOG_MAX, PORT_MAX } from '../limits.js';
import { SoftDevice } from '../rnic/device.js';
import type {
  ConnectionEventHandler,
  ConnectionId,
  DeviceAttributes,
  PortalAddress,
  RdmaTransport,
} from '../verbs.js';
import { VerbsError } from '../verbs.js';
import { MemoryConnectionId } from './connection-id.js';
import { DYNAMIC_PORT_MIN } from './limits.js';

/** An id that listens. `waiting` callers have neither been accepted nor rejected yet. */
export interface MemoryListener {
  readonly address: PortalAddress;
  readonly backlog: number;
  readonly owner: MemoryConnectionId;
  waiting: number;
}

/** Addresses that stand for every host name. */
const WILDCARD_HOSTS = ['0.0.0.0', '::'];

/**
 * A network inside of this process: listeners by `host:port`. Transports of the same fabric reach each other, and
 * nobody else does. Host names are not resolved, just compared.
 */
export class MemoryFabric {
  readonly clock: Clock;
  readonly #listeners = new Map<string, MemoryListener>();
  #devices = 0;
  #callers = 0;

  constructor(clock: Clock = systemClock) {
    this.clock = clock;
  }

  /**
   * A transport with a device of its own. `overrides` make that device poorer, or name it; `host` is where its callers
   * appear to come from.
   */
  createTransport(overrides: Partial<DeviceAttributes> = {}, host = ''): RdmaTransport {
    return new MemoryTransport(this, new SoftDevice(`memory${this.#devices++}`, overrides), host);
  }

  /** @throws VerbsError when the address is taken, or no port is free. */
  bind(address: PortalAddress, backlog: number, owner: MemoryConnectionId): MemoryListener {
    const { host } = address;
    const port = address.port === 0 ? this.#freePort(host) : address.port;
    const key = keyOf(host, port);
    if (this.#listeners.has(key)) {
      throw new VerbsError('address-in-use', `Somebody listens at ${host}:${port} already.`, {
        host,
        port,
      });
    }
    const listener: MemoryListener = {
      address: { host, port },
      backlog: Math.max(1, Math.min(backlog, LISTEN_BACKLOG_MAX)),
      owner,
      waiting: 0,
    };
    this.#listeners.set(key, listener);
    return listener;
  }

  unbind(listener: MemoryListener): void {
    this.#listeners.delete(keyOf(listener.address.host, listener.address.port));
  }

  find(address: PortalAddress): MemoryListener | null {
    for (const host of [address.host, ...WILDCARD_HOSTS]) {
      const listener = this.#listeners.get(keyOf(host, address.port));
      if (listener !== undefined) return listener;
    }
    return null;
  }

  /** How a caller appears to whom it calls; there is no address to show. */
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

/** The memory transport: an {@link RdmaTransport} whose connections stay in this process. */
class MemoryTransport implements RdmaTransport {
  readonly name = 'memory';
  readonly #fabric: MemoryFabric;
  readonly #device: SoftDevice;
  readonly #host: string;

  constructor(fabric: MemoryFabric, device: SoftDevice, host: string) {
    this.#fabric = fabric;
    this.#device = device;
    this.#host = host;
  }

  createId(onEvent: ConnectionEventHandler): ConnectionId {
    return new MemoryConnectionId(this.#fabric, this.#device, this.#host, onEvent);
  }
}

function keyOf(host: string, port: number): string {
  return `${host}|${port}`;
}
