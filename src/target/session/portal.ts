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

/** How a portal is set up. */
export interface TargetPortalOptions {
  readonly transport: RdmaTransport;
  /** The target's iSCSI name. */
  readonly name: string;
  /** LUN 0, 1, and so on. The portal owns the stores: closing it closes them. */
  readonly luns: readonly Store[];
  /** What initiators must prove; with `mutual`, what the target proves when it is asked to. */
  readonly chap?: ChapCredentials | null;
  /** Discovery has to be proved as well. */
  readonly discoveryAuth?: boolean;
  /** Sends initiators elsewhere instead of letting them in. */
  readonly redirect?: LoginRedirect | null;
  /** The addresses that SendTargets tells; where the portal listens, when left out. */
  readonly advertise?: readonly PortalAddress[];
  /**
   * Data buffers. They are the target's own: an initiator in the same process that took its buffers from the same
   * pool could hold all of them while it waits for a command that needs one here.
   */
  readonly bufferClasses?: readonly SizeClass[];
  readonly clock?: Clock;
  readonly log?: Logger;
  readonly counters?: CounterSet;
  readonly faults?: FaultInjector | null;
  readonly randomBytes?: RandomBytes;
}

const PORTAL_GROUP_TAG = 1;
/** With room for those that have lost their place and are being taken apart. */
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
  /** Connections without a session, those that are closing included; a discovery session is none. */
  readonly #pending = new Places<TargetConnection>({
    placesMax: LOGINS_PENDING_MAX,
    placesPerHostMax: LOGINS_PENDING_PER_HOST_MAX,
  });
  readonly #discoveries = new Places<TargetConnection>({
    placesMax: DISCOVERY_SESSIONS_MAX,
    placesPerHostMax: DISCOVERY_SESSIONS_PER_HOST_MAX,
  });
  /** All that have asked for a session under an identity and are not closed yet. */
  readonly #byIdentity = new Map<string, Set<TargetConnection>>();
  #lastTsih = 0;
  #isClosing = false;

  /** @throws ConfigError for a name, secrets or a number of LUNs that cannot be */
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

  /** Resolves with the bound address; may be called for several. @throws VerbsError when it cannot be bound */
  async listen(address: PortalAddress): Promise<PortalAddress> {
    const [bound = address] = await this.listenAll([[address]]);
    return bound;
  }

  /** Resolves with the bound addresses; none is, when one cannot be. @throws VerbsError */
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

  /** Stops listening, lets running commands end for a while, ends all sessions, and closes the stores. */
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

  /** Buffers in use, for tests and for whoever watches. */
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

  /** Why a connection cannot be taken on, or null. */
  #obstacle(id: ConnectionId): string | null {
    if (this.#isClosing) return 'the target is shutting down';
    if (id.device === null) return 'the request came without a device';
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
   * RFC 7143 6.3.5: a login with the name and ISID of a session replaces it. The old session's commands must have
   * ended before the new one may write, or they could overwrite what it wrote. An old session may itself be replaced,
   * or have outlasted a login, and still wait for its storage: so all of them are waited for.
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
        const reason = 'the session that it replaces still waits for its storage';
        return { status: LoginStatus.serviceUnavailable, reason };
      }
    }
    const tsih = this.#nextTsih();
    // The connection may have ended meanwhile; then nobody would take its number out again.
    if (this.#connections.has(connection)) this.#byTsih.set(tsih, connection);
    return { tsih };
  }

  /** Why there is no room for another normal session from where `peerHost` is, or null. */
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

/** Discovery sessions have identities of their own: they are with no target. */
function identityKey({ initiatorName, sessionType, isidHigh, isidLow }: LoginIdentity): string {
  return `${sessionType} ${isidHigh.toString(16)} ${isidLow.toString(16)} ${iscsiNameKey(initiatorName)}`;
}
