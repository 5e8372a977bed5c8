/**
 * The verbs vocabulary: the functions of an RDMA device, with the names of libibverbs and librdmacm. Every driver
 * implements these interfaces, and one compliance suite checks that all drivers behave the same.
 *
 * Two rules hold on every driver:
 *
 * 1. A posted work request that is signalled completes exactly once, and in posting order. One that is not
 *    signalled completes only when it fails; a later signalled success on the same queue implies its own. When a
 *    queue pair enters the error state, everything still posted completes as `flushed`, signalled or not.
 * 2. Completion handlers run from the completion queue's own turn (a microtask or later), never inside a post call.
 *    They run in batches, so a handler that posts more work pays for one doorbell.
 *
 * Remote addresses are opaque 64-bit numbers and travel as two unsigned 32-bit halves.
 */
import type { Brand } from '../common/brand.js';
import { assert } from '../common/assert.js';
import { IserNbdError } from '../common/errors.js';
import type { ListenPlace } from '../common/listen-plan.js';
import type { Slab } from '../common/slab.js';

/** A memory key (an STag): ours, or one that the peer advertised. Not an address, of which a half has the same range. */
export type MemoryKey = Brand<number, 'MemoryKey'>;
/** No key: a device never draws it. */
export const NO_MEMORY_KEY = 0 as MemoryKey;

/** A device, a connection or a registration refused a request. */
export class VerbsError extends IserNbdError {
  override readonly name = 'VerbsError';
}

/** `enum ibv_wr_opcode`, and the receive side of `enum ibv_wc_opcode`. */
export const WorkOpcode = {
  send: 0,
  sendWithInvalidate: 1,
  rdmaWrite: 2,
  rdmaRead: 3,
  registerMemory: 4,
  localInvalidate: 5,
  receive: 6,
} as const;
export type WorkOpcode = (typeof WorkOpcode)[keyof typeof WorkOpcode];

/** `enum ibv_wc_status`, without the values that a reliable connection never has. */
export const WorkStatus = {
  success: 0,
  localLengthError: 1,
  localProtectionError: 2,
  flushed: 3,
  remoteInvalidRequest: 4,
  remoteAccessError: 5,
  remoteOperationError: 6,
  generalError: 7,
} as const;
export type WorkStatus = (typeof WorkStatus)[keyof typeof WorkStatus];

const statusNames = new Map<number, string>(
  Object.entries(WorkStatus).map(([name, code]) => [code, name]),
);

export function workStatusName(status: WorkStatus): string {
  return statusNames.get(status) ?? `status ${status}`;
}

/** `enum ibv_access_flags`. Local read is always allowed. */
export const Access = { none: 0, localWrite: 1, remoteWrite: 2, remoteRead: 4 } as const;

/** The attributes of `ibv_query_device` that this project uses. */
export interface DeviceAttributes {
  readonly nodeGuid: string;
  /** Work requests per queue, each of send and receive. */
  readonly workRequestsMax: number;
  readonly sgesMax: number;
  /** `max_qp_rd_atom`: RDMA Reads that a peer may have outstanding on a queue pair of ours (IRD). */
  readonly readDepthResponderMax: number;
  /** `max_qp_init_rd_atom`: RDMA Reads that we may have outstanding (ORD). */
  readonly readDepthInitiatorMax: number;
  /** The device supports REG_MR work requests (`IB_DEVICE_MEM_MGT_EXTENSIONS`). */
  readonly fastRegistration: boolean;
  /** The longest buffer that one fast registration covers, in bytes. */
  readonly fastRegistrationBytesMax: number;
  /** A received Send with Invalidate revokes a region of ours. */
  readonly remoteInvalidate: boolean;
  /** The device supports {@link FastRegion.placedBytes}. */
  readonly countsPlacement: boolean;
  /** The device can generate and check T10-PI (`IBK_INTEGRITY_HANDOVER`). */
  readonly integrityHandover: boolean;
  readonly completionVectors: number;
}

/** An RDMA device. A connection id has its device after address resolution. */
export interface RdmaDevice {
  readonly name: string;
  readonly attributes: DeviceAttributes;
  allocateProtectionDomain(): ProtectionDomain;
  /** `depth` is the number of completions that may wait at the same time. `vector` is below `completionVectors`. */
  createCompletionQueue(options: CompletionQueueOptions): CompletionQueue;
}

export interface CompletionQueueOptions {
  readonly depth: number;
  readonly vector: number;
}

export interface ProtectionDomain {
  readonly device: RdmaDevice;
  /** Registers `[offset, offset + length)` of a slab (`ibv_reg_mr`). */
  registerMemory(source: MemorySpan, access: number): MemoryRegion;
  /** A region that a REG_MR work request maps later (`ib_alloc_mr`). Invalid until then. */
  allocateFastRegion(bytesMax: number): FastRegion;
  /** Frees the domain. The caller has freed all its regions and queue pairs. */
  deallocate(): void;
}

export interface MemorySpan {
  readonly slab: Slab;
  readonly offset: number;
  readonly length: number;
}

/** A registered piece of memory. `offset` in an {@link Sge} counts from the start of the slab, not of the region. */
export interface MemoryRegion {
  readonly slab: Slab;
  /** The start of the region in its slab. */
  readonly offset: number;
  readonly length: number;
  readonly access: number;
  readonly lkey: MemoryKey;
  readonly rkey: MemoryKey;
  /** The remote address (tagged offset) of the region's first byte. */
  readonly addressHigh: number;
  readonly addressLow: number;
  readonly isValid: boolean;
  /** Revokes both keys. */
  deregister(): void;
}

/**
 * A region for fast registration. A REG_MR gives it memory and a key. The remote address is fixed from allocation, so
 * that it can be advertised together with the key.
 */
export interface FastRegion extends MemoryRegion {
  /**
   * Draws the next key (`ib_update_fast_reg_key`) for the REG_MR work request that is about to be posted, and returns
   * the key, so that a Send in the same chain can advertise it.
   */
  nextKey(): MemoryKey;
  /**
   * The bytes from the region's start to the first gap that RDMA Writes of the peer have filled since the last
   * REG_MR. Also valid after the key is revoked. Only if the device counts them (`countsPlacement`).
   */
  readonly placedBytes: number;
}

/** A local scatter or gather element: `length` bytes at `offset` in the slab that `region` registers. */
export class Sge {
  region: MemoryRegion | null = null;
  offset = 0;
  length = 0;

  set(region: MemoryRegion, offset: number, length: number): void {
    this.region = region;
    this.offset = offset;
    this.length = length;
  }

  /** Removes the reference to the memory, so that the memory can be freed. */
  clear(): void {
    this.region = null;
    this.offset = 0;
    this.length = 0;
  }
}

/** How a work request ended (`struct ibv_wc`). One object per completion queue, borrowed until the handler returns. */
export class WorkCompletion {
  status: WorkStatus = WorkStatus.success;
  opcode: WorkOpcode = WorkOpcode.send;
  /** Receive and RDMA Read: the bytes that were placed. */
  byteLength = 0;
  /** Receive: the message was a Send with Invalidate, and this key of ours is revoked. */
  withInvalidate = false;
  invalidatedKey = NO_MEMORY_KEY;
  queuePair: QueuePair | null = null;
}

/** Receives the completion of its work request (`struct ib_cqe`). Set once, when the request is made. */
export type CompletionHandler = (completion: WorkCompletion) => void;

/**
 * A request for a send queue (`struct ibv_send_wr`). Made once per descriptor and posted many times. The queue pair
 * owns the request and its memory from the post call to the completion that covers it. `next` chains the requests of
 * one post call.
 */
export class SendWorkRequest {
  opcode: WorkOpcode = WorkOpcode.send;
  signaled = true;
  readonly sges: readonly Sge[];
  sgeCount = 0;
  /** RDMA Write and Read: the peer's key and address. */
  remoteKey = NO_MEMORY_KEY;
  remoteAddressHigh = 0;
  remoteAddressLow = 0;
  /** Send with Invalidate: the peer's key. Local Invalidate: our key. */
  invalidateKey = NO_MEMORY_KEY;
  /** REG_MR: the region, and the memory, access rights and key that it gets. */
  fastRegion: FastRegion | null = null;
  registerSlab: Slab | null = null;
  registerOffset = 0;
  registerLength = 0;
  registerAccess: number = Access.none;
  registerKey = NO_MEMORY_KEY;
  next: SendWorkRequest | null = null;
  done: CompletionHandler;

  constructor(done: CompletionHandler, sgesMax = 2) {
    this.done = done;
    this.sges = Array.from({ length: sgesMax }, () => new Sge());
  }

  /** Element `index` of the list that the request was made with. */
  sge(index: number): Sge {
    const sge = this.sges[index];
    assert(sge !== undefined, 'work request without such an SGE');
    return sge;
  }

  /** The total bytes of the gather or scatter list. */
  get sgeBytes(): number {
    let total = 0;
    for (let index = 0; index < this.sgeCount; index++) total += this.sge(index).length;
    return total;
  }
}

/** A request for a receive queue (`struct ibv_recv_wr`): one buffer. It always completes. */
export class ReceiveWorkRequest {
  readonly sge = new Sge();
  next: ReceiveWorkRequest | null = null;
  done: CompletionHandler;

  constructor(done: CompletionHandler) {
    this.done = done;
  }
}

export interface CompletionQueue {
  readonly depth: number;
  /** Called after each batch of handlers, for work that is cheaper once per batch. */
  onBatchEnd: (() => void) | null;
  destroy(): void;
}

export interface QueuePairOptions {
  readonly protectionDomain: ProtectionDomain;
  readonly completionQueue: CompletionQueue;
  readonly sendRequestsMax: number;
  readonly receiveRequestsMax: number;
}

/**
 * A reliable connection's queues. Made by {@link ConnectionId.createQueuePair}, usable after the connection is
 * established.
 */
export interface QueuePair {
  /**
   * Posts a chain. In the error state the requests complete as flushed.
   * @throws VerbsError when the queue has no room (a bug in the caller's flow control)
   */
  postSend(first: SendWorkRequest): void;
  /** Posts a chain of receives. Allowed before the connection is established. */
  postReceive(first: ReceiveWorkRequest): void;
  /** Enters the error state. All posted requests complete as flushed. Idempotent. */
  setError(): void;
  /** Enters the error state, and resolves when every earlier request has completed (`ib_drain_qp`). */
  drain(): Promise<void>;
  /** Frees the queue pair. No request may be posted. */
  destroy(): void;
}

/** The rdma_cm events (`enum rdma_cm_event_type`) that a consumer sees. `reason` is a sentence fragment for people. */
export type ConnectionEvent =
  | { readonly type: 'addressResolved' }
  | { readonly type: 'addressError'; readonly reason: string }
  | { readonly type: 'routeResolved' }
  | { readonly type: 'routeError'; readonly reason: string }
  /** A listener has a caller. The receiver of the event accepts or rejects `id`. */
  | {
      readonly type: 'connectRequest';
      readonly id: ConnectionId;
      readonly parameters: ConnectionParameters;
    }
  | { readonly type: 'established'; readonly parameters: ConnectionParameters }
  | { readonly type: 'rejected'; readonly reason: string; readonly privateData: Uint8Array }
  /** The peer cannot be reached: refused, no route, or timed out. */
  | { readonly type: 'unreachable'; readonly reason: string }
  /** The peer does not speak the transport's protocol, or broke it during set-up. */
  | { readonly type: 'connectError'; readonly reason: string }
  /** Once after `established`, whichever side ended the connection. `reason` is null for an orderly end. */
  | { readonly type: 'disconnected'; readonly reason: string | null }
  | { readonly type: 'deviceRemoval' };

export type ConnectionEventHandler = (event: ConnectionEvent) => void;

/** `struct rdma_conn_param`, of either side. */
export interface ConnectionParameters {
  /** The consumer's bytes, without the transport's additions. */
  readonly privateData: Uint8Array;
  /** Outstanding RDMA Reads that the sender of these parameters grants the other side (its IRD). */
  readonly responderResources: number;
  /** Outstanding RDMA Reads that the sender wants (its ORD). */
  readonly initiatorDepth: number;
}

export interface PortalAddress {
  readonly host: string;
  readonly port: number;
}

/**
 * A connection-manager id (`struct rdma_cm_id`). Active side: resolveAddress, resolveRoute, createQueuePair,
 * connect. Passive side: listen, then for each `connectRequest` createQueuePair and accept, or reject. Events come
 * from a later turn, never inside a call on the id.
 */
export interface ConnectionId {
  /** Null before `addressResolved`. Always set on the id of a `connectRequest`. */
  readonly device: RdmaDevice | null;
  readonly queuePair: QueuePair | null;
  /** For logs: `host:port` of the peer, or of the listener. */
  readonly peerName: string;
  /** On the id of a `connectRequest`: the caller's address without its port, or empty. */
  readonly peerHost: string;
  onEvent: ConnectionEventHandler;
  resolveAddress(address: PortalAddress, timeoutMs: number): void;
  resolveRoute(timeoutMs: number): void;
  createQueuePair(options: QueuePairOptions): QueuePair;
  connect(parameters: ConnectionParameters): void;
  /**
   * Resolves with the bound address. `port: 0` selects a free port.
   * @throws VerbsError when the address cannot be bound
   */
  listen(address: ListenPlace, backlog: number): Promise<PortalAddress>;
  accept(parameters: ConnectionParameters): void;
  reject(privateData: Uint8Array): void;
  /**
   * Orderly end: queued requests leave first. Then the queue pair enters the error state, and `disconnected` follows.
   */
  disconnect(): void;
  /** Frees the id and its socket. No event follows. */
  destroy(): void;
}

/** A way to reach RDMA devices: `memory`, `iwarp` or `native`. */
export interface RdmaTransport {
  readonly name: string;
  createId(onEvent: ConnectionEventHandler): ConnectionId;
}
