import { BlockOp } from '../block/device.js';
import type { BlockRequest } from '../block/device.js';
import { Slab, SlabPool } from '../common/slab.js';
import type { BufferSlot } from '../common/slab.js';
import {
  buildCompareAndWrite,
  buildPreFetch16,
  buildRead10,
  buildRead16,
  buildSynchronizeCache10,
  buildSynchronizeCache16,
  buildUnmap,
  buildWrite10,
  buildWrite16,
  buildWriteSame16,
  setData,
} from '../scsi/commands.js';
import { ScsiError } from './errors.js';
import { abilitiesOf, deviceInfoOf } from './device-info.js';
import type { DiskAbilities } from './device-info.js';
import type { DiskIo, DiskStep } from './disk-io.js';
import type { InspectedUnit } from './inspect.js';
import {
  BLOCKS_10_MAX,
  DISKS_MAX,
  DISK_COMMANDS_MAX,
  FLUSH_TIMEOUT_MS,
  LBA_10_END,
  WRITE_SAME_TIMEOUT_MS,
  DISK_ZERO_BUFFER_BYTES,
} from './limits.js';
import { DataDirection } from '../common/data-direction.js';
import {
  UNMAP_DESCRIPTOR_BYTES,
  UNMAP_HEADER_BYTES,
  encodeUnmapDescriptor,
  encodeUnmapHeader,
} from '../scsi/wire.js';

const UNMAP_LIST_BYTES = UNMAP_HEADER_BYTES + UNMAP_DESCRIPTOR_BYTES;

/**
 * Memory for UNMAP lists, which a disk holds as long as it is open. The data pool is not used: open disks could
 * exhaust it. One pool serves all disks, at most {@link DISKS_MAX}. A fresh slab per opened disk would add up, because
 * an RDMA device keeps the registration of every slab that it has used.
 */
const listPool = new SlabPool([
  {
    slotBytes: DISK_COMMANDS_MAX * UNMAP_LIST_BYTES,
    slotsMax: DISKS_MAX,
    slotsPerSlab: 4,
  },
]);

function tooManyDisks(): ScsiError {
  const message = `one process has at most ${DISKS_MAX} disks open; serve the others from another process`;
  return new ScsiError('scsi-too-many-disks', message);
}

let zeroes: Slab | null = null;

/** Zeroes for WRITE SAME and WRITE, made on first use. All disks send from this slab, and nothing writes to it. */
function zeroSlab(): Slab {
  return (zeroes ??= new Slab(DISK_ZERO_BUFFER_BYTES));
}

/**
 * Splits a block request into steps of one SCSI command each, and fills in CDB and data:
 *
 *   read    READ(16)
 *   write   WRITE(16), with FUA where the device has it, else with SYNCHRONIZE CACHE(16) behind it
 *   flush   SYNCHRONIZE CACHE(16) of everything
 *   trim    UNMAP, or WRITE SAME(16) with UNMAP. One descriptor each: the limit on a command's blocks is for all
 *           its descriptors together (SBC-3 6.5.3), so more of them would not carry more
 *   zeroes  WRITE SAME(16) with UNMAP unless it may make no hole, else without, else WRITE(16) of a zero buffer
 *   cache   PRE-FETCH(16)
 *   compare COMPARE AND WRITE, with FUA or a SYNCHRONIZE CACHE behind it as for a write
 *
 * Devices without the 16-byte forms of READ, WRITE and SYNCHRONIZE CACHE get the 10-byte ones.
 */
export class DiskSteps {
  #abilities: DiskAbilities;
  readonly #blockBytes: number;
  #sizeBlocks = 0;
  #preFetchBlocksMax = 0;
  #zeroBlocks = 0;
  /** UNMAP parameter lists, one per command slot. */
  readonly #lists: BufferSlot;

  /**
   * Takes memory for the UNMAP lists of `commandsMax` commands, at most `DISK_COMMANDS_MAX`.
   * @throws ScsiError when {@link DISKS_MAX} disks are open
   */
  constructor(unit: InspectedUnit, commandsMax: number) {
    this.#abilities = abilitiesOf(unit);
    this.#blockBytes = unit.blockBytes;
    const lists = listPool.acquire(commandsMax * UNMAP_LIST_BYTES);
    if (lists === null) throw tooManyDisks();
    this.#lists = lists;
    this.adopt(unit);
  }

  get abilities(): DiskAbilities {
    return this.#abilities;
  }

  /** Later commands are built for the unit as it is now. Its block size must be unchanged. */
  adopt(unit: InspectedUnit): void {
    this.#abilities = abilitiesOf(unit);
    this.#sizeBlocks = unit.sizeBlocks;
    const prefetchBlocksMax = unit.limits?.prefetchBlocksMax ?? 0;
    this.#preFetchBlocksMax = prefetchBlocksMax === 0 ? 0xffff_ffff : prefetchBlocksMax;
    const zeroBytesMax = Math.min(DISK_ZERO_BUFFER_BYTES, deviceInfoOf(unit).transferBytesMax);
    this.#zeroBlocks = Math.floor(zeroBytesMax / unit.blockBytes);
  }

  /** Returns the memory. The caller guarantees that no command is outstanding. */
  release(): void {
    this.#lists.release();
  }

  /** Sets the I/O to the first step of `request`. */
  begin(io: DiskIo, request: BlockRequest): void {
    io.request = request;
    io.retries.reset();
    io.step = this.#firstStep(request);
    this.#coverAll(io);
  }

  #firstStep({ op, noHole }: BlockRequest): DiskStep {
    const { trim, writeSame, zeroesByUnmap } = this.#abilities;
    switch (op) {
      case BlockOp.read:
        return 'read';
      case BlockOp.write:
        return 'write';
      case BlockOp.flush:
        return 'flush';
      case BlockOp.trim:
        return trim === 'writeSame' ? 'writeSameUnmap' : 'unmap';
      case BlockOp.writeZeroes:
        if (zeroesByUnmap && !noHole) return 'writeSameUnmap';
        return writeSame ? 'writeSame' : 'writeZeroBuffer';
      case BlockOp.cache:
        return 'preFetch';
      case BlockOp.compareAndWrite:
        return 'compareAndWrite';
    }
  }

  #coverAll(io: DiskIo): void {
    io.lba = io.request.offset / this.#blockBytes;
    io.restBlocks = io.request.length / this.#blockBytes;
  }

  /** Fills in the command for the I/O's present step. */
  build(io: DiskIo): void {
    const { command, request, lba, restBlocks } = io;
    io.blocks = restBlocks;
    command.timeoutMs = 0;
    switch (io.step) {
      case 'read':
        setData(command, DataDirection.in, request.slab, request.slabOffset, request.length);
        if (this.#abilities.readWrite16) buildRead16(command, lba, restBlocks);
        else buildRead10(command, lba, restBlocks);
        return;
      case 'write':
        setData(command, DataDirection.out, request.slab, request.slabOffset, request.length);
        this.#buildWrite(io);
        return;
      case 'compareAndWrite':
        setData(command, DataDirection.out, request.slab, request.slabOffset, 2 * request.length);
        buildCompareAndWrite(command, lba, restBlocks, this.#usesFua(request));
        return;
      case 'flush':
      case 'flushBehind':
        // Both forms cover the whole medium: LIO treats a range as an expected transfer and reports a residual.
        command.timeoutMs = FLUSH_TIMEOUT_MS;
        if (this.#abilities.synchronizeCache16) buildSynchronizeCache16(command, 0, 0);
        else buildSynchronizeCache10(command);
        return;
      case 'unmap':
        this.#buildUnmap(io);
        return;
      case 'writeSameUnmap':
      case 'writeSame':
        command.timeoutMs = WRITE_SAME_TIMEOUT_MS;
        this.#setZeroes(io, 1);
        buildWriteSame16(command, lba, restBlocks, io.step === 'writeSameUnmap');
        return;
      case 'writeZeroBuffer':
        io.blocks = Math.min(restBlocks, this.#zeroBlocks);
        this.#setZeroes(io, io.blocks);
        this.#buildWrite(io);
        return;
      case 'preFetch':
        buildPreFetch16(command, lba, Math.min(restBlocks, this.#preFetchBlocksMax));
        return;
    }
  }

  #buildWrite({ command, request, lba, blocks }: DiskIo): void {
    const build = this.#abilities.readWrite16 ? buildWrite16 : buildWrite10;
    build(command, lba, blocks, this.#usesFua(request));
  }

  /** True when the data of the present step may be in the device's write cache only. */
  leavesInCache({ step, request }: DiskIo): boolean {
    if (step === 'read' || step === 'preFetch' || isFlush(step)) return false;
    return !hasFuaBit(step) || !this.#usesFua(request);
  }

  #usesFua(request: BlockRequest): boolean {
    return request.forceUnitAccess && this.#abilities.forceUnitAccess;
  }

  #buildUnmap({ command, index, lba, restBlocks }: DiskIo): void {
    const { slab, offset } = this.#lists;
    const listOffset = offset + index * UNMAP_LIST_BYTES;
    const listBytes = encodeUnmapHeader(slab.view, listOffset, 1);
    encodeUnmapDescriptor(slab.view, listOffset, 0, lba, restBlocks);
    setData(command, DataDirection.out, slab, listOffset, listBytes);
    buildUnmap(command, listBytes);
  }

  #setZeroes({ command }: DiskIo, blocks: number): void {
    setData(command, DataDirection.out, zeroSlab(), 0, blocks * this.#blockBytes);
  }

  /**
   * Call when the command of the present step has succeeded. True when the I/O needs another command, false when the
   * I/O is complete.
   */
  advance(io: DiskIo): boolean {
    switch (io.step) {
      case 'writeZeroBuffer':
        io.lba += io.blocks;
        io.restBlocks -= io.blocks;
        return io.restBlocks > 0 || this.#flushesBehind(io);
      case 'write':
      case 'compareAndWrite':
      case 'unmap':
      case 'writeSame':
      case 'writeSameUnmap':
        return this.#flushesBehind(io);
      default:
        return false;
    }
  }

  #flushesBehind(io: DiskIo): boolean {
    if (!io.request.forceUnitAccess || !this.#abilities.writeCache) return false;
    if (hasFuaBit(io.step) && this.#abilities.forceUnitAccess) return false;
    io.step = 'flushBehind';
    io.retries.reset();
    this.#coverAll(io);
    return true;
  }

  /**
   * Call when the device does not know the operation code of the present step. Returns the unit with which the step
   * uses the 10-byte form. Null when the command has no 10-byte form, or when that form cannot address the whole
   * device.
   */
  learnShortForm({ step, blocks }: DiskIo, unit: InspectedUnit): InspectedUnit | null {
    const { commands } = unit;
    if (blocks > BLOCKS_10_MAX) return null;
    switch (step) {
      case 'read':
      case 'write':
      case 'writeZeroBuffer':
        if (commands.readWrite16 === false || this.#sizeBlocks > LBA_10_END) return null;
        return { ...unit, commands: { ...commands, readWrite16: false } };
      case 'flush':
      case 'flushBehind':
        if (commands.synchronizeCache16 === false) return null;
        return { ...unit, commands: { ...commands, synchronizeCache16: false } };
      default:
        return null;
    }
  }

  /**
   * Call when the device does not support the command of the present step. Returns the unit without the command;
   * `goesOn` is true if the I/O continues with another step. Null for a command that every disk has.
   */
  learnRefusal(io: DiskIo, unit: InspectedUnit): { unit: InspectedUnit; goesOn: boolean } | null {
    const { commands, provisioning } = unit;
    const isTrim = io.request.op === BlockOp.trim;
    switch (io.step) {
      case 'compareAndWrite':
        return {
          unit: { ...unit, commands: { ...commands, compareAndWrite: false } },
          goesOn: false,
        };
      case 'unmap':
        return { unit: { ...unit, commands: { ...commands, unmap: false } }, goesOn: false };
      case 'writeSameUnmap':
        io.step = 'writeSame';
        return {
          unit: {
            ...unit,
            provisioning:
              provisioning === null ? null : { ...provisioning, writeSame16Unmap: false },
          },
          goesOn: !isTrim,
        };
      case 'writeSame':
        io.step = 'writeZeroBuffer';
        return {
          unit: { ...unit, commands: { ...commands, writeSame16: false } },
          goesOn: !io.request.fastOnly,
        };
      default:
        return null;
    }
  }
}

/** WRITE SAME and UNMAP have no FUA bit. */
function hasFuaBit(step: DiskStep): boolean {
  return step === 'write' || step === 'compareAndWrite' || step === 'writeZeroBuffer';
}

export function isFlush(step: DiskStep): boolean {
  return step === 'flush' || step === 'flushBehind';
}
