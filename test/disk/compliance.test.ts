import { AligningDevice } from '../../src/block/align.js';
import { SplittingDevice } from '../../src/block/split.js';
import { ScsiDisk } from '../../src/disk/scsi-disk.js';
import { blockDeviceSuite } from '../compliance/block-suite.js';
import { ScsiPortDouble } from '../support/scsi/port.js';
import type { DoubleOptions } from '../support/scsi/port.js';
import { testServices } from '../support/scsi/services.js';

const CLOSED = () => Promise.resolve();

function suite(name: string, options: DoubleOptions): void {
  blockDeviceSuite(name, async () => {
    const device = await ScsiDisk.open(new ScsiPortDouble(options), testServices());
    return { device, dispose: CLOSED };
  });
}

suite('a SCSI disk of 512-byte sectors', { seed: 1 });
suite('a SCSI disk of 4096-byte sectors', { blockBytes: 4096, seed: 2 });
suite('a SCSI disk that takes one sector at a time', { limits: { transferBlocksMax: 1 }, seed: 3 });
suite('a SCSI disk with one command at a time', { queueDepth: 1 });
suite('a SCSI disk without FUA', { dpofua: false, seed: 4 });
suite('a SCSI disk without WRITE SAME, UNMAP, PRE-FETCH and VPD pages', {
  refuses: ['WRITE SAME(16)', 'UNMAP', 'PRE-FETCH(16)', 'GET LBA STATUS'],
  limits: null,
  provisioning: null,
  seed: 5,
});
suite('a SCSI disk that trims by WRITE SAME', { provisioning: { unmap: false }, seed: 6 });

blockDeviceSuite('a SCSI disk of 4096-byte sectors under splitting and alignment', async () => {
  const limits = {
    transferBlocksMax: 3,
    unmapBlocksMax: 8,
    unmapGranularityBlocks: 4,
    writeSameBlocksMax: 5,
  };
  const port = new ScsiPortDouble({ blockBytes: 4096, limits, seed: 7 });
  const disk = await ScsiDisk.open(port, testServices());
  return { device: new AligningDevice(new SplittingDevice(disk)), dispose: CLOSED };
});
