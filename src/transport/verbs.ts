/**
 * The verbs vocabulary: what an RDMA device can do, named after libibverbs and librdmacm. Every driver (memory,
 * iwarp, native) implements these interfaces, and one compliance suite checks that they mean the same by them.
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
import { assert } from '../common/assert.js';
import { IserNbdError } from '../common/errors.js';
import type { ListenPlace } from '../common/listen-plan.js';
import type { Slab } from '../common/slab.js';

/** A device, connection or registration could not do what was asked. */
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

/** `enum ibv_wc_status`, the ones that a reliable connection can give. */
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

/** What `ibv_query_device` tells, as far as anybody here asks. */
export interface DeviceAttributes {
  readonly nodeGuid: string;
  /** Work requests per queue, each of send and receive. */
  readonly workRequestsMax: number;
  readonly sgesMax: number;
  /** `max_qp_rd_atom`: RDMA Reads that a peer may have outstanding on a queue pair of ours (IRD). */
  readonly readDepthResponderMax: number;
  /** `max_qp_init_rd_atom`: RDMA Reads that we may have outstanding (ORD). */
  readonly readDepthInitiatorMax: number;
  /** REG_MR work requests are understood (`IB_DEVICE_MEM_MGT_EXTENSIONS`). */
  readonly fastRegistration: boolean;
  /** The longest buffer that one fast registration covers, in bytes. */
  readonly fastRegistrationBytesMax: number;
  /** A received Send with Invalidate revokes a region of ours. */
  readonly remoteInvalidate: boolean;
  /** {@link FastRegion.placedBytes} tells what a peer has placed. */
  readonly countsPlacement: boolean;
  /** T10-PI can be generated and checked by the device (`IBK_INTEGRITY_HANDOVER`). */
  readonly integrityHandover: boolean;
  readonly completionVectors: number;
}

/** An RDMA device. Obtained from a connection id once its address is resolved. */
export interface RdmaDevice {
  readonly name: string;
  readonly attributes: DeviceAttributes;
  allocateProtectionDomain(): ProtectionDomain;
  /** `depth` is the number of completions that may wait at once; `vector` is below `completionVectors`. */
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
  /** Frees the domain. All its regions and queue pairs are gone by then. */
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
  /** Where the region starts in its slab. */
  readonly offset: number;
  readonly length: number;
  readonly access: number;
  readonly lkey: number;
  readonly rkey: number;
  /** The remote address (tagged offset) of the region's first byte. */
  readonly addressHigh: number;
  readonly addressLow: number;
  readonly isValid: boolean;
  /** Revokes both keys. */
  deregister(): void;
}

/**
 * A region for fast registration. After a REG_MR it covers what that named, under the key that it drew. Its remote
 * address is fixed from its allocation, so that it can be advertised together with the key.
 */
export interface FastRegion extends MemoryRegion {
  /**
   * Draws the next key (`ib_update_fast_reg_key`) for the REG_MR work request that is about to be posted, and
   * returns it, so that it can be advertised by a Send in the same chain.
   */
  nextKey(): number;
  /**
   * Bytes from the region's start that RDMA Writes of the peer have filled without a gap since the last REG_MR was
   * executed, whether the key still stands or is revoked. Only where the device counts them.
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

  /** Names no memory any more, and so keeps none alive. */
  clear(): void {
    this.region = null;
    this.offset = 0;
    this.length = 0;
  }
}

/** How a work request ended (`struct ibv_wc`). One object per completion queue: borrowed until the handler returns. */
export class WorkCompletion {
  status: WorkStatus = WorkStatus.success;
  opcode: WorkOpcode = WorkOpcode.send;
  /** Receive and RDMA Read: the bytes that were placed. */
  byteLength = 0;
  /** Receive: the message was a Send with Invalidate, and this key of ours is revoked. */
  withInvalidate = false;
  invalidatedKey = 0;
  queuePair: QueuePair | null = null;
}

/** Called with the completion of the work request it hangs on (`struct ib_cqe`). Set once, when the request is made. */
export type CompletionHandler = (completion: WorkCompletion) => void;

/**
 * A request for a send queue (`struct ibv_send_wr`). Made once per descriptor and posted again and again; it and
 * the memory it names belong to the queue pair from the post call to the completion that covers it. `next` chains
 * requests that go in one post call.
 */
export class SendWorkRequest {
  opcode: WorkOpcode = WorkOpcode.send;
  signaled = true;
  readonly sges: readonly Sge[];
  sgeCount = 0;
  /** RDMA Write and Read: where at the peer. */
  remoteKey = 0;
  remoteAddressHigh = 0;
  remoteAddressLow = 0;
  /** Send with Invalidate: the peer's key. Local Invalidate: ours. */
  invalidateKey = 0;
  /** REG_MR: the region to map, what to map it to, with which rights, under which key. */
  fastRegion: FastRegion | null = null;
  registerSlab: Slab | null = null;
  registerOffset = 0;
  registerLength = 0;
  registerAccess: number = Access.none;
  registerKey = 0;
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

  /** Bytes that the gather or scatter list covers. */
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

/** A reliable connection's queues. Made by {@link ConnectionId.createQueuePair}, usable once connected. */
export interface QueuePair {
  /**
   * Posts a chain. In the error state the requests complete as flushed.
   * @throws VerbsError when the queue has no room (a bug of the caller's flow control).
   */
  postSend(first: SendWorkRequest): void;
  /** Posts a chain of receives; allowed before the connection is up. */
  postReceive(first: ReceiveWorkRequest): void;
  /** Moves to the error state; everything posted completes as flushed. Idempotent. */
  setError(): void;
  /** Resolves when every request posted before has completed; the queue pair is in the error state then (`ib_drain_qp`). */
  drain(): Promise<void>;
  /** Requires that nothing is posted any more. */
  destroy(): void;
}

/** The rdma_cm events (`enum rdma_cm_event_type`) that a consumer sees. `reason` is a sentence fragment for people. */
export type ConnectionEvent =
  | { readonly type: 'addressResolved' }
  | { readonly type: 'addressError'; readonly reason: string }
  | { readonly type: 'routeResolved' }
  | { readonly type: 'routeError'; readonly reason: string }
  /** A listener has a caller: `id` is to be accepted or rejected by the event's receiver. */
  | {
      readonly type: 'connectRequest';
      readonly id: ConnectionId;
      readonly parameters: ConnectionParameters;
    }
  | { readonly type: 'established'; readonly parameters: ConnectionParameters }
  | { readonly type: 'rejected'; readonly reason: string; readonly privateData: Uint8Array }
  /** Nobody there: refused, no route, timed out. */
  | { readonly type: 'unreachable'; readonly reason: string }
  /** Somebody there who does not speak the transport's protocol, or broke it during set-up. */
  | { readonly type: 'connectError'; readonly reason: string }
  /** Once after `established`, whoever ended it. `reason` is null for an orderly end. */
  | { readonly type: 'disconnected'; readonly reason: string | null }
  | { readonly type: 'deviceRemoval' };

export type ConnectionEventHandler = (event: ConnectionEvent) => void;

/** `struct rdma_conn_param`, and what of it the peer's side said. */
export interface ConnectionParameters {
  /** The consumer's own bytes, without what the transport adds to them. */
  readonly privateData: Uint8Array;
  /** RDMA Reads that the sender of these parameters lets the other side have outstanding (its IRD). */
  readonly responderResources: number;
  /** RDMA Reads that the sender wants to have outstanding itself (its ORD). */
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
  /** Known from `addressResolved`, or from birth on an id that came with a `connectRequest`. */
  readonly device: RdmaDevice | null;
  readonly queuePair: QueuePair | null;
  /** For logs: `host:port` of the peer, or of the listener. */
  readonly peerName: string;
  /** On an id that came with a `connectRequest`: the caller's address without its port, empty where it has none. */
  readonly peerHost: string;
  onEvent: ConnectionEventHandler;
  resolveAddress(address: PortalAddress, timeoutMs: number): void;
  resolveRoute(timeoutMs: number): void;
  createQueuePair(options: QueuePairOptions): QueuePair;
  connect(parameters: ConnectionParameters): void;
  /** Resolves with the bound address (`port: 0` asks for a free one). @throws VerbsError when it cannot be bound. */
  listen(address: ListenPlace, backlog: number): Promise<PortalAddress>;
  accept(parameters: ConnectionParameters): void;
  reject(privateData: Uint8Array): void;
  /** Orderly end: what is queued leaves first. The queue pair goes to the error state, `disconnected` follows. */
  disconnect(): void;
  /** Frees the id and its socket. No event follows. */
  destroy(): void;
}

/** A way to reach RDMA devices: `memory`, `iwarp` or `native`. */
export interface RdmaTransport {
  readonly name: string;
  createId(onEvent: ConnectionEventHandler): ConnectionId;
}
