import { Slab } from '../../../src/common/slab.js';
import { ISER_HEADERS_BYTES, IserControlHeader } from '../../../src/iscsi/iser-header.js';
import { decodeControlHeader, encodePlainHeader } from '../../../src/iscsi/iser-header.js';
import type {
  CompletionQueue,
  ConnectionEvent,
  ConnectionId,
  ConnectionParameters,
  MemoryKey,
  MemoryRegion,
  PortalAddress,
  ProtectionDomain,
  QueuePair,
  RdmaTransport,
} from '../../../src/transport/verbs.js';
import {
  Access,
  ReceiveWorkRequest,
  SendWorkRequest,
  WorkOpcode,
  WorkStatus,
} from '../../../src/transport/verbs.js';

/** A PDU that the initiator sent, copied. */
export interface PeerPdu {
  readonly header: IserControlHeader;
  readonly bhs: Buffer;
  readonly data: Buffer;
}

export interface IserPeerOptions {
  /** What `accept` answers; the flags of Linux's target unless said otherwise. */
  readonly privateData?: Uint8Array;
  readonly receives?: number;
  readonly initiatorDepth?: number;
  /** What to do with a caller: accept it, reject it, or leave it waiting. */
  readonly admission?: 'accept' | 'reject' | 'ignore';
  readonly host?: string;
}

const SEND_BYTES_MAX = 64 * 1024;
const RECEIVE_BYTES = ISER_HEADERS_BYTES + 8192;

/**
 * A scripted iSER target that speaks verbs and iSER bytes and knows no iSCSI: a test tells it what to answer. It
 * receives into a fixed ring, keeps what it got, and may break every rule.
 */
export class IserPeer {
  readonly address: PortalAddress;
  readonly #listener: ConnectionId;
  readonly #options: IserPeerOptions;
  readonly connections: IserPeerConnection[] = [];
  #waiting: ((connection: IserPeerConnection) => void)[] = [];

  private constructor(listener: ConnectionId, address: PortalAddress, options: IserPeerOptions) {
    this.#listener = listener;
    this.address = address;
    this.#options = options;
    listener.onEvent = (event) => this.#onEvent(event);
  }

  static async listen(transport: RdmaTransport, options: IserPeerOptions = {}): Promise<IserPeer> {
    const listener = transport.createId(() => undefined);
    const address = await listener.listen({ host: options.host ?? 'target', port: 0 }, 16);
    return new IserPeer(listener, address, options);
  }

  /** The next connection that is accepted from now on. */
  nextConnection(): Promise<IserPeerConnection> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async close(): Promise<void> {
    this.#listener.destroy();
    for (const connection of this.connections) await connection.close();
  }

  #onEvent(event: ConnectionEvent): void {
    if (event.type !== 'connectRequest') return;
    const { admission = 'accept' } = this.#options;
    if (admission === 'reject') event.id.reject(new Uint8Array());
    if (admission !== 'accept') return;
    const connection = new IserPeerConnection(event.id, event.parameters, this.#options);
    this.connections.push(connection);
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve(connection);
  }
}

/** The peer's end of one connection. */
export class IserPeerConnection {
  readonly id: ConnectionId;
  readonly offered: ConnectionParameters;
  readonly queuePair: QueuePair;
  /** All PDUs so far. */
  readonly pdus: PeerPdu[] = [];
  /** Called for each PDU, if set. */
  onPdu: ((pdu: PeerPdu) => void) | null = null;
  readonly disconnected: Promise<string | null>;
  readonly #domain: ProtectionDomain;
  readonly #completionQueue: CompletionQueue;
  readonly #regions: MemoryRegion[] = [];
  readonly #receiveSlab: Slab;
  readonly #sendRegion: MemoryRegion;
  #sendOffset = 0;
  #pduWaiters: { count: number; resolve: () => void }[] = [];
  #isClosed = false;
  /** When false, receives are not posted again: the target does not take what it is sent. */
  isReposting = true;

  constructor(id: ConnectionId, offered: ConnectionParameters, options: IserPeerOptions) {
    this.id = id;
    this.offered = offered;
    const device = id.device!;
    this.#domain = device.allocateProtectionDomain();
    this.#completionQueue = device.createCompletionQueue({ depth: 16384, vector: 0 });
    const receives = options.receives ?? 256;
    this.queuePair = id.createQueuePair({
      protectionDomain: this.#domain,
      completionQueue: this.#completionQueue,
      sendRequestsMax: 4096,
      receiveRequestsMax: receives,
    });
    this.#receiveSlab = new Slab(receives * RECEIVE_BYTES);
    const receiveRegion = this.#register(this.#receiveSlab, Access.localWrite);
    this.#sendRegion = this.#register(new Slab(SEND_BYTES_MAX * 16), Access.none);
    for (let index = 0; index < receives; index++) {
      this.#postReceive(receiveRegion, index * RECEIVE_BYTES);
    }
    this.disconnected = new Promise((resolve) => {
      id.onEvent = (event) => {
        if (event.type === 'disconnected') resolve(event.reason);
      };
    });
    id.accept({
      privateData: options.privateData ?? Uint8Array.of(0x80, 0, 0, 0),
      responderResources: 1,
      initiatorDepth: options.initiatorDepth ?? 16,
    });
  }

  /** Resolves when `count` PDUs have come in all, with the last of them. */
  async received(count: number): Promise<PeerPdu> {
    if (this.pdus.length < count) {
      await new Promise<void>((resolve) => this.#pduWaiters.push({ count, resolve }));
    }
    return this.pdus[count - 1]!;
  }

  /** Sends a PDU with a plain header. With `invalidate`, as Send with Invalidate of that key. */
  send(bhs: Uint8Array, data: Uint8Array = new Uint8Array(), invalidate?: number): void {
    const message = new Uint8Array(ISER_HEADERS_BYTES + ((data.length + 3) & ~3));
    encodePlainHeader(new DataView(message.buffer), 0);
    message.set(bhs, 28);
    message.set(data, ISER_HEADERS_BYTES);
    this.sendRaw(message, invalidate);
  }

  /** Sends any bytes. */
  sendRaw(message: Uint8Array, invalidate?: number): void {
    const { slab } = this.#sendRegion;
    if (this.#sendOffset + message.length > slab.length) this.#sendOffset = 0;
    slab.bytes.set(message, this.#sendOffset);
    const request = new SendWorkRequest(() => undefined);
    if (invalidate !== undefined) {
      request.opcode = WorkOpcode.sendWithInvalidate;
      request.invalidateKey = invalidate as MemoryKey;
    }
    request.sges[0]!.set(this.#sendRegion, this.#sendOffset, message.length);
    request.sgeCount = message.length === 0 ? 0 : 1;
    this.#sendOffset += message.length;
    this.queuePair.postSend(request);
  }

  /** RDMA Write of `bytes` to what a command advertised. Resolves with the completion's status. */
  write(stag: number, high: number, low: number, bytes: Uint8Array): Promise<WorkStatus> {
    const region = this.#register(new Slab(Math.max(bytes.length, 1)), Access.none);
    region.slab.bytes.set(bytes);
    return this.#rdma(WorkOpcode.rdmaWrite, region, bytes.length, stag, high, low);
  }

  /** RDMA Read of `length` bytes; null when it failed. */
  async read(stag: number, high: number, low: number, length: number): Promise<Buffer | null> {
    const access = Access.localWrite | Access.remoteWrite;
    const region = this.#register(new Slab(Math.max(length, 1)), access);
    const status = await this.#rdma(WorkOpcode.rdmaRead, region, length, stag, high, low);
    return status === WorkStatus.success ? region.slab.bytes.subarray(0, length) : null;
  }

  disconnect(): void {
    this.id.disconnect();
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.queuePair.drain();
    this.id.destroy();
    this.queuePair.destroy();
    this.#completionQueue.destroy();
    for (const region of this.#regions) region.deregister();
    this.#domain.deallocate();
  }

  #rdma(
    opcode: WorkOpcode,
    region: MemoryRegion,
    length: number,
    stag: number,
    high: number,
    low: number,
  ): Promise<WorkStatus> {
    return new Promise((resolve) => {
      const request = new SendWorkRequest((completion) => resolve(completion.status));
      request.opcode = opcode;
      request.sges[0]!.set(region, 0, length);
      request.sgeCount = 1;
      request.remoteKey = stag as MemoryKey;
      request.remoteAddressHigh = high;
      request.remoteAddressLow = low;
      this.queuePair.postSend(request);
    });
  }

  #register(slab: Slab, access: number): MemoryRegion {
    const region = this.#domain.registerMemory({ slab, offset: 0, length: slab.length }, access);
    this.#regions.push(region);
    return region;
  }

  #postReceive(region: MemoryRegion, offset: number): void {
    const request = new ReceiveWorkRequest((completion) => {
      if (completion.status !== WorkStatus.success) return;
      this.#take(offset, completion.byteLength);
      if (this.isReposting) this.queuePair.postReceive(request);
    });
    request.sge.set(region, offset, RECEIVE_BYTES);
    this.queuePair.postReceive(request);
  }

  #take(offset: number, byteLength: number): void {
    const { bytes, view } = this.#receiveSlab;
    const header = new IserControlHeader();
    decodeControlHeader(view, offset, header);
    const pdu: PeerPdu = {
      header,
      bhs: Buffer.from(bytes.subarray(offset + 28, offset + ISER_HEADERS_BYTES)),
      data: Buffer.from(bytes.subarray(offset + ISER_HEADERS_BYTES, offset + byteLength)),
    };
    this.pdus.push(pdu);
    this.onPdu?.(pdu);
    this.#pduWaiters = this.#pduWaiters.filter(({ count, resolve }) => {
      if (this.pdus.length >= count) resolve();
      return this.pdus.length < count;
    });
  }
}
