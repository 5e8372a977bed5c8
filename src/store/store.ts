import { LinkedQueue } from '../common/linked-queue.js';
import { soon } from '../common/later.js';
import type { Slab } from '../common/slab.js';
import type { DirectAccess } from './direct-access.js';
import type { LentChunks } from './lent-chunks.js';
import type { ReservationKeeper } from './reservation-keeper.js';

/** What a request asks a store to do. */
export const StoreOp = {
  read: 0,
  write: 1,
  /** Everything written before is on stable storage when it completes. */
  flush: 2,
  /** The range reads as zeroes afterwards, and its storage is freed as far as the store's granularity lets it. */
  punch: 3,
  /** The range reads as zeroes afterwards, and has (or keeps) its storage. */
  writeZeroes: 4,
} as const;
export type StoreOp = (typeof StoreOp)[keyof typeof StoreOp];

/** How a request ended. After anything but `ok` the range's contents are undefined, but never another's data. */
export const StoreStatus = { ok: 0, ioError: 1, noSpace: 2 } as const;
export type StoreStatus = (typeof StoreStatus)[keyof typeof StoreStatus];

/**
 * One request to a store. Its owner makes it once, fills it in, submits it and has it back when `done` is called; in
 * between it and the bytes it names belong to the store. The owner keeps offset and length inside the store.
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
  /** Write: the data is in these chunks, if there are any, and not in the slab. {@link DirectAccess} lent them; they become the store's. */
  lent: LentChunks | null = null;
  /** Completes only when its effect is on stable storage. Everything but read. */
  forceUnitAccess = false;
  /** Set by the store before `done`. */
  status: StoreStatus = StoreStatus.ok;
  /** For the store's queue. */
  next: StoreRequest | null = null;
  /** Called exactly once per submit, never inside it. Set once, by the owner. */
  done: (request: StoreRequest) => void;

  constructor(done: (request: StoreRequest) => void) {
    this.done = done;
  }
}

/** What a logical unit keeps its blocks in. Requests run in parallel and complete in any order. */
export interface Store {
  /** For logs and errors. */
  readonly name: string;
  /** Tells the data from any other: the same after a restart if the data is, and another one if it is not. */
  readonly identity: string;
  /** A multiple of `blockBytes`. */
  readonly sizeBytes: number;
  /** The logical block length, 512 or 4096. */
  readonly blockBytes: number;
  readonly readOnly: boolean;
  /** True where `punch` frees storage; without it a unit is fully provisioned. */
  readonly canPunch: boolean;
  /** Access to the data where it lies; null for a store whose data is elsewhere. */
  readonly direct: DirectAccess | null;
  /** Where the unit's reservations outlast a power loss; null where the store does not outlast one itself. */
  readonly reservationKeeper: ReservationKeeper | null;
  /** Punching less than this, or not aligned to it, zeroes without freeing. A power of two. */
  readonly punchGranularityBytes: number;
  submit(request: StoreRequest): void;
  /** False only where the block at `offset` has no storage, and therefore reads as zeroes. */
  isAllocated(offset: number): boolean;
  /** How far the state of allocation at `offset` reaches, at most `lengthMaxBytes`. */
  allocationRunBytes(offset: number, lengthMaxBytes: number): number;
  /** Waits for what is in flight, then lets go of the storage. */
  close(): Promise<void>;
}

/** Completed requests on their way back to their owners: delivered together, in a microtask of their own. */
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
