import { BlockRequest } from '../block/device.js';
import type { Flushable } from '../common/data-socket.js';
import type { BufferSlot } from '../common/slab.js';
import { NbdErrno, SIMPLE_REPLY_BYTES } from './wire.js';

/** Whoever is told that a request's reply has left. */
export interface RequestOwner {
  replyFlushed(request: NbdRequest): void;
}

/**
 * One request of a client, from its header to the last byte of its reply. It is pooled: a request, its slot and its
 * reply header are used again only after {@link flushed}.
 */
export class NbdRequest extends BlockRequest implements Flushable {
  command = 0;
  flags = 0;
  cookieHigh = 0;
  cookieLow = 0;
  /** The error of a request that never reaches the device. */
  refusal: NbdErrno = NbdErrno.OK;
  /** The data, of a READ or a WRITE that was not refused. */
  slot: BufferSlot | null = null;
  /** The reply's length while it is queued. */
  replyBytes = 0;
  /** Where a reply without data is put together. */
  readonly header: Buffer;
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
    this.header = headers.bytes.subarray(headerAt, headerAt + SIMPLE_REPLY_BYTES);
    this.headerView = headers.view;
    this.headerAt = headerAt;
  }

  flushed(): void {
    this.#owner.replyFlushed(this);
  }

  releaseSlot(): void {
    const { slot } = this;
    if (slot === null) return;
    this.slot = null;
    this.slab = null;
    slot.release();
  }
}

/** The reply headers of a connection's requests, side by side. */
interface HeaderArea {
  readonly bytes: Buffer;
  readonly view: DataView;
}

/** A connection's requests: made on first use, `capacity` at most, and kept. */
export class RequestPool {
  readonly capacity: number;
  readonly #owner: RequestOwner;
  readonly #done: (request: BlockRequest) => void;
  readonly #headers: HeaderArea;
  readonly #free: NbdRequest[] = [];
  #madeCount = 0;

  constructor(owner: RequestOwner, done: (request: BlockRequest) => void, capacity: number) {
    this.capacity = capacity;
    this.#owner = owner;
    this.#done = done;
    const bytes = Buffer.alloc(capacity * SIMPLE_REPLY_BYTES);
    this.#headers = {
      bytes,
      view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length),
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
    const at = this.#madeCount++ * SIMPLE_REPLY_BYTES;
    return new NbdRequest(this.#owner, this.#done, this.#headers, at);
  }

  release(request: NbdRequest): void {
    this.#free.push(request);
  }
}
