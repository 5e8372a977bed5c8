import { BlockRequest } from '../block/device.js';
import type { Flushable } from '../socket/data-socket.js';
import type { Requester } from '../common/requester.js';
import type { BufferSlot } from '../common/slab.js';

import { REFUSAL_BYTES_MAX } from './refusals.js';
import type { Refusal } from './refusals.js';
import {
  CHUNK_OFFSET_BYTES,
  ERROR_BYTES,
  EXTENDED_CHUNK_BYTES,
  NbdCommand,
  NbdErrno,
} from './wire.js';
import { ReadPlan } from './read-plan.js';

/** The longest reply that is composed outside a slot: an error with offset and message. */
export const REPLY_AREA_BYTES =
  EXTENDED_CHUNK_BYTES + ERROR_BYTES + REFUSAL_BYTES_MAX + CHUNK_OFFSET_BYTES;

/** Hears when the reply to a request has left. */
export interface RequestOwner {
  replyFlushed(request: NbdRequest): void;
}

/**
 * One request of a client, from its header to the last byte of its reply. Requests are pooled: a request, its slot and
 * its reply area are used again only after {@link flushed}.
 */
export class NbdRequest extends BlockRequest implements Flushable {
  command = 0;
  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** The offset in the client's header, which extended replies repeat. */
  startHigh = 0;
  startLow = 0;
  /** Why the request is refused; null for a request that goes to the device. */
  refusal: Refusal | null = null;
  /** The number of bytes that follow the header. */
  payloadBytes = 0;
  /** The buffer for the data of a READ or WRITE, or for the reply to a BLOCK_STATUS. Refused requests have none. */
  slot: BufferSlot | null = null;
  /** The reply's length while it is queued. */
  replyBytes = 0;
  /** For a chunk of a READ: the READ's job, and whether the chunk is the last. */
  job: ReadJob | null = null;
  isLastChunk = true;
  /** The reply area: for a reply without data, and for the payload of a BLOCK_STATUS request. */
  readonly header: Buffer;
  /** The start of the reply area, as long as a reply that only reports success. */
  readonly shortReply: Buffer;
  readonly headerView: DataView;
  readonly headerAt: number;
  readonly #owner: RequestOwner;

  constructor(
    owner: RequestOwner,
    done: (request: BlockRequest) => void,
    headers: HeaderArea,
    headerAt: number,
  ) {
    super(done);
    this.#owner = owner;
    this.requester = headers.requester;
    this.header = headers.bytes.subarray(headerAt, headerAt + REPLY_AREA_BYTES);
    this.shortReply = this.header.subarray(0, headers.shortReplyBytes);
    this.headerView = headers.view;
    this.headerAt = headerAt;
  }

  flushed(): void {
    this.#owner.replyFlushed(this);
  }

  get isRead(): boolean {
    return this.command === NbdCommand.READ;
  }

  releaseSlot(): void {
    const { slot } = this;
    if (slot === null) return;
    this.slot = null;
    this.slab = null;
    slot.release();
  }
}

/** The reply areas of a connection's requests, side by side. */
interface HeaderArea {
  /** Stands for the connection in requests to the device. */
  readonly requester: Requester;
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly shortReplyBytes: number;
}

export interface RequestPoolOptions {
  readonly requester: Requester;
  readonly capacity: number;
  /** The length of a reply without data or message. */
  readonly shortReplyBytes: number;
}

/** A connection's requests: at most `capacity`, made on first use and then kept. */
export class RequestPool {
  readonly capacity: number;
  readonly #owner: RequestOwner;
  readonly #done: (request: BlockRequest) => void;
  readonly #headers: HeaderArea;
  readonly #free: NbdRequest[] = [];
  #madeCount = 0;

  constructor(
    owner: RequestOwner,
    done: (request: BlockRequest) => void,
    { requester, capacity, shortReplyBytes }: RequestPoolOptions,
  ) {
    this.capacity = capacity;
    this.#owner = owner;
    this.#done = done;
    const bytes = Buffer.alloc(capacity * REPLY_AREA_BYTES);
    this.#headers = {
      requester,
      bytes,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
      shortReplyBytes,
    };
  }

  get usedCount(): number {
    return this.#madeCount - this.#free.length;
  }

  /** Null when `capacity` requests are in use. */
  acquire(): NbdRequest | null {
    const request = this.#free.pop();
    if (request !== undefined) return request;
    if (this.#madeCount === this.capacity) return null;
    const at = this.#madeCount++ * REPLY_AREA_BYTES;
    return new NbdRequest(this.#owner, this.#done, this.#headers, at);
  }

  release(request: NbdRequest): void {
    this.#free.push(request);
  }
}

/** A READ that is answered in chunks. */
export class ReadJob {
  request: NbdRequest | null = null;
  /** The start of the next chunk, and the length of the rest from there. */
  offset = 0;
  restBytes = 0;
  /** Chunks that the device is reading. */
  chunksOut = 0;
  isQuerying = false;
  /** The chunk with DONE has been sent. */
  isAnswered = false;
  errno: NbdErrno = NbdErrno.OK;
  readonly plan = new ReadPlan();
}
