import { LinkedQueue } from '../common/linked-queue.js';
import { soon } from '../common/later.js';
import type { Slab } from '../common/slab.js';
import type { DirectAccess } from './direct-access.js';
import type { LentChunks } from './lent-chunks.js';
import type { ReservationKeeper } from './reservation-keeper.js';

/** The operations of a store. */
export const StoreOp = {
  read: 0,
  write: 1,
  /** Completes when all earlier writes are on stable storage. */
  flush: 2,
  /** The range then reads as zeroes, and its storage is freed as far as the store's granularity allows. */
  punch: 3,
  /** The range then reads as zeroes, and has storage. */
  writeZeroes: 4,
} as const;
export type StoreOp = (typeof StoreOp)[keyof typeof StoreOp];

/**
 * The result of a request. Unless it is `ok`, the contents of the range are undefined, but never the data of another
 * range or store.
 */
export const StoreStatus = { ok: 0, ioError: 1, noSpace: 2 } as const;
export type StoreStatus = (typeof StoreStatus)[keyof typeof StoreStatus];

/**
 * One request to a store. Its owner makes the object once, fills it in and submits it. From submit to `done` the
 * request and its bytes belong to the store. The owner ensures that offset and length are inside the store.
 */
export class StoreRequest {
  op: StoreOp = StoreOp.read;
  /** Bytes from the start of the store. */
  offset = 0;
  /** Bytes; ignored by flush. */
  length = 0;
  /** Read and write: the data is `slab.bytes[slabOffset .. slabOffset + length)`. */
  slab: Slab | null = null;
  slabOffset = 0;
  /**
   * Write: if not null, the data is in these chunks instead of the slab. {@link DirectAccess} lent them, and they
   * become part of the store.
   */
  lent: LentChunks | null = null;
  /** The request completes only when its effect is on stable storage. Not for reads. */
  forceUnitAccess = false;
  /** Set by the store before `done`. */
  status: StoreStatus = StoreStatus.ok;
  /** The link of the store's queue. */
  next: StoreRequest | null = null;
  /** Called exactly once per submit, never inside it. Set once, by the owner. */
  done: (request: StoreRequest) => void;

  constructor(done: (request: StoreRequest) => void) {
    this.done = done;
  }
}

/** The storage of a logical unit. Requests run in parallel and complete in any order. */
export interface Store {
  /** For logs and errors. */
  readonly name: string;
  /** Identifies the data: it stays the same after a restart with the same data, and differs for other data. */
  readonly identity: string;
  /** A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  /** The logical block length, 512 or 4096. */
  readonly blockBytes: number;
  readonly readOnly: boolean;
  /** True if `punch` frees storage. A unit without this is fully provisioned. */
  readonly canPunch: boolean;
  /** Access to the data without a copy; null if the data is not in memory. */
  readonly direct: DirectAccess | null;
  /** Keeps the unit's reservations through a power loss; null if the store itself does not survive one. */
  readonly reservationKeeper: ReservationKeeper | null;
  /** A punch that is shorter or unaligned writes zeroes and frees no storage. A power of two. */
  readonly punchGranularityBytes: number;
  submit(request: StoreRequest): void;
  /** False only if the block at `offset` has no storage, and therefore reads as zeroes. */
  isAllocated(offset: number): boolean;
  /** The number of bytes from `offset` on with the same allocation state, at most `lengthMaxBytes`. */
  allocationRunBytes(offset: number, lengthMaxBytes: number): number;
  /** Waits for the requests in flight, then releases the storage. */
  close(): Promise<void>;
}

/** Completed requests that wait for delivery to their owners. One microtask delivers them together. */
export class CompletionList {
  readonly #queue = new LinkedQueue<StoreRequest>();
  readonly #deliver = (): void => this.#deliverAll();

  push(request: StoreRequest): void {
    if (this.#queue.isEmpty) soon(this.#deliver);
    this.#queue.push(request);
  }

  #deliverAll(): void {
    let request = this.#queue.takeAll();
    while (request !== null) {
      const next: StoreRequest | null = LinkedQueue.nextOf(request);
      request.done(request);
      request = next;
    }
  }
}
