import { assert } from '../common/assert.js';
import type { Slab } from '../common/slab.js';
import type { CompletionHandler, MemoryRegion, WorkCompletion } from '../transport/verbs.js';
import { ReceiveWorkRequest, SendWorkRequest, WorkOpcode } from '../transport/verbs.js';
import {
  ISER_HEADER_BYTES,
  ISER_HEADERS_BYTES,
  LOGIN_RECEIVE_BYTES,
} from '../iscsi/iser-header.js';
import { LOGIN_DATA_BYTES_MAX } from '../iscsi/limits.js';

/** `enum iser_desc_type`: what a TX descriptor carries. */
export const TxType = { command: 0, control: 1 } as const;
export type TxType = (typeof TxType)[keyof typeof TxType];

const typeNames = ['command', 'control PDU'] as const;

/** Descriptors start on cache lines. */
const ALIGNMENT_BYTES = 64;

/** Headers, data of the descriptor's own, and the three zero bytes that may pad data which is elsewhere. */
export function txDescriptorBytes(dataBytes: number): number {
  return roundUp(ISER_HEADERS_BYTES + Math.max(dataBytes, PAD_BYTES_MAX));
}

export function rxDescriptorBytes(dataBytes: number): number {
  return roundUp(ISER_HEADERS_BYTES + dataBytes);
}

function roundUp(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

const PAD_BYTES_MAX = 3;
const SGES = 3;

/** Work requests that registration can put before the Send (`ISER_MAX_WRS` less the Send). */
const REGISTRATION_REQUESTS_MAX = 1;

/** A task of whose data a Send gathers. */
export interface GatherTask {
  /** Sends on their way that gather from the data buffer. */
  pendingGathers: number;
}

/**
 * `iser_tx_desc`: a PDU to send. In the slab, at `offset`: iSER header (28 bytes), BHS (48), and for control PDUs
 * the data segment. From posting until a completion covers it, it is the queue pair's; then the connection takes
 * it back.
 */
export class TxDescriptor {
  readonly type: TxType;
  readonly slab: Slab;
  readonly offset: number;
  readonly bhsOffset: number;
  readonly dataOffset: number;
  readonly dataCapacity: number;
  readonly sendRequest: SendWorkRequest;
  /** Requests that are executed before the Send, in order: `wrs[0 .. wr_idx)`. */
  readonly #registrationRequests: readonly SendWorkRequest[];
  #registrationCount = 0;
  readonly #region: MemoryRegion;
  /** Posted, and not covered by a completion yet. */
  isPosted = false;
  /** Commands: the task whose command is, or will be, in here; null while it belongs to none. */
  owner: object | null = null;
  /** The task whose data buffer the Send gathers from, while it may. */
  gatherTask: GatherTask | null = null;

  /**
   * `region` registers the slab. `sent` is called with the Send's completion, `registered` when a request before it
   * has failed.
   */
  constructor(
    type: TxType,
    region: MemoryRegion,
    offset: number,
    dataCapacity: number,
    sent: (descriptor: TxDescriptor, completion: WorkCompletion) => void,
    registered: CompletionHandler,
  ) {
    this.type = type;
    this.slab = region.slab;
    this.#region = region;
    this.offset = offset;
    this.bhsOffset = offset + ISER_HEADER_BYTES;
    this.dataOffset = offset + ISER_HEADERS_BYTES;
    this.dataCapacity = dataCapacity;
    this.sendRequest = new SendWorkRequest((completion) => sent(this, completion), SGES);
    this.sendRequest.opcode = WorkOpcode.send;
    this.#registrationRequests = Array.from(
      { length: type === TxType.command ? REGISTRATION_REQUESTS_MAX : 0 },
      () => new SendWorkRequest(registered, 0),
    );
  }

  get typeName(): string {
    return typeNames[this.type];
  }

  /** The first request of the chain to post. */
  get firstRequest(): SendWorkRequest {
    if (this.#registrationCount === 0) return this.sendRequest;
    const [first] = this.#registrationRequests;
    assert(first !== undefined, 'descriptor without the work requests that it counts');
    return first;
  }

  /** Starts a new PDU: headers, and `ownDataBytes` of this descriptor's data area. */
  start(ownDataBytes: number): void {
    assert(!this.isPosted, 'descriptor in use');
    this.#registrationCount = 0;
    const { sendRequest } = this;
    sendRequest.sge(0).set(this.#region, this.offset, ISER_HEADERS_BYTES + ownDataBytes);
    sendRequest.sgeCount = 1;
    sendRequest.next = null;
  }

  /** Appends `length` bytes of a task's data to the headers, without copying them, and pads them to 4. */
  gather(task: GatherTask, region: MemoryRegion, offset: number, length: number): void {
    const { sendRequest } = this;
    sendRequest.sge(1).set(region, offset, length);
    sendRequest.sgeCount = 2;
    this.gatherTask = task;
    task.pendingGathers++;
    const padBytes = -length & PAD_BYTES_MAX;
    if (padBytes === 0) return;
    for (let at = 0; at < PAD_BYTES_MAX; at++) this.slab.bytes[this.dataOffset + at] = 0;
    sendRequest.sge(2).set(this.#region, this.dataOffset, padBytes);
    sendRequest.sgeCount = 3;
  }

  /** Puts one more request before the Send, behind those that are there already. */
  prependWorkRequest(): SendWorkRequest {
    const request = this.#registrationRequests[this.#registrationCount];
    assert(request !== undefined, 'descriptor has no room for another work request');
    if (this.#registrationCount > 0) {
      const before = this.#registrationRequests[this.#registrationCount - 1];
      assert(before !== undefined, 'descriptor without the work request before this one');
      before.next = request;
    }
    request.next = this.sendRequest;
    this.#registrationCount++;
    return request;
  }
}

/** `iser_rx_desc`: a receive, and after its completion what is known of the PDU in it. */
export class RxDescriptor {
  readonly offset: number;
  readonly request: ReceiveWorkRequest;
  byteLength = 0;
  withInvalidate = false;
  invalidatedKey = 0;
  /** The checks have passed; it may still have to wait. */
  isChecked = false;
  /** The task that it answers, and which of the task's commands that was. */
  task: object | null = null;
  taskSerial = 0;

  constructor(
    region: MemoryRegion,
    offset: number,
    capacityBytes: number,
    received: (descriptor: RxDescriptor, completion: WorkCompletion) => void,
  ) {
    this.offset = offset;
    this.request = new ReceiveWorkRequest((completion) => received(this, completion));
    this.request.sge.set(region, offset, capacityBytes);
  }

  /** Keeps what the completion says; it is borrowed. */
  arrived(completion: WorkCompletion): void {
    this.byteLength = completion.byteLength;
    this.withInvalidate = completion.withInvalidate;
    this.invalidatedKey = completion.invalidatedKey;
    this.isChecked = false;
    this.task = null;
  }
}

/** `iser_login_desc`: the one request and the one response of the login phase, which takes turns. */
export class LoginDescriptor {
  readonly request: TxDescriptor;
  readonly response: RxDescriptor;

  /** Takes {@link LOGIN_DESCRIPTOR_BYTES} at the start of the region's slab, which we and the device write. */
  constructor(
    region: MemoryRegion,
    sent: (descriptor: TxDescriptor, completion: WorkCompletion) => void,
    received: (descriptor: RxDescriptor, completion: WorkCompletion) => void,
  ) {
    const ignore = (): void => undefined;
    const requestBytes = txDescriptorBytes(LOGIN_DATA_BYTES_MAX);
    this.request = new TxDescriptor(TxType.control, region, 0, LOGIN_DATA_BYTES_MAX, sent, ignore);
    this.response = new RxDescriptor(region, requestBytes, LOGIN_RECEIVE_BYTES, received);
  }
}

export const LOGIN_DESCRIPTOR_BYTES =
  txDescriptorBytes(LOGIN_DATA_BYTES_MAX) + rxDescriptorBytes(LOGIN_DATA_BYTES_MAX);
