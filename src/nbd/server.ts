import { assert } from '../common/assert.js';
import type { Clock } from '../common/clock.js';
import { DataSocket } from '../socket/data-socket.js';
import type { SlabPool } from '../common/slab.js';
import type { CounterSet } from '../observe/counters.js';
import type { Logger } from '../observe/log.js';
import { BufferGroups } from './buffer-groups.js';
import { ClientCounts } from './client-counts.js';
import { Connection } from './connection.js';
import type { ConnectionServices } from './connection.js';
import { ServerCounters } from './counters.js';
import { fixedExports } from './export.js';
import type { ExportTable, NbdExport } from './export.js';
import { DEFAULT_LIMITS } from './limits.js';
import type { NbdLimits } from './limits.js';
import { PeerProbe } from './peer-probe.js';
import { Refuser } from './refuser.js';
import { closeClient, openListeners } from './socket.js';
import type { Client, NbdListener, ListenAddress, NbdAddress } from './socket.js';
import type { TlsGate } from './tls.js';

export interface NbdServerOptions {
  /** A fixed set, or a table that its owner may change. */
  readonly exports: Iterable<NbdExport> | ExportTable;
  /** The buffers for the data of requests. The largest size class bounds the length of a request. */
  readonly pool: SlabPool;
  readonly log: Logger;
  readonly clock: Clock;
  readonly counters: CounterSet;
  readonly limits?: Partial<NbdLimits>;
  /** The export for clients that ask for "", in a fixed set; see {@link fixedExports}. */
  readonly defaultExport?: string | null;
  /** Null for a server without TLS. */
  readonly tls?: TlsGate | null;
  /** Called with the number of a connection that is over: no device has a request of it any more. */
  readonly onReleased?: (conn: number) => void;
  /** Called when a client is gone, and a device still has requests of it. */
  readonly onAbandoned?: () => void;
}

/** Serves exports to NBD clients on any number of TCP and Unix sockets. */
export class NbdServer {
  readonly #log: Logger;
  readonly #clock: Clock;
  readonly #limits: NbdLimits;
  readonly #counters: ServerCounters;
  readonly #services: ConnectionServices;
  readonly #listeners: NbdListener[] = [];
  /** The connections, with their numbers. */
  readonly #connections = new Map<Connection, number>();
  readonly #clients: ClientCounts;
  readonly #buffers: BufferGroups;
  readonly #refuser: Refuser;
  readonly #probe: PeerProbe;
  readonly #onReleased: (conn: number) => void;
  #connectionNumber = 0;
  #closing: Promise<void> | null = null;
  /** Set while {@link close} waits: called whenever a connection has changed. */
  #changed: (() => void) | null = null;

  /** @throws UsageError when two exports have the same name, or none has the default name */
  constructor(options: NbdServerOptions) {
    const {
      exports,
      pool,
      log,
      clock,
      counters,
      limits,
      defaultExport = null,
      tls = null,
      onReleased = () => undefined,
      onAbandoned = () => undefined,
    } = options;
    this.#onReleased = onReleased;
    this.#log = log;
    this.#clock = clock;
    this.#limits = { ...DEFAULT_LIMITS, ...limits };
    this.#clients = new ClientCounts(this.#limits);
    this.#buffers = new BufferGroups(pool);
    this.#refuser = new Refuser(clock);
    this.#probe = new PeerProbe({ clock, vanishedMs: this.#limits.vanishedMs });
    this.#counters = new ServerCounters(counters);
    this.#services = {
      exports: 'lookup' in exports ? exports : fixedExports(exports, defaultExport),
      limits: this.#limits,
      payloadBytesMax: Math.min(this.#limits.payloadBytesMax, pool.requestBytesMax),
      clock,
      counters,
      serverCounters: this.#counters,
      tls,
      connectionChanged: (connection) => {
        if (connection.isClosed) this.#probe.remove(connection);
        if (connection.isReleased) this.#forget(connection);
        else if (connection.isClosed) onAbandoned();
        this.#changed?.();
      },
    };
  }

  /** Connections whose socket is open, or of which a device still has requests. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /**
   * Starts to accept clients. Returns the address as it was bound.
   *
   * @throws ConfigError when the server cannot listen on the address
   */
  async listen(address: ListenAddress): Promise<NbdAddress> {
    const [bound] = await this.listenAll([address]);
    assert(bound !== undefined, 'an address without a listener');
    return bound;
  }

  /**
   * Starts to accept clients on several addresses, or on none of them. Returns the addresses as they were bound: more
   * than were given when a name has several.
   *
   * @throws ConfigError when the server cannot listen on one of them
   */
  async listenAll(addresses: readonly ListenAddress[]): Promise<readonly NbdAddress[]> {
    const listeners = await openListeners(addresses, {
      onAccept: (accepted) => this.serve(accepted, ++this.#connectionNumber),
      onError: (error) => this.#log.error({ reason: error.message }, 'accepting a client'),
    });
    for (const listener of listeners) {
      if ('path' in listener.address) this.#clients.keepForUnix();
      if (this.#closing === null) this.#listeners.push(listener);
      else await listener.close();
    }
    return listeners.map(({ address }) => address);
  }

  /**
   * Accepts no more clients, lets requests in flight finish, and closes every connection. Connections that have not
   * finished after `drainMs` are cut off; the devices may then still have requests of them.
   */
  close({ drainMs }: { readonly drainMs: number }): Promise<void> {
    this.#closing ??= this.#close(drainMs);
    return this.#closing;
  }

  async #close(drainMs: number): Promise<void> {
    this.#refuser.close();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    for (const connection of this.#connections.keys()) connection.drain();
    if (await this.#allGone(drainMs)) return;
    this.#log.warn({ connections: this.#connections.size }, 'cutting off connections: too slow');
    for (const connection of this.#connections.keys()) connection.cut();
    const connections = [...this.#connections.keys()];
    await this.#until(() => connections.every((connection) => connection.isClosed));
  }

  /** Waits until every connection is gone; false when that takes longer than `withinMs`. */
  async #allGone(withinMs: number): Promise<boolean> {
    if (withinMs <= 0) return this.#connections.size === 0;
    let isLate = false;
    const timer = this.#clock.after(withinMs, () => {
      isLate = true;
      this.#changed?.();
    });
    await this.#until(() => this.#connections.size === 0 || isLate);
    timer.cancel();
    return this.#connections.size === 0;
  }

  #until(condition: () => boolean): Promise<void> {
    return new Promise((resolve) => {
      this.#changed = () => {
        if (!condition()) return;
        this.#changed = null;
        resolve();
      };
      this.#changed();
    });
  }

  /** Serves a client that was accepted elsewhere, unless there are too many. `conn` is the client's number in the log. */
  serve(client: Client, conn: number): void {
    const { socket, address } = client;
    if (this.#closing !== null) {
      closeClient(client);
      this.#onReleased(conn);
      return;
    }
    const refusal = this.#clients.refusal(address);
    if (refusal !== null) {
      this.#counters.refused.add();
      const facts = { ...refusal.facts, remote: address ?? 'unix' };
      this.#log.warn(facts, 'too many clients; refusing one');
      this.#refuser.refuse(client, refusal.message);
      this.#onReleased(conn);
      return;
    }
    this.#counters.accepted.add();
    const share = this.#buffers.join(address).share(this.#limits.inFlightBytesMax);
    const log = this.#log.child({ conn });
    const connection = new Connection(this.#services, { address, share, log });
    this.#connections.set(connection, conn);
    this.#clients.change(address, 1);
    connection.open(DataSocket.adopt(socket, connection));
    if (address !== null) this.#probe.add(connection);
  }

  #forget(connection: Connection): void {
    const conn = this.#connections.get(connection);
    if (conn === undefined) return;
    this.#connections.delete(connection);
    this.#clients.change(connection.address, -1);
    this.#buffers.leave(connection.address);
    this.#onReleased(conn);
  }
}
