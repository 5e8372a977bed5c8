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
   * Writes `length` bytes if what is there equals what the request expects, in one step that nothing comes between; ends
   * with `mismatch` and changes nothing if not. The data is twice as long: what is expected, then what is to be written.
   */
  compareAndWrite: 6,
} as const;
export type BlockOp = (typeof BlockOp)[keyof typeof BlockOp];

/** How a request ended: 0, or one of the Linux errno values that NBD puts on the wire (proto.md, "Error values"). */
export const BlockStatus = {
  ok: 0,
  notPermitted: 1,
  ioError: 5,
  noMemory: 12,
  invalid: 22,
  noSpace: 28,
  overflow: 75,
  /** A compareAndWrite found something else. Never told to clients. */
  mismatch: 84,
  notSupported: 95,
  shutdown: 108,
} as const;
export type BlockStatus = (typeof BlockStatus)[keyof typeof BlockStatus];

/**
 * One request. Its owner makes it once, fills it in, submits it, and has it back when `done` is called; in between
 * it and the bytes it names belong to the device.
 */
export class BlockRequest {
  op: BlockOp = BlockOp.read;
  /** Bytes from the start of the device; safe up to 2^53. */
  offset = 0;
  /** Bytes. Zero only for flush. */
  length = 0;
  /** Who waits for the end. Set once per request object, or with each use. */
  requester: Requester = NOBODY;
  /** Completes only when the data is on stable storage. Write, write zeroes, trim and compareAndWrite. */
  forceUnitAccess = false;
  /** Write zeroes: the range must stay (or become) allocated. */
  noHole = false;
  /** Write zeroes: fail with `notSupported` at once rather than write zeroes the slow way. */
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

  /** Becomes the part of `request` at `[offset, offset + length)`: the same in all but its range, and done by us. */
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

/** What a device is. Sizes and alignments in bytes. */
export interface BlockDeviceInfo {
  readonly sizeBytes: number;
  /** Requests must be a multiple of this in offset and length: the sector size. 1 when anything goes. */
  readonly minimumBytes: number;
  /** A size that the device does best. A power of two, at least `minimumBytes`. */
  readonly preferredBytes: number;
  /** The longest read or write. */
  readonly transferBytesMax: number;
  /** The longest compareAndWrite; 0 where it cannot do it. */
  readonly compareBytesMax: number;
  /** The longest trim, and the longest write zeroes; 0 where it cannot do them. */
  readonly trimBytesMax: number;
  readonly writeZeroesBytesMax: number;
  readonly readOnly: boolean;
  /** Force unit access is native; otherwise the device flushes behind the write. */
  readonly canForceUnitAccess: boolean;
  /**
   * A read that ends `ok` has filled its whole buffer for certain. Where not, a device that lies shows what the buffer
   * held before: whoever lends one that held another device's data clears it first.
   */
  readonly readsAreVerified: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  /** Write zeroes without data on the wire. */
  readonly canWriteZeroes: boolean;
  readonly canCache: boolean;
  /** `queryExtents` finds runs that read as zeroes, so that they need not be read. */
  readonly canFindZeroes: boolean;
  /** Trimmed blocks read as zeroes. */
  readonly trimReadsZeroes: boolean;
  /** A flush on one connection covers writes that completed on any other. */
  readonly multiConnection: boolean;
  /** Not a spinning disk? `true` for a rotational medium. */
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
 * A disk. Requests run in parallel and complete in any order; a flush covers the writes that completed before it
 * was submitted. A request that is out of range, misaligned or too long gets `invalid` (writes past the end get
 * `noSpace`); none of them ever throws. A request whose requester is gone may end with `shutdown`, done in part or not
 * at all.
 */
export interface BlockDevice {
  readonly info: BlockDeviceInfo;
  submit(request: BlockRequest): void;
  /** The states of allocation from `offset` on, in order, at least one and covering at most `lengthBytes`. */
  queryExtents(offset: number, lengthBytes: number): Promise<readonly BlockExtent[]>;
  /**
   * Looks at the device again: `info` is as it is now. Somebody is about to rely on it.
   * @throws IserNbdError with one sentence for people when the device cannot be used now
   */
  refresh(): Promise<void>;
  /** Waits for what is in flight, then lets go of the device. */
  close(): Promise<void>;
}
