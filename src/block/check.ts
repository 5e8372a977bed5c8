import { BlockOp, BlockStatus } from './device.js';
import type { BlockDeviceInfo, BlockRequest } from './device.js';

/** Whether the operation changes data on the disk. */
export function isMutation(op: BlockOp): boolean {
  return (
    op === BlockOp.write ||
    op === BlockOp.trim ||
    op === BlockOp.writeZeroes ||
    op === BlockOp.compareAndWrite
  );
}

/**
 * Checks a request before a device begins it: returns `ok`, or the status that the request ends with. The order of the
 * checks is that of proto.md, "Error values": permission, validity, range, size.
 */
export function checkRequest(info: BlockDeviceInfo, request: BlockRequest): BlockStatus {
  const { op, offset, length } = request;
  if (info.readOnly && isMutation(op)) return BlockStatus.notPermitted;
  if (op === BlockOp.flush) return info.canFlush ? BlockStatus.ok : BlockStatus.notSupported;
  if (!(length > 0) || !(offset >= 0)) return BlockStatus.invalid;
  if (offset % info.minimumBytes !== 0 || length % info.minimumBytes !== 0) {
    return BlockStatus.invalid;
  }
  if (offset + length > info.sizeBytes) return outOfRangeStatus(op);
  switch (op) {
    case BlockOp.read:
    case BlockOp.write:
      return length > info.transferBytesMax ? BlockStatus.invalid : checkMemory(request, length);
    case BlockOp.compareAndWrite:
      if (info.compareBytesMax === 0) return BlockStatus.notSupported;
      return length > info.compareBytesMax ? BlockStatus.invalid : checkMemory(request, 2 * length);
    case BlockOp.trim:
      if (!info.canTrim) return BlockStatus.notSupported;
      return length > info.trimBytesMax ? BlockStatus.invalid : BlockStatus.ok;
    case BlockOp.writeZeroes:
      if (!info.canWriteZeroes) return BlockStatus.notSupported;
      return length > info.writeZeroesBytesMax ? BlockStatus.invalid : BlockStatus.ok;
    case BlockOp.cache:
      return info.canCache ? BlockStatus.ok : BlockStatus.notSupported;
    default:
      return BlockStatus.notSupported;
  }
}

/** proto.md: a write or write zeroes past the end is "no space", a read or trim is "invalid". */
function outOfRangeStatus(op: BlockOp): BlockStatus {
  const takesSpace = isMutation(op) && op !== BlockOp.trim;
  return takesSpace ? BlockStatus.noSpace : BlockStatus.invalid;
}

function checkMemory({ slab, slabOffset }: BlockRequest, lengthBytes: number): BlockStatus {
  if (slab === null || !(slabOffset >= 0)) return BlockStatus.invalid;
  return slabOffset + lengthBytes > slab.length ? BlockStatus.invalid : BlockStatus.ok;
}
