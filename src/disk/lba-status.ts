import type { BlockExtent } from '../block/device.js';
import { ExtentList } from '../block/extents.js';
import { buildGetLbaStatus } from '../scsi/commands.js';
import type { ControlChannel } from './control.js';
import { EXTENTS_MAX, EXTENT_COMMANDS_MAX, PARAMETER_BYTES } from './limits.js';
import { ProvisioningStatus, decodeLbaStatus, lbaStatusCount } from '../scsi/wire.js';
import type { LbaStatus } from '../scsi/wire.js';

export interface LbaStatusQuery {
  readonly lba: number;
  readonly blocks: number;
  readonly blockBytes: number;
  /** LBPRZ: unmapped blocks read as zeroes. */
  readonly readZeroes: boolean;
}

/**
 * Sends GET LBA STATUS until the answers cover the range, or until a limit is reached. Null when the device does not
 * support the command. A block that the device leaves out or describes wrongly counts as allocated, which is always
 * safe.
 * @throws ScsiError when a command fails
 */
export async function queryLbaStatus(
  control: ControlChannel,
  query: LbaStatusQuery,
): Promise<readonly BlockExtent[] | null> {
  const list = new ExtentList();
  const end = query.lba + query.blocks;
  let lba = query.lba;
  for (let commands = 0; lba < end && list.count < EXTENTS_MAX; commands++) {
    if (commands === EXTENT_COMMANDS_MAX) break;
    const from = lba;
    const next = await control.runIfSupported(
      (command) => buildGetLbaStatus(command, from, PARAMETER_BYTES),
      PARAMETER_BYTES,
      (view, offset, length) => gather({ view, offset, length }, query, from, list),
    );
    if (next === null) {
      if (commands === 0) return null;
      break;
    }
    if (next === from) break;
    lba = next;
  }
  if (list.count === 0) list.add(query.blocks * query.blockBytes, false, false);
  return list.extents;
}

/** Adds the descriptors from block `from` on; returns the block after the last descriptor. */
function gather(
  data: { view: DataView; offset: number; length: number },
  query: LbaStatusQuery,
  from: number,
  list: ExtentList,
): number {
  const { view, offset, length } = data;
  const end = query.lba + query.blocks;
  const count = lbaStatusCount(view, offset, length);
  const status: LbaStatus = { lba: 0, blocks: 0, status: 0 };
  let lba = from;
  for (let index = 0; index < count && lba < end && list.count < EXTENTS_MAX; index++) {
    decodeLbaStatus(view, offset, index, status);
    const statusEnd = status.lba + status.blocks;
    // The first descriptor may begin before `from`. No descriptor may leave a gap.
    if (status.lba < 0 || status.lba > lba || statusEnd <= lba) break;
    const blocks = Math.min(statusEnd, end) - lba;
    const isUnmapped =
      status.status === ProvisioningStatus.deallocated ||
      status.status === ProvisioningStatus.anchored;
    list.add(
      blocks * query.blockBytes,
      status.status === ProvisioningStatus.deallocated,
      isUnmapped && query.readZeroes,
    );
    lba += blocks;
  }
  return lba;
}
