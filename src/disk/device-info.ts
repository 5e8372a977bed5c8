import type { BlockDeviceInfo } from '../block/device.js';
import type { InspectedUnit } from './inspect.js';
import {
  BLOCKS_10_MAX,
  TRIM_BYTES_MAX,
  UNMAP_BLOCKS_UNREPORTED,
  WRITE_SAME_BLOCKS_UNREPORTED,
  WRITE_ZEROES_BYTES_MAX,
} from './limits.js';

/** The optional commands and bits that a disk has. */
export interface DiskAbilities {
  /** The disk uses READ(16) and WRITE(16) instead of the 10-byte forms. */
  readonly readWrite16: boolean;
  readonly synchronizeCache16: boolean;
  readonly trim: 'unmap' | 'writeSame' | 'none';
  /** The device supports WRITE SAME(16), or may support it: its first refusal decides. */
  readonly writeSame: boolean;
  /**
   * WRITE SAME(16) may set its UNMAP bit to write zeroes. SBC-3 5.43 promises zeroes in any case, but LIO unmaps
   * without a check of the data. So, as in Linux, this needs a device whose unmapped blocks read as zeroes.
   */
  readonly zeroesByUnmap: boolean;
  readonly preFetch: boolean;
  readonly lbaStatus: boolean;
  /** WRITE supports FUA. */
  readonly forceUnitAccess: boolean;
  /** A write may end before its data is on the medium. Force unit access then needs FUA, or a flush after the write. */
  readonly writeCache: boolean;
}

export function abilitiesOf(unit: InspectedUnit): DiskAbilities {
  const { commands, provisioning, limits } = unit;
  const writeSame = commands.writeSame16 !== false;
  const hasUnmapBit = writeSame && unit.provisioned && (provisioning?.writeSame16Unmap ?? false);
  // Before page B2 existed, a limit in page B0 meant that the device supports UNMAP.
  const claimsUnmap = provisioning?.unmap ?? (limits?.unmapBlocksMax ?? 0) > 0;
  const unmap = unit.provisioned && claimsUnmap && commands.unmap !== false;
  return {
    readWrite16: commands.readWrite16 !== false,
    synchronizeCache16: commands.synchronizeCache16 !== false,
    trim: unmap ? 'unmap' : hasUnmapBit ? 'writeSame' : 'none',
    writeSame,
    zeroesByUnmap: hasUnmapBit && unit.readZeroes,
    // PRE-FETCH is only an optimization, so the disk uses it only when the device reports it.
    preFetch: commands.preFetch16 === true,
    lbaStatus: unit.provisioned && commands.getLbaStatus !== false,
    forceUnitAccess: unit.forceUnitAccess,
    writeCache: unit.writeCache !== false,
  };
}

/** Describes a logical unit as a block device. */
export function deviceInfoOf(unit: InspectedUnit): BlockDeviceInfo {
  const abilities = abilitiesOf(unit);
  const { blockBytes, readOnly } = unit;
  const transferBytesMax = transferMaxOf(unit);
  const writeZeroesBytesMax = writeSameMaxOf(unit);
  const trimBytesMax = { unmap: unmapMaxOf(unit), writeSame: writeZeroesBytesMax, none: 0 };
  return {
    sizeBytes: unit.sizeBytes,
    minimumBytes: blockBytes,
    preferredBytes: preferredOf(unit, transferBytesMax),
    transferBytesMax,
    compareBytesMax: readOnly ? 0 : compareMaxOf(unit, transferBytesMax),
    trimBytesMax: readOnly ? 0 : trimBytesMax[abilities.trim],
    writeZeroesBytesMax: readOnly ? 0 : writeZeroesBytesMax,
    readOnly,
    canForceUnitAccess: abilities.forceUnitAccess || !abilities.writeCache,
    readsAreVerified: unit.pathVerifiesDataIn,
    canFlush: true,
    canTrim: !readOnly && abilities.trim !== 'none',
    canWriteZeroes: !readOnly,
    canCache: abilities.preFetch,
    canFindZeroes: abilities.lbaStatus && unit.readZeroes,
    // A device may ignore a trim of less than its allocation unit.
    trimReadsZeroes: unit.readZeroes && (unit.limits?.unmapGranularityBlocks ?? 0) <= 1,
    multiConnection: true,
    rotational: (unit.characteristics?.rotationRate ?? 0) > 1,
  };
}

/** At least one block, even if the path claims less: the refusal by the path says more than an error from here. */
function transferMaxOf(unit: InspectedUnit): number {
  const { limits, blockBytes, pathTransferBytesMax, commands } = unit;
  const deviceBlocks = limits?.transferBlocksMax ?? 0;
  const formBlocks = commands.readWrite16 === false ? BLOCKS_10_MAX : Infinity;
  const pathBlocks = Math.min(Math.floor(pathTransferBytesMax / blockBytes), formBlocks);
  const blocks = deviceBlocks === 0 ? pathBlocks : Math.min(deviceBlocks, pathBlocks);
  return Math.max(1, blocks) * blockBytes;
}

/** COMPARE AND WRITE carries the data twice. */
function compareMaxOf(
  { limits, blockBytes, commands }: InspectedUnit,
  transferBytesMax: number,
): number {
  if (commands.compareAndWrite === false) return 0;
  const blocks = limits?.compareAndWriteBlocksMax ?? 0;
  const transferBlocks = Math.floor(transferBytesMax / blockBytes / 2);
  return Math.min(blocks, transferBlocks) * blockBytes;
}

function writeSameMaxOf({ limits, blockBytes }: InspectedUnit): number {
  const reported = limits?.writeSameBlocksMax ?? 0;
  // Zero means that the device reports no limit. -1 (a limit above 2^53 - 1) is treated as no limit.
  const blocks = reported > 0 ? reported : WRITE_SAME_BLOCKS_UNREPORTED;
  return boundedBytes(blocks, blockBytes, WRITE_ZEROES_BYTES_MAX);
}

function unmapMaxOf({ limits, blockBytes }: InspectedUnit): number {
  const reported = limits?.unmapBlocksMax ?? 0;
  const blocks = reported > 0 ? reported : UNMAP_BLOCKS_UNREPORTED;
  const bytesMax = boundedBytes(blocks, blockBytes, TRIM_BYTES_MAX);
  // Longer trims are split at multiples of the limit. A split should not divide an allocation unit.
  const unitBytes = (limits?.unmapGranularityBlocks ?? 0) * blockBytes;
  return unitBytes > 0 && unitBytes <= bytesMax ? bytesMax - (bytesMax % unitBytes) : bytesMax;
}

function boundedBytes(blocks: number, blockBytes: number, bytesMax: number): number {
  return Math.max(blockBytes, Math.min(blocks * blockBytes, bytesMax - (bytesMax % blockBytes)));
}

/** The size that suits the device: at least a page of memory, a power of two, and within the limits. */
function preferredOf(unit: InspectedUnit, transferBytesMax: number): number {
  const granularityBytes = (unit.limits?.transferGranularityBlocks ?? 0) * unit.blockBytes;
  const isUsable = granularityBytes > 0 && Number.isInteger(Math.log2(granularityBytes));
  const wanted = Math.max(PAGE_BYTES, unit.physicalBlockBytes, isUsable ? granularityBytes : 0);
  return Math.min(wanted, 2 ** Math.floor(Math.log2(transferBytesMax)));
}

const PAGE_BYTES = 4_096;
