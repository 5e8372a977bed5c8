import { assert } from '../../common/assert.js';
import { Slab } from '../../common/slab.js';
import { Asc, SenseKey } from '../../scsi/sense.js';
import { decodeUnmapDescriptor, unmapDescriptorCount } from '../../scsi/wire.js';
import type { DiskCommand } from './disk-command.js';
import { SCRATCH_BYTES, UNMAP_BYTES_MAX, UNMAP_DESCRIPTORS_MAX } from './limits.js';
import { StoreOp, StoreStatus } from '../../store/store.js';
import type { Store } from '../../store/store.js';

const NO_DATA = new Slab(0);

/**
 * The commands that touch the medium, as sequences of store requests. A command has at most one request at a time.
 * After the request, the command's `step` continues. Commands that use the scratch buffer are exclusive, so one
 * scratch buffer is enough.
 */
export class DiskOperations {
  readonly #store: Store;
  readonly #finish: (command: DiskCommand) => void;
  readonly #range = { lba: 0, blocks: 0 };
  readonly #last: (command: DiskCommand) => void;
  #scratch: Slab | null = null;

  /** `finish` is called when a command has its result. */
  constructor(store: Store, finish: (command: DiskCommand) => void) {
    this.#store = store;
    this.#finish = finish;
    this.#last = (command) => {
      this.#succeeded(command);
      this.#finish(command);
    };
  }

  read(command: DiskCommand): void {
    command.dataInBytes = command.transferBytes;
    if (command.decoded.fua) {
      // Cached data must reach the medium before a read with FUA (SBC-3 4.15).
      command.step = (self) => {
        if (this.#succeeded(self)) this.#readRange(self);
        else this.#finish(self);
      };
      this.#submit(command, StoreOp.flush, 0, 0);
      return;
    }
    this.#readRange(command);
  }

  write(command: DiskCommand): void {
    const { lba, fua } = command.decoded;
    command.step = this.#last;
    const offset = lba * this.#store.blockBytes;
    this.#submitData(command, StoreOp.write, offset, command.transferBytes, fua);
  }

  flush(command: DiskCommand): void {
    command.step = this.#last;
    this.#submit(command, StoreOp.flush, 0, 0);
  }

  /** Checks the complete parameter list first, so an invalid list has no effect. */
  unmap(command: DiskCommand): void {
    if (this.#checkUnmapList(command)) this.#unmapNext(command);
    else this.#finish(command);
  }

  /** True for a WRITE SAME whose block is not zero. It repeats the block from the scratch buffer. */
  isPattern(command: DiskCommand): boolean {
    if (command.decoded.noDataOut) return false;
    const { bytes } = dataOf(command);
    const end = command.slabOffset + this.#store.blockBytes;
    for (let at = command.slabOffset; at < end; at++) if (bytes[at] !== 0) return true;
    return false;
  }

  /** WRITE SAME of zeroes: makes a hole if the UNMAP bit allows it, else writes zeroes. */
  writeSameZeroes(command: DiskCommand): void {
    const { lba, blocks, unmap } = command.decoded;
    const { blockBytes } = this.#store;
    command.step = this.#last;
    const op = unmap ? StoreOp.punch : StoreOp.writeZeroes;
    this.#submit(command, op, lba * blockBytes, blocks * blockBytes);
  }

  /** WRITE SAME of a block that is not zero. Exclusive. */
  writeSamePattern(command: DiskCommand): void {
    const { blockBytes } = this.#store;
    const totalBytes = command.decoded.blocks * blockBytes;
    const scratch = this.#scratchSlab();
    const filled = Math.min(totalBytes, SCRATCH_BYTES);
    const data = dataOf(command);
    for (let at = 0; at < filled; at += blockBytes) {
      data.bytes.copy(scratch.bytes, at, command.slabOffset, command.slabOffset + blockBytes);
    }
    command.step = (self) => {
      if (!this.#succeeded(self)) this.#finish(self);
      else this.#writeScratch(self, totalBytes);
    };
    this.#writeScratch(command, totalBytes);
  }

  /** COMPARE AND WRITE: reads, compares with the first half of the data, writes the second. Exclusive. */
  compareAndWrite(command: DiskCommand): void {
    command.step = (self) => {
      if (this.#succeeded(self) && this.#isEqual(self, command.transferBytes / 2, 0)) {
        this.#writeSecondHalf(self);
      } else {
        this.#finish(self);
      }
    };
    this.#readScratch(command, command.transferBytes / 2);
  }

  /**
   * VERIFY with data: BYTCHK 1 compares all blocks with the same number of blocks, BYTCHK 3 compares every block with
   * one block. Exclusive.
   */
  verify(command: DiskCommand): void {
    const totalBytes = command.decoded.blocks * this.#store.blockBytes;
    command.step = (self) => {
      const piece = self.request.length;
      if (!this.#succeeded(self) || !this.#isEqual(self, piece, self.progress)) {
        this.#finish(self);
        return;
      }
      self.progress += piece;
      if (self.progress === totalBytes) this.#finish(self);
      else this.#readScratch(self, totalBytes);
    };
    this.#readScratch(command, totalBytes);
  }

  /** SEND DIAGNOSTIC: reads the first and the last block. This test changes no data. */
  selfTest(command: DiskCommand): void {
    const { sizeBytes, blockBytes } = this.#store;
    command.step = (self) => {
      if (self.request.status !== StoreStatus.ok) {
        self.check(SenseKey.hardwareError, Asc.selfTestFailed);
        this.#finish(self);
      } else if (self.progress === 0) {
        self.progress = 1;
        this.#submit(self, StoreOp.read, sizeBytes - blockBytes, blockBytes);
      } else {
        this.#finish(self);
      }
    };
    command.request.slab = this.#scratchSlab();
    command.request.slabOffset = 0;
    this.#submit(command, StoreOp.read, 0, blockBytes);
  }

  #readRange(command: DiskCommand): void {
    command.step = this.#last;
    const offset = command.decoded.lba * this.#store.blockBytes;
    this.#submitData(command, StoreOp.read, offset, command.transferBytes, false);
  }

  #checkUnmapList(command: DiskCommand): boolean {
    const { view } = dataOf(command);
    const store = this.#store;
    const count = unmapDescriptorCount(view, command.slabOffset, command.transferBytes);
    if (count < 0) return command.refuse(Asc.parameterListLengthError);
    if (count > UNMAP_DESCRIPTORS_MAX) return command.refuse(Asc.invalidFieldInParameterList);
    let totalBytes = 0;
    for (let index = 0; index < count; index++) {
      decodeUnmapDescriptor(view, command.slabOffset, index, this.#range);
      const { lba, blocks } = this.#range;
      if (lba < 0 || lba + blocks > store.sizeBytes / store.blockBytes) {
        return command.refuse(Asc.lbaOutOfRange, lba);
      }
      totalBytes += blocks * store.blockBytes;
    }
    if (totalBytes > UNMAP_BYTES_MAX) return command.refuse(Asc.invalidFieldInParameterList);
    return true;
  }

  /** Punches the range of descriptor `progress`, or of the next descriptor that has blocks. */
  #unmapNext(command: DiskCommand): void {
    const { view } = dataOf(command);
    const count = unmapDescriptorCount(view, command.slabOffset, command.transferBytes);
    const { blockBytes } = this.#store;
    command.step = (self) => {
      if (this.#succeeded(self)) this.#unmapNext(self);
      else this.#finish(self);
    };
    while (command.progress < count) {
      decodeUnmapDescriptor(view, command.slabOffset, command.progress, this.#range);
      command.progress += 1;
      const { lba, blocks } = this.#range;
      if (blocks === 0) continue;
      this.#submit(command, StoreOp.punch, lba * blockBytes, blocks * blockBytes);
      return;
    }
    this.#finish(command);
  }

  #writeScratch(command: DiskCommand, totalBytes: number): void {
    const piece = Math.min(SCRATCH_BYTES, totalBytes - command.progress);
    if (piece === 0) {
      this.#finish(command);
      return;
    }
    const offset = command.decoded.lba * this.#store.blockBytes + command.progress;
    command.progress += piece;
    const { request } = command;
    request.slab = this.#scratchSlab();
    request.slabOffset = 0;
    this.#submit(command, StoreOp.write, offset, piece);
  }

  #readScratch(command: DiskCommand, totalBytes: number): void {
    const { request } = command;
    request.slab = this.#scratchSlab();
    request.slabOffset = 0;
    const offset = command.decoded.lba * this.#store.blockBytes + command.progress;
    const piece = Math.min(SCRATCH_BYTES, totalBytes - command.progress);
    this.#submit(command, StoreOp.read, offset, piece);
  }

  #writeSecondHalf(command: DiskCommand): void {
    const half = command.transferBytes / 2;
    const { request } = command;
    command.step = this.#last;
    request.slab = dataOf(command);
    request.slabOffset = command.slabOffset + half;
    const offset = command.decoded.lba * this.#store.blockBytes;
    this.#submit(command, StoreOp.write, offset, half, command.decoded.fua);
  }

  /**
   * Compares `lengthBytes` of the scratch buffer with the command's data from `dataStart` on. Sets MISCOMPARE for a
   * difference.
   */
  #isEqual(command: DiskCommand, lengthBytes: number, dataStart: number): boolean {
    const scratch = this.#scratchSlab().bytes;
    const { bytes } = dataOf(command);
    const sameBlock = command.decoded.byteCheck === 3;
    const blockBytes = sameBlock ? this.#store.blockBytes : lengthBytes;
    for (let at = 0; at < lengthBytes; at += blockBytes) {
      const from = command.slabOffset + (sameBlock ? 0 : dataStart + at);
      if (bytes.compare(scratch, at, at + blockBytes, from, from + blockBytes) === 0) continue;
      let difference = 0;
      while (bytes[from + difference] === scratch[at + difference]) difference += 1;
      const position = dataStart + at + difference;
      return command.check(SenseKey.miscompare, Asc.miscompareDuringVerify, position);
    }
    return true;
  }

  #submitData(
    command: DiskCommand,
    op: StoreOp,
    offset: number,
    lengthBytes: number,
    forceUnitAccess: boolean,
  ): void {
    const { request } = command;
    request.slab = command.slab;
    request.slabOffset = command.slabOffset;
    this.#submit(command, op, offset, lengthBytes, forceUnitAccess);
  }

  #submit(
    command: DiskCommand,
    op: StoreOp,
    offset: number,
    lengthBytes: number,
    forceUnitAccess = false,
  ): void {
    const { request } = command;
    request.op = op;
    request.offset = offset;
    request.length = lengthBytes;
    request.forceUnitAccess = forceUnitAccess;
    this.#store.submit(request);
  }

  /** True after a success. Translates a store's failure into sense data. */
  #succeeded(command: DiskCommand): boolean {
    const { op, offset, status } = command.request;
    if (status === StoreStatus.ok) return true;
    const lba = Math.floor(offset / this.#store.blockBytes);
    if (status === StoreStatus.noSpace) {
      return command.check(SenseKey.dataProtect, Asc.spaceAllocationFailed, lba);
    }
    const asc = op === StoreOp.read ? Asc.unrecoveredReadError : Asc.writeError;
    return command.check(SenseKey.mediumError, asc, op === StoreOp.flush ? -1 : lba);
  }

  #scratchSlab(): Slab {
    this.#scratch ??= new Slab(SCRATCH_BYTES);
    return this.#scratch;
  }
}

function dataOf(command: DiskCommand): Slab {
  assert(command.slab !== null || command.transferBytes === 0, 'a command without its data');
  return command.slab ?? NO_DATA;
}
