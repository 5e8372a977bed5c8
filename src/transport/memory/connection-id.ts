import type { Edges } from '../../common/state-machine.js';
import { soon } from '../../common/later.js';
import { formatAddress } from '../../common/address.js';
import { assert } from '../../common/assert.js';
import type { Timer } from '../../common/clock.js';
import {
  ConnectionLife,
  ignoreEvent,
  isPort,
  parametersToSend,
  requirePrivateData,
  requireQueuePair,
} from '../connection-life.js';
import { Fault } from '../rnic/fault.js';
import type { SoftDevice } from '../rnic/device.js';
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
import type { MemoryListener, MemoryNetwork } from './network.js';
import { MEMORY_CONNECT_TIMEOUT_MS } from './limits.js';
import { LinkEnd } from './link.js';

/**
 *     idle -> resolvingAddress -> addressResolved -> resolvingRoute -> routeResolved -> connecting -+
 *       |                                                                                          v
 *       +-> listening              requested (born with a connectRequest) -----------------> established
 *                                                                                                  v
 *     any state -> closed (no link any more, or never one), any state -> destroyed          closing -> closed
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
  | 'closing'
  | 'closed'
  | 'destroyed';

const EDGES: Edges<IdState> = {
  idle: ['resolvingAddress', 'listening', 'destroyed'],
  resolvingAddress: ['addressResolved', 'closed', 'destroyed'],
  addressResolved: ['resolvingRoute', 'destroyed'],
  resolvingRoute: ['routeResolved', 'destroyed'],
  routeResolved: ['connecting', 'destroyed'],
  listening: ['destroyed'],
  connecting: ['established', 'closed', 'destroyed'],
  requested: ['established', 'closed', 'destroyed'],
  established: ['closing', 'closed', 'destroyed'],
  closing: ['closed', 'destroyed'],
  closed: ['destroyed'],
  destroyed: [],
};

const GIVEN_UP = 'the attempt was cancelled while the peer accepted it';

/** A connection-manager id of the memory transport. */
export class MemoryConnectionId implements ConnectionId {
  readonly device: SoftDevice;
  onEvent: ConnectionEventHandler;
  readonly #network: MemoryNetwork<MemoryConnectionId>;
  readonly #life: ConnectionLife<IdState>;
  #peerName = 'memory';
  #peerHost = '';
  /** The host that peers see as the source of this id's calls. */
  readonly #host: string;
  #address: PortalAddress | null = null;
  #listener: MemoryListener<MemoryConnectionId> | null = null;
  #queuePair: SoftQueuePair | null = null;
  /** Active side: the parameters of connect(). */
  #offered: ConnectionParameters | null = null;
  /** Active side while connecting: the id that the listener received. Passive side while requested: the caller. */
  #counterpart: MemoryConnectionId | null = null;
  #link: LinkEnd | null = null;
  #timer: Timer | null = null;

  constructor(
    network: MemoryNetwork<MemoryConnectionId>,
    device: SoftDevice,
    host: string,
    onEvent: ConnectionEventHandler,
    initial: 'idle' | 'requested' = 'idle',
  ) {
    this.#life = new ConnectionLife<IdState>(this, initial, EDGES);
    this.#network = network;
    this.#host = host;
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

  resolveAddress(address: PortalAddress): void {
    this.#life.require('resolveAddress', 'idle');
    this.#life.enter('resolvingAddress');
    this.#address = address;
    this.#peerName = formatAddress(address);
    this.#life.later(() => {
      if (this.#life.state !== 'resolvingAddress') return;
      if (isPort(address.port) && address.port !== 0 && address.host !== '') {
        this.#life.enter('addressResolved');
        this.onEvent({ type: 'addressResolved' });
      } else {
        this.#life.enter('closed');
        this.onEvent({
          type: 'addressError',
          reason: `${formatAddress(address)} is not an address`,
        });
      }
    });
  }

  resolveRoute(): void {
    this.#life.require('resolveRoute', 'addressResolved');
    this.#life.enter('resolvingRoute');
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
    return this.#queuePair;
  }

  connect(parameters: ConnectionParameters): void {
    this.#life.require('connect', 'routeResolved');
    requireQueuePair(this.#queuePair, 'connect');
    this.#offered = parametersToSend(parameters, this.device.attributes);
    this.#life.enter('connecting');
    this.#timer = this.#network.clock.after(MEMORY_CONNECT_TIMEOUT_MS, () =>
      this.#connectFailed({ type: 'unreachable', reason: `${this.#peerName} did not answer` }),
    );
    this.#life.later(() => this.#call());
  }

  async listen(address: PortalAddress, backlog: number): Promise<PortalAddress> {
    this.#life.require('listen', 'idle');
    if (!isPort(address.port)) {
      throw new VerbsError('address', `${address.port} is not a port.`, { port: address.port });
    }
    this.#listener = this.#network.bind(address, backlog, this);
    this.#peerName = formatAddress(this.#listener.address);
    this.#life.enter('listening');
    return Promise.resolve(this.#listener.address);
  }

  accept(parameters: ConnectionParameters): void {
    this.#life.require('accept', 'requested');
    const queuePair = requireQueuePair(this.#queuePair, 'accept');
    const answer = parametersToSend(parameters, this.device.attributes);
    const caller = this.#counterpart;
    this.#leaveBacklog();
    if (caller === null || !caller.#awaits(this) || queuePair.isInError) {
      this.#life.enter('closed');
      queuePair.fail(Fault.none);
      if (caller !== null) caller.#refused(this, GIVEN_UP, new Uint8Array());
      this.#life.emit({ type: 'connectError', reason: 'the caller has left' });
      return;
    }
    this.#establish(caller, queuePair, answer);
  }

  reject(privateData: Uint8Array): void {
    this.#life.require('reject', 'requested');
    requirePrivateData(privateData);
    this.#refuseCaller('the peer rejected the connection', privateData.slice());
    this.#life.enter('closed');
    this.#queuePair?.fail(Fault.none);
  }

  disconnect(): void {
    if (this.#life.state !== 'established') {
      // Without a link there is no orderly end. The queue pair goes to the error state.
      this.#queuePair?.setError();
      return;
    }
    this.#life.enter('closing');
    this.#queuePair?.beginClose();
    const link = this.#link;
    soon(() => link?.close());
  }

  destroy(): void {
    if (this.#life.state === 'destroyed') return;
    const before = this.#life.state;
    this.#life.enter('destroyed');
    this.#timer?.cancel();
    if (this.#listener !== null && before === 'listening') this.#network.unbind(this.#listener);
    if (before === 'requested') this.#refuseCaller('the peer dropped the connection request');
    if (before === 'closing') this.#link?.close();
    else this.#link?.abort('the peer closed the connection without disconnecting');
    this.#queuePair?.fail(Fault.none);
    this.#counterpart = null;
  }

  // ---- calls between the two ids of a connection ----

  /** Makes the id of a listener for a caller. */
  static requestedBy(
    caller: MemoryConnectionId,
    listener: MemoryListener<MemoryConnectionId>,
    callerName: string,
  ): MemoryConnectionId {
    const { owner } = listener;
    const { device } = owner;
    const id = new MemoryConnectionId(
      owner.#network,
      device,
      owner.#host,
      ignoreEvent,
      'requested',
    );
    id.#counterpart = caller;
    id.#listener = listener;
    id.#peerName = callerName;
    id.#peerHost = caller.#host;
    return id;
  }

  #call(): void {
    const address = this.#address;
    const offered = this.#offered;
    if (this.#life.state !== 'connecting' || address === null || offered === null) return;
    const listener = this.#network.find(address);
    if (listener === null || listener.waiting >= listener.backlog) {
      const reason =
        listener === null
          ? `no listener at ${formatAddress(address)}`
          : `${formatAddress(address)} has too many callers waiting`;
      this.#connectFailed({ type: 'unreachable', reason });
      return;
    }
    const passive = MemoryConnectionId.requestedBy(this, listener, this.#network.nextCallerName());
    listener.waiting++;
    this.#counterpart = passive;
    listener.owner.onEvent({ type: 'connectRequest', id: passive, parameters: offered });
  }

  #awaits(passive: MemoryConnectionId): boolean {
    return (
      this.#life.state === 'connecting' &&
      this.#counterpart === passive &&
      this.#queuePair !== null &&
      !this.#queuePair.isInError
    );
  }

  #establish(
    caller: MemoryConnectionId,
    queuePair: SoftQueuePair,
    answer: ConnectionParameters,
  ): void {
    const offered = caller.#offered;
    const callerQueuePair = caller.#queuePair;
    assert(offered !== null && callerQueuePair !== null, 'caller without an offer');
    const own = new LinkEnd(queuePair, (reason) => this.#linkDown(reason));
    const other = new LinkEnd(callerQueuePair, (reason) => caller.#linkDown(reason));
    LinkEnd.join(own, other);
    this.#link = own;
    caller.#link = other;
    // Each side may have as many outstanding reads as it wants, but no more than the other side grants.
    queuePair.activate(own, {
      initiator: Math.min(answer.initiatorDepth, offered.responderResources),
      responder: answer.responderResources,
    });
    callerQueuePair.activate(other, {
      initiator: Math.min(offered.initiatorDepth, answer.responderResources),
      responder: offered.responderResources,
    });
    caller.#timer?.cancel();
    caller.#counterpart = null;
    this.#counterpart = null;
    this.#life.enter('established');
    caller.#life.enter('established');
    this.#life.emit({ type: 'established', parameters: offered });
    caller.#life.emit({ type: 'established', parameters: answer });
  }

  #linkDown(reason: string | null): void {
    if (this.#life.state === 'destroyed') return;
    this.#life.enter('closed');
    this.#life.emit({ type: 'disconnected', reason });
  }

  #refuseCaller(reason: string, privateData = new Uint8Array()): void {
    const caller = this.#counterpart;
    this.#counterpart = null;
    this.#leaveBacklog();
    if (caller !== null) caller.#refused(this, reason, privateData);
  }

  #refused(passive: MemoryConnectionId, reason: string, privateData: Uint8Array): void {
    if (this.#counterpart !== passive) return;
    this.#life.later(() => this.#connectFailed({ type: 'rejected', reason, privateData }));
  }

  #connectFailed(event: ConnectionEvent): void {
    if (this.#life.state !== 'connecting') return;
    this.#timer?.cancel();
    this.#counterpart = null;
    this.#life.enter('closed');
    this.#queuePair?.fail(Fault.none);
    this.onEvent(event);
  }

  #leaveBacklog(): void {
    if (this.#listener === null) return;
    this.#listener.waiting--;
    this.#listener = null;
  }
}
