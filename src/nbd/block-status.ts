import { BlockStatus } from '../block/device.js';
import type { BlockDevice, BlockExtent } from '../block/device.js';
import { ExtentList } from '../block/extents.js';
import { messageOfStatus } from './errors.js';
import { BASE_ALLOCATION } from './meta-contexts.js';
import type { ChunkFormat } from './replies.js';
import type { NbdRequest } from './request.js';
import { CommandFlag } from './wire.js';

/** The result of a BLOCK_STATUS: the bytes of the reply, or why it failed. */
export type StatusAnswer = { readonly bytes: Buffer } | { readonly message: string };

/** Asks the device for the extents in the range of a BLOCK_STATUS, and composes the reply. Never rejects. */
export async function answerBlockStatus(
  request: NbdRequest,
  device: BlockDevice,
  format: ChunkFormat,
  extentsMax: number,
): Promise<StatusAnswer> {
  let extents: readonly BlockExtent[];
  try {
    extents = await device.queryExtents(request.offset, request.length);
  } catch {
    // The device has logged the reason.
    return { message: messageOfStatus(BlockStatus.ioError) };
  }
  const countMax = extentCountMax(request, extentsMax);
  const bounded = boundExtents(extents, request.length, countMax);
  return { bytes: format.status(request, BASE_ALLOCATION.id, bounded) };
}

/** How many extents the reply to a BLOCK_STATUS may have. */
export function extentCountMax({ flags }: NbdRequest, extentsMax: number): number {
  return (flags & CommandFlag.REQ_ONE) !== 0 ? 1 : extentsMax;
}

/**
 * The extents of a reply: at least one and at most `countMax`, none empty, none beyond `lengthBytes`. Neighbours in the
 * same state are joined. When the device returns no extent, the whole range counts as allocated.
 */
export function boundExtents(
  extents: readonly BlockExtent[],
  lengthBytes: number,
  countMax: number,
): readonly BlockExtent[] {
  const list = new ExtentList();
  for (const { lengthBytes: extentBytes, hole, zero } of extents) {
    const room = lengthBytes - list.lengthBytes;
    if (room <= 0 || list.count > countMax) break;
    list.add(Math.min(extentBytes, room), hole, zero);
  }
  if (list.count === 0) list.add(lengthBytes, false, false);
  return list.extents.slice(0, countMax);
}
