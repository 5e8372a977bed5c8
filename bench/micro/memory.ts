import { crc32c, crc32cByTable, crc32cIsNative } from '../../src/common/crc32c.js';
import { Ring } from '../../src/common/ring.js';
import { Slab, SlabPool } from '../../src/common/slab.js';
import { SoftDevice } from '../../src/transport/rnic/device.js';
import { Fault } from '../../src/transport/rnic/fault.js';
import { Placement } from '../../src/transport/rnic/placement.js';
import { Access } from '../../src/transport/verbs.js';
import type { Micro } from './loop.js';

const KIB = 1024;
const REGIONS = 1024;

export function memoryBenchmarks(): readonly Micro[] {
  return [...crc(), ...regions(), ...pools()];
}

function crc(): Micro[] {
  const data = Buffer.alloc(64 * KIB, 0xa5);
  const ours = [64, 4 * KIB].map((bytes) => ({
    name: `crc/table, ${bytes} B`,
    bytes,
    run: () => crc32cByTable(data, 0, bytes),
  }));
  const how = crc32cIsNative ? 'native when long' : 'table';
  const chosen = [64, 1460, 4 * KIB, 64 * KIB].map((bytes) => ({
    name: `crc/as used (${how}), ${bytes} B`,
    bytes,
    run: () => crc32c(data, 0, bytes),
  }));
  return [...ours, ...chosen];
}

function regions(): Micro[] {
  const device = new SoftDevice('bench');
  const domain = device.allocateProtectionDomain();
  const slab = new Slab(REGIONS * 4 * KIB);
  const access = Access.localWrite | Access.remoteWrite | Access.remoteRead;
  const registered = Array.from({ length: REGIONS }, (_, index) =>
    domain.registerMemory({ slab, offset: index * 4 * KIB, length: 4 * KIB }, access),
  );
  const scope = { protectionDomain: domain };
  const target = new Placement();
  const source = Buffer.alloc(4 * KIB, 1);
  const check = (index: number): Fault => {
    const region = registered[index & (REGIONS - 1)];
    if (region === undefined) return Fault.invalidStag;
    const { rkey, addressHigh, addressLow } = region;
    const length = 4 * KIB;
    return device.regions.check(
      rkey,
      scope,
      Access.remoteWrite,
      addressHigh,
      addressLow,
      length,
      target,
    );
  };
  return [
    { name: `region/check of a remote write, ${REGIONS} keys`, run: (index) => check(index) },
    {
      name: 'region/check and place 76 B',
      run: (index) => check(index) + target.write(source, 0, 76),
    },
    {
      name: 'region/check and place 4 KiB',
      bytes: 4 * KIB,
      run: (index) => check(index) + target.write(source, 0, 4 * KIB),
    },
    {
      name: 'region/register and deregister',
      run: () => {
        const region = domain.registerMemory({ slab, offset: 0, length: 4 * KIB }, access);
        region.deregister();
        return region.rkey;
      },
    },
  ];
}

function pools(): Micro[] {
  const pool = new SlabPool();
  const ring = new Ring<number>(64);
  return [
    {
      name: 'pool/slot, acquire and release',
      run: () => {
        const slot = pool.acquire(4 * KIB);
        slot?.release();
        return slot?.offset ?? 0;
      },
    },
    {
      name: 'pool/ring, push and shift',
      run: (index) => {
        ring.push(index);
        return ring.shift() ?? 0;
      },
    },
  ];
}
