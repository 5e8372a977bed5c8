import { AligningDevice } from '../../src/block/align.js';
import { SplittingDevice } from '../../src/block/split.js';
import type { BlockDevice } from '../../src/block/device.js';
import { SlabPool } from '../../src/common/slab.js';
import { blockDeviceSuite } from '../compliance/block-suite.js';
import { MemoryBlockDevice } from '../support/block/memory-device.js';

const CLOSED = () => Promise.resolve();

function suite(name: string, make: () => BlockDevice): void {
  blockDeviceSuite(name, () => Promise.resolve({ device: make(), dispose: CLOSED }));
}

const limits = { transferBytesMax: 12 * 512, trimBytesMax: 5 * 512, writeZeroesBytesMax: 3 * 512 };

suite('a splitting device', () => new SplittingDevice(new MemoryBlockDevice({ info: limits })));

suite('a splitting device over one-sector transfers', () => {
  const info = { transferBytesMax: 512, preferredBytes: 512 };
  return new SplittingDevice(new MemoryBlockDevice({ info, seed: 2 }));
});

suite('an aligning device over 512-byte sectors', () => {
  return new AligningDevice(new MemoryBlockDevice({ seed: 3 }), { pool: new SlabPool() });
});

suite('an aligning device over 4096-byte sectors', () => {
  const info = { minimumBytes: 4096 };
  return new AligningDevice(new MemoryBlockDevice({ info, seed: 4 }), { pool: new SlabPool() });
});

suite('an aligning device over bytes', () => {
  const info = { minimumBytes: 1 };
  return new AligningDevice(new MemoryBlockDevice({ info, seed: 5 }), { pool: new SlabPool() });
});

suite('an aligning device over a splitting device', () => {
  const disk = new MemoryBlockDevice({ info: limits, seed: 6 });
  return new AligningDevice(new SplittingDevice(disk), { pool: new SlabPool() });
});
