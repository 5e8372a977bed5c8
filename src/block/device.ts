import { NOBODY } from '../common/requester.js';
import type { Requester } from '../common/requester.js';
import type { Slab } from '../common/slab.js';

/** What a request asks a block device to do. */
export const BlockOp = {
  read: 0,
  write: 1,
  flush: 2,
  trim: 3,
  writeZeroes: 4,
  cache: 5,
  /**
   * Writes `length` bytes if the disk has the bytes that the request expects there, as one atomic step. Otherwise it ends
   * with `mismatch` and changes nothing. The data is twice as long: the expected bytes, then the bytes to write.
   */
  compareAndWrite: 6,
} as const;
export type BlockOp = (typeof BlockOp)[keyof typeof BlockOp];

/** How a request ended: 0, or one of the Linux errno values that NBD sends (proto.md, "Error values"). */
export const BlockStatus = {
  ok: 0,
  notPermitted: 1,
  ioError: 5,
  noMemory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  /** A compareAndWrite found other bytes. Clients never get this status. */
  mismatch: 84,
  notSupported: 95,
  shutdown: 108,
} as const;
export type BlockStatus = (typeof BlockStatus)[keyof typeof BlockStatus];

/**
 * One request. Its owner makes it once, then fills it in and submits it each time. From the submit until the call of
 * `done`, the request and its bytes belong to the device.
 */
export class BlockRequest {
  op: BlockOp = BlockOp.read;
  /** Bytes from the start of the device; exact up to 2^53. */
  offset = 0;
  /** Bytes. Zero only for flush. */
  length = 0;
  /** The client that waits for the end. Set once per request object, or at each use. */
  requester: Requester = NOBODY;
  /** Write, write zeroes, trim and compareAndWrite: complete only when the data is on stable storage. */
  forceUnitAccess = false;
  /** Write zeroes: the range must stay (or become) allocated. */
  noHole = false;
  /** Write zeroes: fail with `notSupported` at once rather than write zeroes slowly. */
  fastOnly = false;
  /** Read and write: the data is `slab.bytes[slabOffset .. slabOffset + length)`; compareAndWrite: twice as much. */
  slab: Slab | null = null;
  slabOffset = 0;
  /** Set by the device before `done`. */
  status: BlockStatus = BlockStatus.ok;
  /** For the device's queues. */
  next: BlockRequest | null = null;
  /** Called exactly once per submit, never inside it. Set once, by the owner. */
  done: (request: BlockRequest) => void;

  constructor(done: (request: BlockRequest) => void) {
    this.done = done;
  }

  /** Becomes the part `[offset, offset + length)` of `request`: the same in all but range, `status` and `done`. */
  takeRange(request: BlockRequest, offset: number, length: number): void {
    this.requester = request.requester;
    this.op = request.op;
    this.offset = offset;
    this.length = length;
    this.forceUnitAccess = request.forceUnitAccess;
    this.noHole = request.noHole;
    this.fastOnly = request.fastOnly;
    this.slab = request.slab;
    this.slabOffset = request.slabOffset + (offset - request.offset);
  }
}

/** The properties of a device. Sizes and alignments are in bytes. */
export interface BlockDeviceInfo {
  readonly sizeBytes: number;
  /** The sector size. Offset and length of a request must be multiples of it; 1 when a request may begin at any byte. */
  readonly minimumBytes: number;
  /** The size of request that suits the device best. A power of two, at least `minimumBytes`. */
  readonly preferredBytes: number;
  /** The longest read or write. */
  readonly transferBytesMax: number;
  /** The longest compareAndWrite; 0 for a device without it. */
  readonly compareBytesMax: number;
  /** The longest trim, and the longest write zeroes; 0 for a device without them. */
  readonly trimBytesMax: number;
  readonly writeZeroesBytesMax: number;
  readonly readOnly: boolean;
  /** The device has force unit access of its own; otherwise it flushes after the write. */
  readonly canForceUnitAccess: boolean;
  /**
   * A read that ends with `ok` has certainly filled its whole buffer. Otherwise, a faulty device can leave old bytes in
   * the buffer. The owner of a buffer that held another device's data then clears it first.
   */
  readonly readsAreVerified: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  /** Write zeroes needs no data on the wire. */
  readonly canWriteZeroes: boolean;
  readonly canCache: boolean;
  /** `queryExtents` finds runs that read as zeroes, so that nobody needs to read them. */
  readonly canFindZeroes: boolean;
  /** Trimmed blocks read as zeroes. */
  readonly trimReadsZeroes: boolean;
  /** A flush on one connection covers writes that have completed on any other. */
  readonly multiConnection: boolean;
  /** `true` for a spinning disk. */
  readonly rotational: boolean;
}

/** A run of blocks in one state of allocation. */
export interface BlockExtent {
  readonly lengthBytes: number;
  /** No storage is allocated. */
  readonly hole: boolean;
  /** Reads as zeroes. */
  readonly zero: boolean;
}

/**
 * A disk. Requests run in parallel and complete in any order. A flush covers the writes that completed before the flush
 * was submitted. A request that is out of range, misaligned or too long gets `invalid` (a write past the end gets
 * `noSpace`); no request throws. A request whose requester is gone may end with `shutdown`, carried out in part or not at
 * all.
 */
export interface BlockDevice {
  readonly info: BlockDeviceInfo;
  submit(request: BlockRequest): void;
  /** The states of allocation from `offset` on, in order. At least one extent; together at most `lengthBytes`. */
  queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]>;
  /**
   * Looks at the device again, so that `info` is up to date. Called when a client is about to rely on it.
   *
   * @throws IserNbdError when the device cannot be used now, with one sentence for people
   */
  refresh(): Promise<void>;
  /** Waits for the requests in flight, then releases the device. */
  close(): Promise<void>;
}
