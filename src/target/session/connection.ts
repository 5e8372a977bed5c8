import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import { assert } from '../../common/assert.js';
import type { Clock, Timer } from '../../common/clock.js';
import { messageOf } from '../../common/errors.js';
import type { PlaceHolder } from '../../common/places.js';
import type { SlabPool } from '../../common/slab.js';
import type { RandomBytes } from '../../iscsi/chap.js';
import { loginStatusText } from '../../iscsi/codes.js';
import type { LoginStatus } from '../../iscsi/codes.js';
import {
  SEND_WITH_INVALIDATE_NOT_SUPPORTED,
  ZERO_BASED_ADDRESS_NOT_SUPPORTED,
  decodeCmFlags,
  encodeCmPrivateData,
} from '../../iscsi/iser-header.js';
import type { Logger } from '../../observe/log.js';
import { WorkStatus, workStatusName } from '../../transport/verbs.js';
import type {
  CompletionQueue,
  ConnectionEvent,
  ConnectionId,
  ConnectionParameters,
  QueuePair,
  WorkCompletion,
} from '../../transport/verbs.js';
import { Channel } from './channel.js';
import type { TargetRxDescriptor } from './descriptors.js';
import type { FaultInjector } from './faults.js';
import {
  CLOSE_DRAIN_MS,
  COMMAND_WINDOW,
  CONTROL_RESPONSES,
  TARGET_DISCONNECT_TIMEOUT_MS,
  TARGET_LOGIN_TIMEOUT_MS,
  TARGET_LOGOUT_CLOSE_MS,
  READ_DEPTH,
  RECEIVES,
  TARGET_RECEIVE_DATA_BYTES,
  TASKS,
} from './limits.js';
import type { LogicalUnits } from '../unit/logical-units.js';
import { LoginExchange } from './login-exchange.js';
import type { LoginExchangeEvents } from './login-exchange.js';
import type { LoginPolicy } from './login-policy.js';
import { LoginResponder } from './login.js';
import type { LoginIdentity } from './login.js';
import { checkPdu } from './pdu-check.js';
import type { PortalCounters } from './portal-counters.js';
import { SessionMemory } from './session-memory.js';
import { TargetSession } from './session.js';
import type { SessionEvents } from './session.js';
import type { TargetDevice } from './target-device.js';
import type { ManagedTarget } from './task-management.js';
import { TargetWindow } from './target-window.js';
import type { TargetListing } from './text-exchange.js';
import { Watchdog } from './watchdog.js';

/** Sends of a queue pair: two per task, the RDMA Reads, the other responses, and the login response. */
const SEND_REQUESTS = 2 * TASKS + READ_DEPTH + CONTROL_RESPONSES + 1;
const RECEIVE_REQUESTS = RECEIVES + 1;

/** The portal's decision about a new session. */
export type SessionAdmission =
  { readonly tsih: number } | { readonly status: LoginStatus; readonly reason: string };

/** What a connection needs from its portal. */
export interface ConnectionContext {
  readonly device: TargetDevice;
  readonly pool: SlabPool;
  readonly units: LogicalUnits;
  readonly policy: LoginPolicy;
  readonly listing: TargetListing;
  readonly target: ManagedTarget;
  readonly faults: FaultInjector | null;
  readonly counters: PortalCounters;
  readonly clock: Clock;
  readonly log: Logger;
  readonly randomBytes: RandomBytes;
  readonly sessionExists: (tsih: number) => boolean;
  /** A PDU has arrived on a connection that is not logged in to a normal session. */
  readonly heard: (connection: TargetConnection) => void;
  /** Makes room for the session. Resolves when all sessions that it replaces have ended. */
  readonly admit: (
    connection: TargetConnection,
    identity: LoginIdentity,
  ) => Promise<SessionAdmission>;
}

/**
 *     accepting -> login <-> (more requests) -> admitting -> fullFeature -> closing -> closed
 *         `---------`---------------------------`----------------------------^
 */
type ConnectionState = 'accepting' | 'login' | 'admitting' | 'fullFeature' | 'closing' | 'closed';

const EDGES: Edges<ConnectionState> = {
  accepting: ['login', 'closing'],
  login: ['admitting', 'closing'],
  admitting: ['fullFeature', 'closing'],
  fullFeature: ['closing'],
  closing: ['closed'],
  closed: [],
};

/** One initiator's connection, from its request to the last flushed work request. Only this class waits. */
export class TargetConnection implements LoginExchangeEvents, SessionEvents, PlaceHolder {
  readonly peerHost: string;
  /** Resolves when every resource of the connection is released. */
  readonly closed: Promise<void>;
  readonly #context: ConnectionContext;
  readonly #id: ConnectionId;
  readonly #log: Logger;
  readonly #parameters: ConnectionParameters;
  readonly #responder: LoginResponder;
  readonly #completionQueue: CompletionQueue;
  readonly #queuePair: QueuePair;
  readonly #channel: Channel;
  readonly #login: LoginExchange;
  /** Limits the time of the login, and after a logout the time until the initiator closes. */
  #endTimer: Timer;
  readonly #machine = new StateMachine('a connection of the target', EDGES, 'accepting');
  #isEstablished = false;
  #isRefused = false;
  #isDiscovery = false;
  #memory: SessionMemory | null = null;
  #session: TargetSession | null = null;
  #watchdog: Watchdog | null = null;
  #receivedCount = 0;
  #resolveClosed: () => void = () => {};
  #resolveDisconnected: () => void = () => {};
  readonly #disconnected: Promise<void>;

  /**
   * Accepts the request of `id`.
   * @throws VerbsError when the device has no room for another connection
   */
  constructor(context: ConnectionContext, id: ConnectionId, parameters: ConnectionParameters) {
    this.#context = context;
    this.#id = id;
    this.#parameters = parameters;
    this.peerHost = id.peerHost;
    this.#log = context.log.child({ conn: id.peerName });
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    this.#disconnected = new Promise((resolve) => {
      this.#resolveDisconnected = resolve;
    });
    const { device, policy, randomBytes, sessionExists, clock } = context;
    this.#responder = new LoginResponder(policy, randomBytes, sessionExists);
    this.#login = new LoginExchange(device, this);
    let completionQueue: CompletionQueue | null = null;
    try {
      completionQueue = device.device.createCompletionQueue({
        depth: SEND_REQUESTS + RECEIVE_REQUESTS,
        vector: device.nextVector(),
      });
      this.#queuePair = id.createQueuePair({
        protectionDomain: device.domain,
        completionQueue,
        sendRequestsMax: SEND_REQUESTS,
        receiveRequestsMax: RECEIVE_REQUESTS,
      });
    } catch (error) {
      completionQueue?.destroy();
      this.#login.release();
      throw error;
    }
    this.#completionQueue = completionQueue;
    this.#channel = new Channel(this.#queuePair, completionQueue);
    this.#endTimer = clock.after(TARGET_LOGIN_TIMEOUT_MS, () =>
      this.#end(`no login within ${TARGET_LOGIN_TIMEOUT_MS / 1000} s`, false),
    );
    id.onEvent = (event) => this.#onEvent(event);
    try {
      this.#accept();
    } catch (error) {
      this.#end(`the connection could not be accepted: ${messageOf(error)}`, false);
    }
  }

  /** The session in full feature phase; null before and after. */
  get session(): TargetSession | null {
    return this.#machine.state === 'fullFeature' ? this.#session : null;
  }

  /** The session as long as its commands may run: longer than {@link session}, until the connection is closed. */
  get managedSession(): TargetSession | null {
    return this.#machine.state === 'closed' ? null : this.#session;
  }

  get isDiscovery(): boolean {
    return this.#isDiscovery;
  }

  /** Ends the connection at once. Resolves as {@link closed}. */
  abort(reason: string): Promise<void> {
    this.#end(reason, false);
    return this.closed;
  }

  /** Ends the connection because another connection needs its place: at once, without a wait for sent data. */
  displace(): void {
    this.#resolveDisconnected();
    this.#end('the connection was silent, and another initiator needs its place', false);
  }

  /** Gives running commands a limited time, then disconnects in order. Resolves as {@link closed}. */
  async close(): Promise<void> {
    const session = this.session;
    if (session !== null) {
      session.quiesce();
      await this.#within(CLOSE_DRAIN_MS, session.idle());
    }
    this.#end('the target is shutting down', true);
    return this.closed;
  }

  // Of the login.

  onLoginReceived(rx: TargetRxDescriptor, completion: WorkCompletion): void {
    if (!this.#isReceived(rx, completion)) return;
    this.#context.heard(this);
    if (this.#machine.state === 'accepting') this.#machine.enter('login');
    if (this.#machine.state !== 'login') {
      this.#end('a Login Request arrived before the answer to the last one', false);
      return;
    }
    const responder = this.#responder;
    switch (responder.receive(rx.view, rx.bhsOffset, rx.dataOffset, rx.dataLength)) {
      case 'continue':
        this.#login.receive(this.#channel);
        this.#login.respond(this.#channel, responder);
        return;
      case 'accepted':
        this.#isDiscovery = responder.identity.sessionType === 'Discovery';
        this.#machine.enter('admitting');
        void this.#admit();
        return;
      case 'refused':
        this.#refuse();
        return;
      case 'dropped':
        this.#end(responder.reason, false);
    }
  }

  onLoginSent(): void {
    if (this.#isRefused) this.#end(null, true);
  }

  // Of the session.

  onViolation(reason: string): void {
    if (this.#machine.state !== 'closing') this.#context.counters.violations.add();
    this.#end(reason, false);
  }

  onLogout(): void {
    if (this.#machine.state === 'closing') return;
    this.#session?.quiesce();
    this.#endTimer = this.#context.clock.after(TARGET_LOGOUT_CLOSE_MS, () => this.#end(null, true));
  }

  #accept(): void {
    // The first receive must be posted before the accept, because the initiator then sends at once.
    this.#login.receive(this.#channel);
    this.#channel.flush();
    this.#id.accept({
      privateData: encodeCmPrivateData(
        ZERO_BASED_ADDRESS_NOT_SUPPORTED |
          (this.#mayInvalidate ? 0 : SEND_WITH_INVALIDATE_NOT_SUPPORTED),
      ),
      // Initiators do not read from a target, but a peer may reject 0.
      responderResources: 1,
      initiatorDepth: this.#readDepth,
    });
  }

  #onEvent(event: ConnectionEvent): void {
    switch (event.type) {
      case 'established':
        this.#isEstablished = true;
        return;
      case 'disconnected':
        this.#resolveDisconnected();
        this.#end(event.reason, false);
        return;
      case 'connectError':
      case 'unreachable':
        this.#resolveDisconnected();
        this.#end(event.reason, false);
        return;
      case 'deviceRemoval':
        this.#end('the device was removed', false);
        return;
      default:
        // The other events are for listeners and for the active side.
        return;
    }
  }

  async #admit(): Promise<void> {
    const { admit, counters } = this.#context;
    const responder = this.#responder;
    const admission = await admit(this, responder.identity);
    if (this.#machine.state !== 'admitting') return;
    if ('status' in admission) {
      responder.refuse(admission.status, admission.reason);
      this.#refuse();
      return;
    }
    counters.logins.add();
    responder.finish(admission.tsih);
    this.#enterFullFeature();
    this.#login.respond(this.#channel, responder);
    const { initiatorName, sessionType } = responder.identity;
    this.#log.info({ initiator: initiatorName, sessionType, tsih: admission.tsih }, 'logged in');
  }

  #enterFullFeature(): void {
    const context = this.#context;
    const responder = this.#responder;
    const log = this.#log;
    const { identity, values } = responder;
    const memory = new SessionMemory(context.device);
    this.#memory = memory;
    this.#endTimer.cancel();
    this.#machine.enter('fullFeature');
    const session = new TargetSession(
      {
        ...context,
        channel: this.#channel,
        window: new TargetWindow(responder.cmdSn, responder.nextStatSn, COMMAND_WINDOW),
        readDepth: this.#readDepth,
        mayInvalidate: this.#mayInvalidate,
        immediateBytesMax: values.ImmediateData
          ? Math.min(values.FirstBurstLength, TARGET_RECEIVE_DATA_BYTES)
          : 0,
        isDiscovery: this.#isDiscovery,
        cid: identity.cid,
        port: identity,
        memory,
        log,
      },
      this,
    );
    this.#session = session;
    // All receives are posted before the response after which the initiator may use them.
    for (const rx of memory.receives((rx, completion) => this.#onReceived(rx, completion))) {
      this.#channel.receive(rx.request);
    }
    this.#watchdog = new Watchdog(context.clock, {
      activity: () => this.#receivedCount + session.readsDone,
      ping: () => session.ping(),
      giveUp: () => this.#end('the initiator gave no sign of life', false),
    });
  }

  #onReceived(rx: TargetRxDescriptor, completion: WorkCompletion): void {
    if (!this.#isReceived(rx, completion) || this.#session === null) return;
    this.#receivedCount += 1;
    if (this.#isDiscovery) this.#context.heard(this);
    this.#session.receive(rx);
  }

  /** True when the receive holds a message with valid lengths. */
  #isReceived(rx: TargetRxDescriptor, { status, byteLength }: WorkCompletion): boolean {
    if (this.#machine.state === 'closing' || status === WorkStatus.flushed) return false;
    if (status !== WorkStatus.success) {
      this.#end(`a receive failed: ${workStatusName(status)}`, false);
      return false;
    }
    const malformation = checkPdu(rx, byteLength);
    if (malformation === null) return true;
    this.onViolation(malformation);
    return false;
  }

  #refuse(): void {
    const { response, reason } = this.#responder;
    const { statusClass, statusDetail } = response;
    const status = loginStatusText(statusClass, statusDetail);
    this.#context.counters.loginsRefused.add();
    this.#log.warn({ statusClass, statusDetail, status, reason }, 'login refused');
    this.#isRefused = true;
    this.#login.respond(this.#channel, this.#responder);
  }

  get #readDepth(): number {
    const { readDepthInitiatorMax } = this.#context.device.device.attributes;
    return Math.min(this.#parameters.responderResources, readDepthInitiatorMax, READ_DEPTH);
  }

  /** Without private data the peer refuses nothing, but only a peer that sends the header expects an invalidation. */
  get #mayInvalidate(): boolean {
    const { privateData } = this.#parameters;
    if (privateData.length === 0) return false;
    return (decodeCmFlags(privateData) & SEND_WITH_INVALIDATE_NOT_SUPPORTED) === 0;
  }

  #end(reason: string | null, isOrderly: boolean): void {
    if (this.#machine.state === 'closing' || this.#machine.state === 'closed') return;
    this.#machine.enter('closing');
    this.#endTimer.cancel();
    this.#watchdog?.stop();
    this.#session?.quiesce();
    if (reason === null) this.#log.info('connection ended');
    else this.#log.warn({ reason }, 'connection ended');
    this.#release(isOrderly).catch((error: unknown) => {
      this.#log.error({ err: error }, 'a connection could not be released');
      this.#machine.enter('closed');
      this.#resolveClosed();
    });
  }

  /** Releases all parts, in the order of their dependencies. */
  async #release(isOrderly: boolean): Promise<void> {
    // Never inside the call that detected the end: that call may still change the state of a task.
    await Promise.resolve();
    if (isOrderly && this.#isEstablished) {
      this.#channel.flush();
      this.#id.disconnect();
      await this.#within(TARGET_DISCONNECT_TIMEOUT_MS, this.#disconnected);
    }
    this.#queuePair.setError();
    this.#channel.close();
    this.#session?.stop();
    await this.#queuePair.drain();
    await this.#session?.idle();
    this.#session?.leave();
    this.#memory?.release();
    this.#login.release();
    this.#queuePair.destroy();
    this.#completionQueue.destroy();
    this.#id.destroy();
    assert(this.#machine.state === 'closing', 'connection released twice');
    this.#machine.enter('closed');
    this.#resolveClosed();
  }

  /** Waits for `promise`, at most `timeoutMs`. */
  async #within(timeoutMs: number, promise: Promise<void>): Promise<void> {
    let timer: Timer | null = null;
    const timeout = new Promise<void>((resolve) => {
      timer = this.#context.clock.after(timeoutMs, resolve);
    });
    await Promise.race([promise, timeout]);
    (timer as Timer | null)?.cancel();
  }
}
