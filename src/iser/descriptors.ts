import { assert } from '../common/assert.js';
import type { Slab } from '../common/slab.js';
import type { CompletionHandler, MemoryRegion, WorkCompletion } from '../transport/verbs.js';
import {
  NO_MEMORY_KEY,
  ReceiveWorkRequest,
  SendWorkRequest,
  WorkOpcode,
} from '../transport/verbs.js';
import {
  ISER_HEADER_BYTES,
  ISER_HEADERS_BYTES,
  LOGIN_RECEIVE_BYTES,
} from '../iscsi/iser-header.js';
import { LOGIN_DATA_BYTES_MAX } from '../iscsi/limits.js';

/** `enum iser_desc_type`: the kind of PDU in a TX descriptor. */
export const TxType = { command: 0, control: 1 } as const;
export type TxType = (typeof TxType)[keyof typeof TxType];

const typeNames = ['command', 'control PDU'] as const;

/** Descriptors are aligned to cache lines. */
const ALIGNMENT_BYTES = 64;

/** The size of headers and own data, and of the up to three bytes that pad data outside the descriptor. */
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

/** Work requests that registration can post before the Send (`ISER_MAX_WRS` without the Send). */
const REGISTRATION_REQUESTS_MAX = 1;

/** A task whose data a Send gathers. */
export interface GatherTask {
  /** The number of incomplete Sends that gather from the data buffer. */
  pendingGathers: number;
}

/**
 * `iser_tx_desc`: a PDU to send. The slab has at `offset` the iSER header (28 bytes), the BHS (48), and for a control
 * PDU the data segment. The queue pair owns the descriptor from posting until a completion covers it. Then the
 * connection owns it again.
 */
export class TxDescriptor {
  readonly type: TxType;
  readonly slab: Slab;
  readonly offset: number;
  readonly bhsOffset: number;
  readonly dataOffset: number;
  readonly dataCapacity: number;
  readonly sendRequest: SendWorkRequest;
  /** The requests that the device executes before the Send, in order: `wrs[0 .. wr_idx)`. */
  readonly #registrationRequests: readonly SendWorkRequest[];
  #registrationCount = 0;
  readonly #region: MemoryRegion;
  /** The descriptor is posted, and no completion covers it yet. */
  isPosted = false;
  /** For commands: the task that owns the descriptor, or null. */
  owner: object | null = null;
  /** The task whose data buffer the Send gathers from, until a completion covers the Send. */
  gatherTask: GatherTask | null = null;

  /**
   * `region` registers the slab. `sent` receives the completion of the Send. `registered` receives the completion of
   * a failed request before the Send.
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
    const first = this.#registrationRequests[0];
    assert(first !== undefined, 'descriptor without the work requests that it counts');
    return first;
  }

  /** Starts a new PDU with headers and `ownDataBytes` of this descriptor's data area. */
  start(ownDataBytes: number): void {
    assert(!this.isPosted, 'descriptor in use');
    this.#registrationCount = 0;
    const { sendRequest } = this;
    sendRequest.sge(0).set(this.#region, this.offset, ISER_HEADERS_BYTES + ownDataBytes);
    sendRequest.sgeCount = 1;
    sendRequest.next = null;
  }

  /** Appends `length` bytes of a task's data without a copy, and pads them to a multiple of 4. */
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

  /** Adds a request before the Send, after the requests that were added earlier. */
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

/** `iser_rx_desc`: a receive, and after its completion the facts about its PDU. */
export class RxDescriptor {
  readonly offset: number;
  readonly request: ReceiveWorkRequest;
  byteLength = 0;
  withInvalidate = false;
  invalidatedKey = NO_MEMORY_KEY;
  /** The PDU has passed its checks. It may still have to wait. */
  isChecked = false;
  /** The task that the PDU answers, and the serial number of the task's command. */
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

  /** Copies the facts of the completion, because the completion object is borrowed. */
  arrived(completion: WorkCompletion): void {
    this.byteLength = completion.byteLength;
    this.withInvalidate = completion.withInvalidate;
    this.invalidatedKey = completion.invalidatedKey;
    this.isChecked = false;
    this.task = null;
  }
}

/**
 * `iser_login_desc`: the one request and the one response of the login phase. Login requests and responses alternate.
 */
export class LoginDescriptor {
  readonly request: TxDescriptor;
  readonly response: RxDescriptor;

  /** Uses {@link LOGIN_DESCRIPTOR_BYTES} at the start of the region's slab. We and the device write there. */
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
