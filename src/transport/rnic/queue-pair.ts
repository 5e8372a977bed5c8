import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import { assert } from '../../common/assert.js';
import { soon } from '../../common/later.js';
import { Ring } from '../../common/ring.js';
import { MESSAGE_BYTES_MAX, READ_DEPTH_MAX } from '../limits.js';
import type {
  MemoryKey,
  QueuePair,
  QueuePairOptions,
  ReceiveWorkRequest,
  SendWorkRequest,
  Sge,
} from '../verbs.js';
import { Access, NO_MEMORY_KEY, VerbsError, WorkOpcode, WorkStatus } from '../verbs.js';
import { regionAddressHigh, regionAddressLow } from './address.js';
import { SoftCompletionQueue } from './completion-queue.js';
import { DrainWaiters } from './drain.js';
import { Fault, faultReason } from './fault.js';
import type { RegionSpan } from './placement.js';
import { Placement } from './placement.js';
import { ReceiveQueue } from './receive-queue.js';
import { SoftFastRegion } from './region.js';
import type { RegionTable } from './region-table.js';
import type { AccessScope } from './region.js';
import { SendQueue } from './send-queue.js';
import type { SendSlot } from './send-queue.js';
import type { ReadDepths, WireDriver } from './wire-driver.js';
import { localRegion, readSinkKey, requireQueueSize, requireWellFormed } from './work-request.js';

type QueuePairState = 'init' | 'ready' | 'closing' | 'error' | 'destroyed';

/** The states are those of InfiniBand. `closing` is SQD: posted requests are still sent, later requests are not. */
const EDGES: Edges<QueuePairState> = {
  init: ['ready', 'error'],
  ready: ['closing', 'error'],
  closing: ['error'],
  error: ['destroyed'],
  destroyed: [],
};

/** The queue pair of the soft RNIC. wire-driver.ts describes its use by a driver. */
export class SoftQueuePair implements QueuePair, AccessScope {
  readonly protectionDomain: QueuePairOptions['protectionDomain'];
  readonly #table: RegionTable;
  readonly #completionQueue: SoftCompletionQueue;
  readonly #sendQueue: SendQueue;
  readonly #receiveQueue: ReceiveQueue;
  readonly #inbound = new Placement();
  readonly #reads = new Ring<SendSlot>(READ_DEPTH_MAX);
  readonly #released: () => void;
  readonly #drain: DrainWaiters;
  #driver: WireDriver | null = null;
  readonly #machine = new StateMachine('a queue pair', EDGES, 'init');
  #readDepthInitiator = 0;
  #readDepthResponder = 0;
  #inboundReads = 0;
  #closeAt = 0;
  #doorbellRung = false;
  readonly #doorbell = (): void => this.#answerDoorbell();

  /** `released` is called once, when the queue pair is destroyed. */
  constructor(table: RegionTable, options: QueuePairOptions, released: () => void) {
    const { completionQueue, sendRequestsMax, receiveRequestsMax } = options;
    requireQueueSize(sendRequestsMax);
    requireQueueSize(receiveRequestsMax);
    assert(completionQueue instanceof SoftCompletionQueue, 'completion queue of another device');
    this.protectionDomain = options.protectionDomain;
    this.#table = table;
    this.#completionQueue = completionQueue;
    this.#released = released;
    this.#receiveQueue = new ReceiveQueue(receiveRequestsMax);
    this.#sendQueue = new SendQueue(sendRequestsMax, (request, position, status, byteLength) =>
      completionQueue.push(this, false, position, request.opcode, status, byteLength, request.done),
    );
    this.#drain = new DrainWaiters(this.#sendQueue, this.#receiveQueue);
    completionQueue.attachQueuePair();
  }

  // ---- calls from the consumer ----

  postSend(first: SendWorkRequest): void {
    if (this.#machine.state === 'init' || this.#machine.state === 'destroyed') {
      throw new VerbsError(
        'queue-pair-state',
        `postSend on a queue pair in state ${this.#machine.state}.`,
      );
    }
    requireWellFormed(first);
    this.#sendQueue.post(first);
    if (this.#machine.state === 'error') this.#sendQueue.flush();
    else this.#ringDoorbell();
  }

  postReceive(first: ReceiveWorkRequest): void {
    if (this.#machine.state === 'destroyed') {
      throw new VerbsError('queue-pair-state', 'postReceive on a destroyed queue pair.');
    }
    this.#receiveQueue.post(first);
    if (this.#machine.state === 'error') this.#flushReceives();
  }

  setError(): void {
    this.#enterError(null, Fault.none);
  }

  drain(): Promise<void> {
    this.setError();
    return this.#drain.wait();
  }

  /** @throws VerbsError while work requests are posted */
  destroy(): void {
    if (this.#machine.state === 'destroyed') return;
    const posted = this.#sendQueue.postedCount + this.#receiveQueue.postedCount;
    if (posted > 0) {
      throw new VerbsError(
        'queue-pair-busy',
        `The queue pair has ${posted} posted work requests; drain it before destroying it.`,
        { posted },
      );
    }
    this.setError();
    this.#machine.enter('destroyed');
    this.#completionQueue.detachQueuePair();
    this.#released();
  }

  // ---- calls from the driver: life ----

  /** Connects the queue pair to its wire. False when its owner has already put it into the error state. */
  activate(driver: WireDriver, depths: ReadDepths): boolean {
    if (this.#machine.state !== 'init') return false;
    assert(depths.initiator <= READ_DEPTH_MAX, `ORD ${depths.initiator}`);
    assert(depths.responder <= READ_DEPTH_MAX, `IRD ${depths.responder}`);
    this.#driver = driver;
    this.#readDepthInitiator = depths.initiator;
    this.#readDepthResponder = depths.responder;
    this.#machine.enter('ready');
    return true;
  }

  get isConnected(): boolean {
    return this.#machine.state === 'ready' || this.#machine.state === 'closing';
  }

  get isInError(): boolean {
    return this.#machine.state === 'error' || this.#machine.state === 'destroyed';
  }

  /**
   * Starts an orderly end: the driver may still take the posted requests, and later requests are flushed. The driver
   * then calls fail().
   */
  beginClose(): void {
    if (this.#machine.state !== 'ready') return;
    this.#machine.enter('closing');
    this.#closeAt = this.#sendQueue.tail;
  }

  /** True when the driver can take no request (apart from those after a close) and holds no slot. */
  get isSendIdle(): boolean {
    const held = this.#machine.state === 'closing' ? (this.#sendQueue.tail - this.#closeAt) | 0 : 0;
    return this.#sendQueue.waitingCount - held <= 0 && this.#sendQueue.unreportedCount === 0;
  }

  /** Enters the error state because of the driver's fault, or with `Fault.none` at the orderly end of a connection. */
  fail(fault: Fault): void {
    this.#enterError(fault === Fault.none ? null : faultReason(fault), fault);
  }

  // ---- calls from the driver: sending ----

  /** The next request for the wire, or null when no request may be sent now. */
  takeSend(): SendSlot | null {
    while (this.isConnected) {
      if (this.#machine.state === 'closing' && this.#sendQueue.hasTaken(this.#closeAt)) return null;
      const slot = this.#sendQueue.peek();
      if (slot === null) return null;
      const request = slot.posted;
      if (request.opcode === WorkOpcode.registerMemory) {
        this.#executeLocally(slot, this.#register(request));
      } else if (request.opcode === WorkOpcode.localInvalidate) {
        this.#executeLocally(slot, this.#invalidate(request.invalidateKey));
      } else if (this.#mayLeave(slot, request)) {
        return slot;
      } else {
        return null;
      }
    }
    return null;
  }

  /** Call when the wire no longer needs the memory of a taken Send, Send with Invalidate or Write. */
  completeSend(slot: SendSlot): void {
    assert(slot.state === 'taken' && !slot.isRead, 'completion of a send slot that is not taken');
    slot.state = 'executed';
    this.#reportSends();
  }

  /** A taken request failed by its own fault. The queue pair enters the error state. */
  failSend(slot: SendSlot, status: WorkStatus, fault: Fault): void {
    assert(slot.state === 'taken', 'failure of a send slot that is not taken');
    slot.state = 'executed';
    slot.status = status;
    if (this.isInError) this.#sendQueue.flush();
    else this.fail(fault);
  }

  /** The oldest RDMA Read without a response, for a driver that assigns a refusal to it. */
  get oldestRead(): SendSlot | null {
    return this.#reads.peek() ?? null;
  }

  // ---- calls from the driver: receiving ----

  /** Admits a segment of a Send, if a receive is posted and the segment fits into it. */
  beginSend(messageOffset: number, length: number): Fault {
    if (!this.isConnected) return Fault.notConnected;
    const receive = this.#receiveQueue.peek();
    if (receive === null) return Fault.noReceive;
    const { sge } = receive;
    if (messageOffset + length > sge.length) return Fault.messageTooLong;
    return this.#openLocal(sge, messageOffset, length, NO_MEMORY_KEY);
  }

  beginWrite(stag: MemoryKey, addressHigh: number, addressLow: number, length: number): Fault {
    if (!this.isConnected) return Fault.notConnected;
    const inbound = this.#inbound;
    if (length === 0) {
      inbound.clear();
      return Fault.none;
    }
    return this.#table.check(
      stag,
      this,
      Access.remoteWrite,
      addressHigh,
      addressLow,
      length,
      inbound,
    );
  }

  /**
   * Admits a segment of the response to the oldest outstanding RDMA Read, if its place is right and its length is
   * within the request.
   */
  beginReadResponse(
    stag: MemoryKey,
    addressHigh: number,
    addressLow: number,
    length: number,
  ): Fault {
    if (!this.isConnected) return Fault.notConnected;
    const slot = this.#reads.peek();
    if (slot === undefined) return Fault.readResponse;
    const request = slot.posted;
    const sge = request.sges[0];
    if (slot.readPlaced + length > request.sgeBytes) return Fault.readResponse;
    if (length === 0 || sge === undefined || sge.region === null) {
      this.#inbound.clear();
      return Fault.none;
    }
    const { region } = sge;
    const offset = sge.offset + slot.readPlaced;
    if (stag !== slot.sinkKey || addressLow !== regionAddressLow(region, offset))
      return Fault.readResponse;
    if (addressHigh !== regionAddressHigh(region, offset)) return Fault.readResponse;
    return this.#openLocal(sge, slot.readPlaced, length, slot.sinkKey);
  }

  /**
   * Copies a piece of the open segment's payload to its destination. A `view` of the whole `source` makes short
   * copies cheaper.
   */
  place(source: Uint8Array, start: number, end: number, view: DataView | null = null): Fault {
    return this.#inbound.write(source, start, end, view);
  }

  /** A segment of an RDMA Write is placed. */
  endWrite(): void {
    const inbound = this.#inbound;
    inbound.note();
    inbound.clear();
  }

  /**
   * Checks that the peer may revoke this key. For the header of a Send with Invalidate, before its payload is taken.
   */
  checkInvalidate(key: MemoryKey): Fault {
    return this.#table.checkInvalidate(key, this);
  }

  /** Call when the message is complete. Revokes the key, if the message has one, and completes the receive. */
  endSend(messageBytes: number, withInvalidate: boolean, invalidateKey: MemoryKey): Fault {
    if (!this.isConnected) return Fault.notConnected;
    if (this.#receiveQueue.peek() === null) return Fault.noReceive;
    if (withInvalidate) {
      const fault = this.#table.invalidateRemotely(invalidateKey, this);
      if (fault !== Fault.none) return fault;
    }
    this.#completeReceive(WorkStatus.success, messageBytes);
    if (withInvalidate) this.#completionQueue.noteInvalidated(invalidateKey);
    return Fault.none;
  }

  /** A segment of a Read Response is placed. The last segment completes the RDMA Read, if no byte is missing. */
  endReadResponse(isLast: boolean): Fault {
    const slot = this.#reads.peek();
    if (slot === undefined || !this.isConnected) return Fault.notConnected;
    slot.readPlaced += this.#inbound.placed;
    this.#inbound.clear();
    if (!isLast) return Fault.none;
    if (slot.readPlaced !== slot.posted.sgeBytes) return Fault.readResponse;
    this.#reads.shift();
    slot.byteLength = slot.readPlaced;
    slot.state = 'executed';
    this.#reportSends();
    // The next Read may have waited for this Read.
    if (this.#sendQueue.waitingCount > 0) this.#ringDoorbell();
    return Fault.none;
  }

  /** Admits an RDMA Read of the peer. `span` then names the bytes of the response. */
  beginRead(
    stag: MemoryKey,
    addressHigh: number,
    addressLow: number,
    length: number,
    span: RegionSpan,
  ): Fault {
    if (!this.isConnected) return Fault.notConnected;
    if (this.#inboundReads >= this.#readDepthResponder) return Fault.readDepth;
    if (length === 0) {
      span.clear();
    } else {
      const access = Access.remoteRead;
      const fault = this.#table.check(stag, this, access, addressHigh, addressLow, length, span);
      if (fault !== Fault.none) return fault;
    }
    this.#inboundReads++;
    return Fault.none;
  }

  /** Call when the response to a read that {@link beginRead} admitted has left. */
  endRead(): void {
    assert(this.#inboundReads > 0, 'end of an RDMA Read that was not admitted');
    this.#inboundReads--;
  }

  // ---- calls from the completion queue ----

  releaseSlots(isReceive: boolean, position: number): void {
    if (isReceive) this.#receiveQueue.release(position);
    else this.#sendQueue.release(position);
  }

  /** Call after the handler of a completion of this queue pair has run. */
  afterDelivery(): void {
    this.#drain.settle();
  }

  // ---- inside ----

  #mayLeave(slot: SendSlot, request: SendWorkRequest): boolean {
    const isRead = request.opcode === WorkOpcode.rdmaRead;
    if (isRead && this.#readDepthInitiator === 0) {
      return this.#refuse(slot, WorkStatus.generalError, Fault.readDepth);
    }
    if (isRead && this.#reads.length >= this.#readDepthInitiator) return false;
    if (request.sgeBytes > MESSAGE_BYTES_MAX) {
      return this.#refuse(slot, WorkStatus.localLengthError, Fault.messageTooLong);
    }
    const access = isRead ? Access.localWrite : Access.none;
    for (let index = 0; index < request.sgeCount; index++) {
      const sge = request.sge(index);
      if (sge.length !== 0 && localRegion(sge, this.protectionDomain, access) === null) {
        return this.#refuse(slot, WorkStatus.localProtectionError, Fault.localBuffer);
      }
    }
    this.#sendQueue.take();
    if (isRead) {
      slot.sinkKey = readSinkKey(request);
      this.#reads.push(slot);
    }
    return true;
  }

  #refuse(slot: SendSlot, status: WorkStatus, fault: Fault): false {
    this.#sendQueue.take();
    this.failSend(slot, status, fault);
    return false;
  }

  #executeLocally(slot: SendSlot, isDone: boolean): void {
    if (!isDone) {
      this.#refuse(slot, WorkStatus.localProtectionError, Fault.localRequest);
      return;
    }
    this.#sendQueue.take();
    slot.state = 'executed';
    this.#sendQueue.reportExecuted();
  }

  #register(request: SendWorkRequest): boolean {
    const region = request.fastRegion;
    return region instanceof SoftFastRegion && region.register(this, request);
  }

  #invalidate(key: MemoryKey): boolean {
    const region = this.#table.find(key);
    if (region === null || region.activeKey !== key || !region.isFast) return false;
    if (region.protectionDomain !== this.protectionDomain) return false;
    region.revoke();
    return true;
  }

  /** Opens a segment for local memory. With a `key`, only while the memory is registered with that key. */
  #openLocal(sge: Sge, offset: number, length: number, key: MemoryKey): Fault {
    if (length === 0) {
      this.#inbound.clear();
      return Fault.none;
    }
    const region = localRegion(sge, this.protectionDomain, Access.localWrite);
    if (region === null || (key !== 0 && region.activeKey !== key)) return Fault.localBuffer;
    this.#inbound.set(region, sge.offset + offset, length);
    return Fault.none;
  }

  #completeReceive(status: WorkStatus, byteLength: number): void {
    const request = this.#receiveQueue.consume();
    this.#completionQueue.push(
      this,
      true,
      this.#receiveQueue.position,
      WorkOpcode.receive,
      status,
      byteLength,
      request.done,
    );
  }

  #reportSends(): void {
    if (this.isInError) this.#sendQueue.flush();
    else this.#sendQueue.reportExecuted();
  }

  #flushReceives(): void {
    while (this.#receiveQueue.peek() !== null) this.#completeReceive(WorkStatus.flushed, 0);
  }

  #enterError(reason: string | null, fault: Fault): void {
    if (this.isInError) return;
    this.#machine.enter('error');
    this.#inbound.clear();
    while (this.#reads.shift() !== undefined);
    this.#sendQueue.flush();
    this.#flushReceives();
    this.#driver?.onQueuePairError(reason, fault);
  }

  #ringDoorbell(): void {
    if (this.#doorbellRung) return;
    this.#doorbellRung = true;
    soon(this.#doorbell);
  }

  #answerDoorbell(): void {
    this.#doorbellRung = false;
    if (this.isConnected) this.#driver?.onSendWork();
  }
}
