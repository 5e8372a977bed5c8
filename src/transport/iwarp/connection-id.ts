import type { Edges } from '../../common/state-machine.js';
import { lookup } from 'node:dns';
import { isIP } from 'node:net';
import { formatAddress } from '../../common/address.js';
import type { ListenPlace } from '../../common/listen-plan.js';
import { assert } from '../../common/assert.js';
import type { Timer } from '../../common/clock.js';
import type { DataSocket } from '../../socket/data-socket.js';
import {
  ConnectionLife,
  ignoreEvent,
  isPort,
  parametersToSend,
  requirePrivateData,
  requireQueuePair,
} from '../connection-life.js';
import type { SoftDevice } from '../rnic/device.js';
import { Fault } from '../rnic/fault.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import type {
  ConnectionEvent,
  ConnectionEventHandler,
  ConnectionId,
  ConnectionParameters,
  PortalAddress,
  QueuePairOptions,
} from '../verbs.js';
import { VerbsError } from '../verbs.js';
import { IwarpConnection } from './connection.js';
import { InitiatorSetup } from './initiator.js';
import type { FollowingBytes } from './initiator.js';
import { IwarpListener } from './listener.js';
import type { MpaAgreement } from './mpa.js';
import type { Caller, CallerOwner } from './responder.js';
import type { IwarpSettings } from './settings.js';

/**
 *     idle -> resolvingAddress -> addressResolved -> resolvingRoute -> routeResolved -> connecting -+
 *       |                                                                                          v
 *       +-> listening              requested (born with a connectRequest) -----------------> established
 *                                                                                                  v
 *     any state -> closed (no connection any more, or never one), any state -> destroyed       closed
 */
type IdState =
  | 'idle'
  | 'resolvingAddress'
  | 'addressResolved'
  | 'resolvingRoute'
  | 'routeResolved'
  | 'listening'
  | 'connecting'
  | 'requested'
  | 'established'
  | 'closed'
  | 'destroyed';

const EDGES: Edges<IdState> = {
  idle: ['resolvingAddress', 'listening', 'destroyed'],
  resolvingAddress: ['addressResolved', 'closed', 'destroyed'],
  addressResolved: ['resolvingRoute', 'destroyed'],
  resolvingRoute: ['routeResolved', 'destroyed'],
  routeResolved: ['connecting', 'destroyed'],
  listening: ['closed', 'destroyed'],
  connecting: ['established', 'closed', 'destroyed'],
  requested: ['established', 'closed', 'destroyed'],
  established: ['closed', 'destroyed'],
  closed: ['destroyed'],
  destroyed: [],
};

/** A connection-manager id of the iwarp transport. */
export class IwarpConnectionId implements ConnectionId, CallerOwner {
  readonly device: SoftDevice;
  onEvent: ConnectionEventHandler;
  readonly #settings: IwarpSettings;
  readonly #life: ConnectionLife<IdState>;
  #peerName = 'iwarp';
  #peerHost = '';
  #port = 0;
  #addresses: readonly string[] = [];
  #timer: Timer | null = null;
  #queuePair: SoftQueuePair | null = null;
  #sendRequestsMax = 0;
  #listener: IwarpListener | null = null;
  #setup: InitiatorSetup | null = null;
  #caller: Caller | null = null;
  /** The listener whose backlog includes the caller. */
  #callersListener: IwarpListener | null = null;
  #connection: IwarpConnection | null = null;

  constructor(
    settings: IwarpSettings,
    device: SoftDevice,
    onEvent: ConnectionEventHandler,
    initial: 'idle' | 'requested' = 'idle',
  ) {
    this.#life = new ConnectionLife<IdState>(this, initial, EDGES);
    this.#settings = settings;
    this.device = device;
    this.onEvent = onEvent;
  }

  get queuePair(): SoftQueuePair | null {
    return this.#queuePair;
  }

  get peerName(): string {
    return this.#peerName;
  }

  get peerHost(): string {
    return this.#peerHost;
  }

  resolveAddress(address: PortalAddress, timeoutMs: number): void {
    this.#life.require('resolveAddress', 'idle');
    this.#life.enter('resolvingAddress');
    this.#port = address.port;
    this.#peerName = formatAddress(address);
    if (!isPort(address.port) || address.port === 0 || address.host === '') {
      this.#life.later(() => this.#addressResolved([], 'it is not an address'));
      return;
    }
    if (isIP(address.host) !== 0) {
      this.#life.later(() => this.#addressResolved([address.host], ''));
      return;
    }
    this.#timer = this.#settings.clock.after(timeoutMs, () =>
      this.#addressResolved([], `its name was not resolved within ${timeoutMs} ms`),
    );
    lookup(address.host, { all: true }, (error, found) => {
      const failure = error === null ? 'its name has no address' : error.message;
      this.#addressResolved(error === null ? found.map((entry) => entry.address) : [], failure);
    });
  }

  resolveRoute(): void {
    this.#life.require('resolveRoute', 'addressResolved');
    this.#life.enter('resolvingRoute');
    // The operating system routes TCP, so no route is resolved here.
    this.#life.later(() => {
      if (this.#life.state !== 'resolvingRoute') return;
      this.#life.enter('routeResolved');
      this.onEvent({ type: 'routeResolved' });
    });
  }

  createQueuePair(options: QueuePairOptions): SoftQueuePair {
    this.#life.require('createQueuePair', 'addressResolved', 'routeResolved', 'requested');
    if (this.#queuePair !== null) {
      throw new VerbsError('connection-state', 'The connection has a queue pair already.');
    }
    this.#queuePair = this.device.createQueuePair(options);
    this.#sendRequestsMax = options.sendRequestsMax;
    return this.#queuePair;
  }

  connect(parameters: ConnectionParameters): void {
    this.#life.require('connect', 'routeResolved');
    requireQueuePair(this.#queuePair, 'connect');
    const wanted = parametersToSend(parameters, this.device.attributes);
    this.#life.enter('connecting');
    const setup = new InitiatorSetup({
      addresses: this.#addresses,
      port: this.#port,
      peerName: this.#peerName,
      wanted,
      settings: this.#settings,
      onAgreed: (socket, agreement) => this.#agreed(socket, agreement),
      onFailed: (event) => this.#connectFailed(event),
    });
    this.#setup = setup;
    setup.start();
  }

  async listen(address: ListenPlace, backlog: number): Promise<PortalAddress> {
    this.#life.require('listen', 'idle');
    if (!isPort(address.port)) {
      throw new VerbsError('address', `${address.port} is not a port.`, { port: address.port });
    }
    const listener = new IwarpListener(this.#settings, backlog, (caller, parameters) =>
      this.#called(listener, caller, parameters),
    );
    this.#listener = listener;
    this.#life.enter('listening');
    try {
      const bound = await listener.open(address);
      this.#peerName = formatAddress(bound);
      return bound;
    } catch (error) {
      if (this.#life.state === 'listening') this.#life.enter('closed');
      throw error;
    }
  }

  accept(parameters: ConnectionParameters): void {
    this.#life.require('accept', 'requested', 'closed');
    const queuePair = requireQueuePair(this.#queuePair, 'accept');
    const ours = parametersToSend(parameters, this.device.attributes);
    const caller = this.#caller;
    const acceptance = caller?.prepareReply(ours) ?? null;
    this.#leaveBacklog();
    if (caller === null || acceptance === null) {
      // The peer has left since its request. The connectError event is emitted or pending.
      queuePair.fail(Fault.none);
      return;
    }
    const { agreement, expectsSendRtr } = acceptance;
    const connection = this.#makeConnection(caller.socket, agreement, true, expectsSendRtr);
    if (!connection.start()) {
      caller.destroy();
      this.#life.enter('closed');
      this.#life.emit({ type: 'connectError', reason: 'the queue pair is in the error state' });
      return;
    }
    caller.reply(acceptance);
    this.#established(connection, agreement);
  }

  reject(privateData: Uint8Array): void {
    this.#life.require('reject', 'requested', 'closed');
    requirePrivateData(privateData);
    this.#leaveBacklog();
    this.#caller?.reject(privateData);
    this.#caller = null;
    if (this.#life.state !== 'closed') this.#life.enter('closed');
    this.#queuePair?.fail(Fault.none);
  }

  disconnect(): void {
    // Without a connection there is no orderly end. The queue pair goes to the error state.
    if (this.#life.state === 'established') this.#connection?.close();
    else this.#queuePair?.setError();
  }

  destroy(): void {
    if (this.#life.state === 'destroyed') return;
    this.#life.enter('destroyed');
    this.#timer?.cancel();
    this.#listener?.close();
    this.#setup?.cancel();
    this.#leaveBacklog();
    this.#caller?.destroy();
    this.#connection?.destroy();
    this.#queuePair?.fail(Fault.none);
  }

  // ---- calls from the phases of a connection ----

  onRequest(): void {
    assert(false, 'a second request on the id of a caller');
  }

  onGone(_caller: Caller, reason: string): void {
    if (this.#life.state !== 'requested') return;
    this.#leaveBacklog();
    this.#caller = null;
    this.#life.enter('closed');
    this.#queuePair?.fail(Fault.none);
    this.#life.emit({
      type: 'connectError',
      reason: `${this.#peerName} ended the attempt: ${reason}`,
    });
  }

  #addressResolved(addresses: readonly string[], failure: string): void {
    if (this.#life.state !== 'resolvingAddress') return;
    this.#timer?.cancel();
    if (addresses.length === 0) {
      this.#life.enter('closed');
      const reason = `${this.#peerName} cannot be resolved: ${failure}`;
      this.onEvent({ type: 'addressError', reason });
      return;
    }
    this.#addresses = addresses;
    this.#life.enter('addressResolved');
    this.onEvent({ type: 'addressResolved' });
  }

  /** `listener` has a complete request from `caller`. */
  #called(listener: IwarpListener, caller: Caller, parameters: ConnectionParameters): void {
    const id = new IwarpConnectionId(this.#settings, this.device, ignoreEvent, 'requested');
    id.#caller = caller;
    id.#callersListener = listener;
    id.#peerName = caller.peerName;
    id.#peerHost = caller.peerHost;
    caller.owner = id;
    this.onEvent({ type: 'connectRequest', id, parameters });
  }

  #agreed(socket: DataSocket, agreement: MpaAgreement): FollowingBytes | null {
    this.#setup = null;
    const connection = this.#makeConnection(socket, agreement, false, false);
    if (!connection.start()) {
      this.#connectFailed({ type: 'connectError', reason: 'the queue pair is in the error state' });
      return null;
    }
    this.#established(connection, agreement);
    return connection;
  }

  #makeConnection(
    socket: DataSocket,
    agreement: MpaAgreement,
    isResponder: boolean,
    expectsSendRtr: boolean,
  ): IwarpConnection {
    return new IwarpConnection({
      socket,
      settings: this.#settings,
      queuePair: requireQueuePair(this.#queuePair, 'a connection'),
      sendRequestsMax: this.#sendRequestsMax,
      agreement,
      isResponder,
      expectsSendRtr,
      onDown: (reason) => this.#connectionDown(reason),
    });
  }

  #established(connection: IwarpConnection, agreement: MpaAgreement): void {
    const { crc, readDepthInbound: ird, readDepthOutbound: ord } = agreement;
    this.#settings.log.debug(
      { conn: this.#peerName, crc, ird, ord },
      'iWARP connection established',
    );
    this.#connection = connection;
    this.#life.enter('established');
    this.#life.emit({ type: 'established', parameters: agreement.peer });
  }

  #connectionDown(reason: string | null): void {
    if (this.#life.state !== 'established') return;
    this.#settings.log.debug({ conn: this.#peerName, reason }, 'iWARP connection ended');
    this.#life.enter('closed');
    this.#life.emit({ type: 'disconnected', reason });
  }

  #connectFailed(event: ConnectionEvent): void {
    if (this.#life.state !== 'connecting') return;
    this.#setup = null;
    this.#life.enter('closed');
    this.#queuePair?.fail(Fault.none);
    this.#life.emit(event);
  }

  #leaveBacklog(): void {
    this.#callersListener?.answered();
    this.#callersListener = null;
  }
}
