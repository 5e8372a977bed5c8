import { randomBytes } from 'node:crypto';
import type { Clock } from '../../common/clock.js';
import { systemClock } from '../../common/clock.js';
import { messageOf } from '../../common/errors.js';
import { openPlaces } from '../../common/listen-plan.js';
import type { ListenPlace, PlaceGroup } from '../../common/listen-plan.js';
import { Places } from '../../common/places.js';
import { SlabPool } from '../../common/slab.js';
import type { SizeClass } from '../../common/slab.js';
import type { ChapCredentials, RandomBytes } from '../../iscsi/chap.js';
import { LoginStatus } from '../../iscsi/codes.js';
import { iscsiNameKey } from '../../iscsi/iscsi-name.js';
import { CounterSet } from '../../observe/counters.js';
import { silentLogger } from '../../observe/log.js';
import type { Logger } from '../../observe/log.js';
import type {
  ConnectionEvent,
  ConnectionId,
  ConnectionParameters,
  PortalAddress,
  RdmaDevice,
  RdmaTransport,
} from '../../transport/verbs.js';
import type { CommandTask } from './command-task.js';
import { TargetConnection } from './connection.js';
import type { SessionAdmission } from './connection.js';
import type { DiskCommand } from '../unit/disk-command.js';
import type { FaultInjector } from './faults.js';
import {
  BUFFER_CLASSES,
  DISCOVERY_SESSIONS_MAX,
  DISCOVERY_SESSIONS_PER_HOST_MAX,
  LISTEN_BACKLOG,
  LOGINS_PENDING_MAX,
  LOGINS_PENDING_PER_HOST_MAX,
  REINSTATE_TIMEOUT_MS,
  SESSIONS_MAX,
  SESSIONS_PER_HOST_MAX,
} from './limits.js';
import { LogicalUnits } from '../unit/logical-units.js';
import { checkLoginPolicy } from './login-policy.js';
import type { LoginPolicy, LoginRedirect } from './login-policy.js';
import type { LoginIdentity } from './login.js';
import { portalCounters } from './portal-counters.js';
import type { PortalCounters } from './portal-counters.js';
import type { Store } from '../../store/store.js';
import { TargetDevice } from './target-device.js';
import type { ManagedSession, ManagedTarget } from './task-management.js';
import type { TargetListing } from './text-exchange.js';

/** The options of a portal. */
export interface TargetPortalOptions {
  readonly transport: RdmaTransport;
  /** The target's iSCSI name. */
  readonly name: string;
  /** The stores of LUN 0, 1, and so on. The portal owns the stores and closes them. */
  readonly luns: readonly Store[];
  /** The identity that initiators must prove, and in `mutual` the identity that the target proves on request. */
  readonly chap?: ChapCredentials | null;
  /** Discovery sessions need the same proof. */
  readonly discoveryAuth?: boolean;
  /** Redirects initiators to another address instead of a login. */
  readonly redirect?: LoginRedirect | null;
  /** The addresses in the answer to SendTargets. Default: the addresses on which the portal listens. */
  readonly advertise?: readonly PortalAddress[];
  /**
   * The data buffers. The target has its own pool: an initiator in the same process could otherwise hold all buffers
   * while it waits for a command that needs a buffer here.
   */
  readonly bufferClasses?: readonly SizeClass[];
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly counters?: CounterSet;
  readonly faults?: FaultInjector | null;
  readonly randomBytes?: RandomBytes;
}

const PORTAL_GROUP_TAG = 1;
/** Includes connections that have lost their place and are being released. */
const CONNECTIONS_MAX = SESSIONS_MAX + DISCOVERY_SESSIONS_MAX + 2 * LOGINS_PENDING_MAX;
const WILDCARD_HOSTS: ReadonlySet<string> = new Set(['0.0.0.0', '::']);
const TSIH_MAX = 0xffff;

/** An iSER target with its logical units, listening on one transport. */
export class TargetPortal implements ManagedTarget {
  readonly name: string;
  readonly #transport: RdmaTransport;
  readonly #units: LogicalUnits;
  readonly #policy: LoginPolicy;
  readonly #pool: SlabPool;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #counters: PortalCounters;
  readonly #faults: FaultInjector | null;
  readonly #randomBytes: RandomBytes;
  readonly #advertise: readonly PortalAddress[] | null;
  readonly #addresses: PortalAddress[] = [];
  readonly #listeners: ConnectionId[] = [];
  readonly #devices = new Map<RdmaDevice, TargetDevice>();
  readonly #connections = new Set<TargetConnection>();
  readonly #byTsih = new Map<number, TargetConnection>();
  /** Connections without a normal or discovery session, including closing connections. */
  readonly #pending = new Places<TargetConnection>({
    placesMax: LOGINS_PENDING_MAX,
    placesPerHostMax: LOGINS_PENDING_PER_HOST_MAX,
  });
  readonly #discoveries = new Places<TargetConnection>({
    placesMax: DISCOVERY_SESSIONS_MAX,
    placesPerHostMax: DISCOVERY_SESSIONS_PER_HOST_MAX,
  });
  /** All connections that have requested a session and are not closed, by the identity of the session. */
  readonly #byIdentity = new Map<string, Set<TargetConnection>>();
  #lastTsih = 0;
  #isClosing = false;

  /** @throws ConfigError for an invalid name, invalid secrets or too many LUNs */
  constructor(options: TargetPortalOptions) {
    const { transport, name, luns, clock = systemClock, log = silentLogger } = options;
    this.name = name;
    this.#policy = {
      targetName: name,
      portalGroupTag: PORTAL_GROUP_TAG,
      chap: options.chap ?? null,
      discoveryAuth: options.discoveryAuth ?? false,
      redirect: options.redirect ?? null,
    };
    checkLoginPolicy(this.#policy);
    this.#transport = transport;
    this.#units = new LogicalUnits(name, luns);
    this.#units.disks.forEach(({ reservations }, lun) => {
      reservations.abortCommands = (isMeant, ended) => this.#abortOn(lun, isMeant, ended);
    });
    this.#pool = new SlabPool(options.bufferClasses ?? BUFFER_CLASSES);
    this.#clock = clock;
    this.#log = log;
    this.#counters = portalCounters(options.counters ?? new CounterSet(), name);
    this.#faults = options.faults ?? null;
    this.#randomBytes = options.randomBytes ?? randomBytes;
    this.#advertise = options.advertise ?? null;
  }

  /**
   * Listens on one more address. Resolves with the bound address.
   * @throws VerbsError when the address cannot be bound
   */
  async listen(address: PortalAddress): Promise<PortalAddress> {
    const [bound = address] = await this.listenAll([[address]]);
    return bound;
  }

  /**
   * Listens on several addresses, or on none if one fails. Resolves with the bound addresses.
   * @throws VerbsError when an address cannot be bound
   */
  async listenAll(groups: readonly PlaceGroup[]): Promise<readonly PortalAddress[]> {
    const opened = await openPlaces(
      groups,
      (place) => this.#bind(place),
      ({ id }) => id.destroy(),
    );
    return opened.map(({ id, host, port }) => {
      this.#listeners.push(id);
      this.#addresses.push({ host, port });
      return { host, port };
    });
  }

  async #bind(place: ListenPlace): Promise<PortalAddress & { readonly id: ConnectionId }> {
    const id = this.#transport.createId((event) => this.#onEvent(event));
    try {
      return { ...(await id.listen(place, LISTEN_BACKLOG)), id };
    } catch (error) {
      id.destroy();
      throw error;
    }
  }

  /** Stops listening, gives running commands a limited time, ends all sessions, and closes the stores. */
  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    for (const id of this.#listeners) id.destroy();
    await Promise.all([...this.#connections].map((connection) => connection.close()));
    for (const device of this.#devices.values()) device.close();
    await Promise.all(this.#units.disks.map((disk) => disk.store.close()));
  }

  /** Normal and discovery sessions. */
  get sessionCount(): number {
    return this.#byTsih.size;
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  /** The buffers in use, for tests and statistics. */
  get buffersUsed(): number {
    return this.#pool.usedCount;
  }

  get lunCount(): number {
    return this.#units.disks.length;
  }

  *sessions(): Iterable<ManagedSession> {
    for (const { managedSession } of [...this.#connections]) {
      if (managedSession !== null) yield managedSession;
    }
  }

  resetUnit(lun: number): void {
    this.#units.disks[lun]?.reservations.reset();
  }

  /** See {@link UnitReservations.abortCommands}. */
  #abortOn(lun: number, isMeant: (command: DiskCommand) => boolean, ended: () => void): number {
    let count = 0;
    const isMeantTask = (task: CommandTask): boolean => task.lun === lun && isMeant(task.command);
    for (const session of this.sessions()) {
      count += session.abortTasks(isMeantTask, ended, 'another');
    }
    return count;
  }

  #onEvent(event: ConnectionEvent): void {
    if (event.type === 'connectRequest') this.#onRequest(event.id, event.parameters);
  }

  #onRequest(id: ConnectionId, parameters: ConnectionParameters): void {
    const obstacle = this.#obstacle(id);
    if (obstacle !== null) {
      this.#log.warn({ conn: id.peerName, reason: obstacle }, 'connection refused');
      id.reject(new Uint8Array());
      id.destroy();
      return;
    }
    try {
      const connection = new TargetConnection(this.#contextFor(id), id, parameters);
      this.#connections.add(connection);
      this.#pending.take(connection)?.displace();
      void connection.closed.then(() => this.#forget(connection));
    } catch (error) {
      this.#log.error({ conn: id.peerName, reason: messageOf(error) }, 'connection refused');
      id.destroy();
    }
  }

  /** Why a connection cannot be accepted, or null. */
  #obstacle(id: ConnectionId): string | null {
    if (this.#isClosing) return 'the target is shutting down';
    if (id.device === null) return 'the connection request has no device';
    return this.#connections.size >= CONNECTIONS_MAX ? 'there are too many connections' : null;
  }

  #contextFor(id: ConnectionId) {
    return {
      device: this.#deviceOf(id),
      pool: this.#pool,
      units: this.#units,
      policy: this.#policy,
      listing: this.#listing,
      target: this,
      faults: this.#faults,
      counters: this.#counters,
      clock: this.#clock,
      log: this.#log,
      randomBytes: this.#randomBytes,
      sessionExists: (tsih: number) => this.#byTsih.has(tsih),
      heard: (connection: TargetConnection) => {
        this.#pending.heard(connection);
        this.#discoveries.heard(connection);
      },
      admit: (connection: TargetConnection, identity: LoginIdentity) =>
        this.#admit(connection, identity),
    };
  }

  #deviceOf({ device }: ConnectionId): TargetDevice {
    if (device === null) throw new Error('a connection request without a device');
    let own = this.#devices.get(device);
    if (own === undefined) {
      own = new TargetDevice(device, this.#devices.size);
      this.#devices.set(device, own);
    }
    return own;
  }

  get #listing(): TargetListing {
    const listening = this.#addresses.filter(({ host }) => !WILDCARD_HOSTS.has(host));
    return {
      targetName: this.name,
      portalGroupTag: PORTAL_GROUP_TAG,
      addresses: this.#advertise ?? listening,
    };
  }

  /**
   * RFC 7143 6.3.5: a login with the name and ISID of a session replaces the session. The old session's commands must
   * end before the new session may write; otherwise they could overwrite newer data. Several old sessions may still
   * wait for their storage, because one may have replaced another, so the login waits for all of them.
   */
  async #admit(connection: TargetConnection, identity: LoginIdentity): Promise<SessionAdmission> {
    const key = identityKey(identity);
    const holders = this.#byIdentity.get(key) ?? new Set();
    const previous = [...holders];
    if (previous.length === 0 && identity.sessionType === 'Normal') {
      const reason = this.#fullReason(connection);
      if (reason !== null) return { status: LoginStatus.outOfResources, reason };
    }
    this.#pending.leave(connection);
    if (identity.sessionType === 'Discovery') this.#discoveries.take(connection)?.displace();
    this.#byIdentity.set(key, holders.add(connection));
    if (previous.length > 0) {
      const reason = 'replaced by a new login of the same initiator';
      const ended = Promise.all(previous.map((old) => old.abort(reason)));
      if (!(await this.#endedInTime(ended))) {
        const reason = 'the replaced session still waits for its storage';
        return { status: LoginStatus.serviceUnavailable, reason };
      }
    }
    const tsih = this.#nextTsih();
    // The connection may have ended, and then its TSIH would never be removed.
    if (this.#connections.has(connection)) this.#byTsih.set(tsih, connection);
    return { tsih };
  }

  /** Why there is no room for another normal session of this connection's host, or null. */
  #fullReason({ peerHost }: TargetConnection): string | null {
    let count = 0;
    let ofHost = 0;
    for (const owner of this.#byTsih.values()) {
      if (owner.isDiscovery) continue;
      count += 1;
      if (owner.peerHost === peerHost) ofHost += 1;
    }
    if (count >= SESSIONS_MAX) return `there are ${SESSIONS_MAX} sessions already`;
    const isLimited = this.#policy.chap === null && peerHost !== '';
    return isLimited && ofHost >= SESSIONS_PER_HOST_MAX
      ? `there are ${SESSIONS_PER_HOST_MAX} sessions from ${peerHost} already`
      : null;
  }

  async #endedInTime(ended: Promise<unknown>): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = this.#clock.after(REINSTATE_TIMEOUT_MS, () => resolve(false));
      void ended.then(() => {
        timer.cancel();
        resolve(true);
      });
    });
  }

  #nextTsih(): number {
    do {
      this.#lastTsih = (this.#lastTsih % TSIH_MAX) + 1;
    } while (this.#byTsih.has(this.#lastTsih));
    return this.#lastTsih;
  }

  #forget(connection: TargetConnection): void {
    this.#connections.delete(connection);
    this.#pending.leave(connection);
    this.#discoveries.leave(connection);
    for (const [tsih, owner] of this.#byTsih) if (owner === connection) this.#byTsih.delete(tsih);
    for (const [key, holders] of this.#byIdentity) {
      if (holders.delete(connection) && holders.size === 0) this.#byIdentity.delete(key);
    }
  }
}

/** The identity of a session. Discovery sessions have their own identities, because they have no target. */
function identityKey({ initiatorName, sessionType, isidHigh, isidLow }: LoginIdentity): string {
  return `${sessionType} ${isidHigh.toString(16)} ${isidLow.toString(16)} ${iscsiNameKey(initiatorName)}`;
}
