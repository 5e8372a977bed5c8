import { Slab } from '../../../src/common/slab.js';
import type {
  CompletionQueue,
  ConnectionId,
  ConnectionParameters,
  FastRegion,
  MemoryRegion,
  PortalAddress,
  ProtectionDomain,
  QueuePair,
  RdmaDevice,
  RdmaTransport,
} from '../../../src/transport/verbs.js';
import { Access } from '../../../src/transport/verbs.js';
import { EventLog } from './events.js';
import type { CompletionRecord, SendWork } from './work.js';
import { ReceiveWork, chain, sendWork } from './work.js';

/** Two transports that reach each other; they may be the same object. */
export interface TransportUnderTest {
  readonly active: RdmaTransport;
  readonly passive: RdmaTransport;
  /** Where to listen, usually port 0. */
  readonly address: PortalAddress;
  close?(): Promise<void> | void;
}

export interface EndpointOptions {
  readonly sendRequestsMax: number;
  readonly receiveRequestsMax: number;
  readonly responderResources: number;
  readonly initiatorDepth: number;
  readonly privateData: Uint8Array;
}

export const defaultEndpointOptions: EndpointOptions = {
  sendRequestsMax: 128,
  receiveRequestsMax: 128,
  responderResources: 16,
  initiatorDepth: 16,
  privateData: new Uint8Array(),
};

export const ALL_ACCESS = Access.localWrite | Access.remoteWrite | Access.remoteRead;
const HELLO_BYTES = 16;
const RESOLVE_TIMEOUT_MS = 5000;

/** A registered slab of its own. */
export interface TestBuffer {
  readonly slab: Slab;
  readonly region: MemoryRegion;
}

/** One side of a connection, with everything that a consumer makes around it. */
export class Endpoint {
  readonly id: ConnectionId;
  readonly events: EventLog;
  readonly device: RdmaDevice;
  readonly domain: ProtectionDomain;
  readonly completionQueue: CompletionQueue;
  readonly queuePair: QueuePair;
  readonly options: EndpointOptions;
  readonly #regions: MemoryRegion[] = [];

  constructor(id: ConnectionId, events: EventLog, options: EndpointOptions) {
    if (id.device === null) throw new Error('the connection id has no device');
    this.id = id;
    this.events = events;
    this.options = options;
    this.device = id.device;
    this.domain = this.device.allocateProtectionDomain();
    const depth = options.sendRequestsMax + options.receiveRequestsMax;
    this.completionQueue = this.device.createCompletionQueue({ depth, vector: 0 });
    this.queuePair = id.createQueuePair({
      protectionDomain: this.domain,
      completionQueue: this.completionQueue,
      sendRequestsMax: options.sendRequestsMax,
      receiveRequestsMax: options.receiveRequestsMax,
    });
  }

  get parameters(): ConnectionParameters {
    const { privateData, responderResources, initiatorDepth } = this.options;
    return { privateData, responderResources, initiatorDepth };
  }

  register(lengthBytes: number, access: number = ALL_ACCESS, domain = this.domain): TestBuffer {
    const slab = new Slab(lengthBytes);
    return { slab, region: this.registerSlab(slab, access, domain) };
  }

  registerSlab(slab: Slab, access: number = ALL_ACCESS, domain = this.domain): MemoryRegion {
    const region = domain.registerMemory({ slab, offset: 0, length: slab.length }, access);
    this.#regions.push(region);
    return region;
  }

  allocateFastRegion(bytesMax: number): FastRegion {
    const region = this.domain.allocateFastRegion(bytesMax);
    this.#regions.push(region);
    return region;
  }

  /** Posts the requests as one chain. */
  post(...works: SendWork[]): void {
    this.queuePair.postSend(chain(works));
  }

  /** Posts a receive into `length` bytes of `buffer`. */
  receive(buffer: TestBuffer, offset = 0, length = buffer.slab.length): ReceiveWork {
    const work = new ReceiveWork();
    work.request.sge.set(buffer.region, offset, length);
    this.queuePair.postReceive(work.request);
    return work;
  }

  /** Posts a signalled request and waits for its completion. */
  async perform(work: SendWork): Promise<CompletionRecord> {
    this.post(work);
    return work.completion;
  }

  /** Ends this side and frees everything that it made. */
  async close(): Promise<void> {
    await this.queuePair.drain();
    this.id.destroy();
    this.queuePair.destroy();
    this.completionQueue.destroy();
    for (const region of this.#regions) region.deregister();
    this.domain.deallocate();
  }
}

export interface TransportPair {
  readonly active: Endpoint;
  readonly passive: Endpoint;
  readonly listener: ConnectionId;
  readonly address: PortalAddress;
  /** What each side was told of the other. */
  readonly seenByActive: ConnectionParameters;
  readonly seenByPassive: ConnectionParameters;
  close(): Promise<void>;
}

export interface PairOptions {
  readonly active?: Partial<EndpointOptions>;
  readonly passive?: Partial<EndpointOptions>;
}

/** Starts a listener and collects its callers. */
export async function listen(
  transport: RdmaTransport,
  address: PortalAddress,
  backlog = 16,
): Promise<{ listener: ConnectionId; events: EventLog; address: PortalAddress }> {
  const events = new EventLog();
  const listener = transport.createId(events.handler);
  const bound = await listener.listen(address, backlog);
  return { listener, events, address: bound };
}

/** An id whose address and route are resolved, ready for its queue pair. */
export async function resolve(
  transport: RdmaTransport,
  address: PortalAddress,
): Promise<{ id: ConnectionId; events: EventLog }> {
  const events = new EventLog();
  const id = transport.createId(events.handler);
  id.resolveAddress(address, RESOLVE_TIMEOUT_MS);
  await events.next('addressResolved');
  id.resolveRoute(RESOLVE_TIMEOUT_MS);
  await events.next('routeResolved');
  return { id, events };
}

/** Takes a caller over: from here on its events go to a log of its own. */
export function adopt(id: ConnectionId, options: Partial<EndpointOptions> = {}): Endpoint {
  const events = new EventLog();
  id.onEvent = events.handler;
  return new Endpoint(id, events, { ...defaultEndpointOptions, ...options });
}

/**
 * A connection between two endpoints, over which the active side has sent a first message: both may speak now, on
 * transports where the passive side must wait for that, too.
 */
export async function connectPair(
  transports: TransportUnderTest,
  options: PairOptions = {},
): Promise<TransportPair> {
  const { listener, events: calls, address } = await listen(transports.passive, transports.address);
  const { id, events } = await resolve(transports.active, address);
  const active = new Endpoint(id, events, { ...defaultEndpointOptions, ...options.active });
  active.id.connect(active.parameters);
  const request = await calls.next('connectRequest');
  const passive = adopt(request.id, options.passive);
  const hello = passive.receive(passive.register(HELLO_BYTES));
  passive.id.accept(passive.parameters);
  const established = await active.events.next('established');
  await active.perform(sendWork(active.register(HELLO_BYTES), 0, HELLO_BYTES));
  await hello.completion;
  await passive.events.next('established');
  return {
    active,
    passive,
    listener,
    address,
    seenByActive: established.parameters,
    seenByPassive: request.parameters,
    async close() {
      await active.close();
      await passive.close();
      listener.destroy();
    },
  };
}
