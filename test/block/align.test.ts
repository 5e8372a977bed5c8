import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { AligningDevice } from '../../src/block/align.js';
import { bounceSlabs } from '../../src/block/bounce.js';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { BOUNCE_DEVICES_MAX, COMPARE_ATTEMPTS_MAX } from '../../src/block/limits.js';
import { RangeLock } from '../../src/block/range-lock.js';
import { Requester } from '../../src/common/requester.js';
import { Slab, SlabPool } from '../../src/common/slab.js';
import { pattern, read, submit, write } from '../support/block/client.js';
import { MemoryBlockDevice } from '../support/block/memory-device.js';
import type { MemoryDeviceOptions } from '../support/block/memory-device.js';
import { RamDevice } from '../support/nbd/device.js';

function make(options: MemoryDeviceOptions = {}) {
  const pool = new SlabPool();
  const disk = new MemoryBlockDevice(options);
  return { pool, disk, device: new AligningDevice(disk, { pool }) };
}

/** The requests that reached the disk, as `op offset length`. */
function seen(disk: MemoryBlockDevice): string[] {
  return disk.seen.map(({ op, offset, length }) => `${OP_NAMES[op]} ${offset} ${length}`);
}

const OP_NAMES = ['read', 'write', 'flush', 'trim', 'zero', 'cache', 'compareAndWrite'];

describe('AligningDevice', () => {
  it('takes any byte', () => {
    expect(make().device.info.minimumBytes).toBe(1);
  });

  it('hands aligned requests through one to one', async () => {
    const { disk, device } = make();
    await write(device, 512, pattern(1024, 1), { forceUnitAccess: true });
    await read(device, 0, 512);
    const zeroes = { op: BlockOp.writeZeroes, length: 512, noHole: true, fastOnly: true };
    await submit(device, zeroes);
    await submit(device, { op: BlockOp.trim, length: 512 });
    await submit(device, { op: BlockOp.flush });
    await submit(device, { op: BlockOp.cache, length: 512 });
    const expected = ['write 512 1024', 'read 0 512', 'zero 0 512', 'trim 0 512', 'flush 0 0'];
    expect(seen(disk)).toEqual([...expected, 'cache 0 512']);
    expect(disk.seen[0]).toMatchObject({ forceUnitAccess: true });
    expect(disk.seen[2]).toMatchObject({ noHole: true, fastOnly: true });
  });

  it('reads an unaligned range as its edges and what is between', async () => {
    const { disk, device } = make();
    disk.bytes.set(pattern(4096, 2));
    const found = await read(device, 100, 2000);
    expect(found.status).toBe(BlockStatus.ok);
    expect(Buffer.compare(found.bytes, disk.bytes.subarray(100, 2100))).toBe(0);
    expect(seen(disk).sort()).toEqual(['read 0 512', 'read 2048 512', 'read 512 1536']);
  });

  it('finds nothing of an earlier device in its bounce memory', async () => {
    const { pool, disk, device } = make();
    disk.bytes.fill(0x5e);
    await read(device, 1, 510);
    await device.close();
    const silent = new RamDevice(4096, { minimumBytes: 512, readsAreVerified: false });
    silent.leavesReads = true;
    const found = await read(new AligningDevice(silent, { pool }), 1, 510);
    expect(found.status).toBe(BlockStatus.ok);
    expect(Buffer.from(found.bytes)).toEqual(Buffer.alloc(510));
  });

  it('writes within one sector by reading it first', async () => {
    const { disk, device } = make();
    const before = pattern(4096, 3);
    disk.bytes.set(before);
    expect(await write(device, 700, pattern(10, 4), { forceUnitAccess: true })).toBe(0);
    before.set(pattern(10, 4), 700);
    expect(Buffer.compare(disk.bytes.subarray(0, 4096), before)).toBe(0);
    expect(seen(disk)).toEqual(['read 512 512', 'write 512 512']);
    expect(disk.seen.map((request) => request.forceUnitAccess)).toEqual([false, true]);
  });

  it('leaves an edge alone that is aligned', async () => {
    const { disk, device } = make();
    await write(device, 512, pattern(600, 5));
    expect(seen(disk).sort()).toEqual(['read 1024 512', 'write 1024 512', 'write 512 512']);
    disk.seen.length = 0;
    await write(device, 100, pattern(924, 6));
    expect(seen(disk).sort()).toEqual(['read 0 512', 'write 0 512', 'write 512 512']);
  });

  it('zeroes the edges of an unaligned write zeroes and keeps its flags for the rest', async () => {
    const { disk, device } = make();
    const before = pattern(4096, 7);
    disk.bytes.set(before);
    const fields = { op: BlockOp.writeZeroes, offset: 100, length: 2000, noHole: true };
    expect(await submit(device, { ...fields, forceUnitAccess: true })).toBe(0);
    before.fill(0, 100, 2100);
    expect(Buffer.compare(disk.bytes.subarray(0, 4096), before)).toBe(0);
    const middle = disk.seen.find((request) => request.op === BlockOp.writeZeroes);
    expect(middle).toMatchObject({ offset: 512, length: 1536, noHole: true });
    const edges = disk.seen.filter((request) => request.op === BlockOp.write);
    expect(edges.map((edge) => edge.forceUnitAccess)).toEqual([true, true]);
  });

  it('refuses fast write zeroes that are not aligned, and changes nothing', async () => {
    const { disk, device } = make();
    const fields = { op: BlockOp.writeZeroes, fastOnly: true };
    const status = await submit(device, { ...fields, offset: 100, length: 2000 });
    expect(status).toBe(BlockStatus.notSupported);
    expect(disk.seen).toEqual([]);
    expect(await submit(device, { ...fields, offset: 512, length: 1024 })).toBe(BlockStatus.ok);
  });

  it('shrinks an unaligned trim to whole sectors, and to nothing if there is none', async () => {
    const { disk, device } = make();
    const trim = { op: BlockOp.trim, offset: 100 };
    expect(await submit(device, { ...trim, length: 2000 })).toBe(BlockStatus.ok);
    expect(seen(disk)).toEqual(['trim 512 1536']);
    expect(await submit(device, { ...trim, length: 800 })).toBe(BlockStatus.ok);
    expect(disk.seen.length).toBe(1);
  });

  it('grows an unaligned cache request', async () => {
    const { disk, device } = make();
    await submit(device, { op: BlockOp.cache, offset: 600, length: 10 });
    expect(seen(disk)).toEqual(['cache 512 512']);
  });

  it('changes nothing when an edge cannot be read', async () => {
    const { disk, device } = make();
    disk.fail = ({ op, offset }) =>
      op === BlockOp.read && offset === 1024 ? BlockStatus.ioError : undefined;
    expect(await write(device, 100, pattern(1000, 8))).toBe(BlockStatus.ioError);
    expect(disk.seen.every((request) => request.op === BlockOp.read)).toBe(true);
    expect(disk.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('ends with the error of any part', async () => {
    const { disk, device } = make();
    disk.fail = ({ offset }) => (offset === 512 ? BlockStatus.noSpace : undefined);
    expect(await write(device, 100, pattern(1000, 9))).toBe(BlockStatus.noSpace);
    expect((await read(device, 100, 1000)).status).toBe(BlockStatus.noSpace);
  });

  it('refuses an unaligned request by the rules of the device', async () => {
    const { disk, device } = make({ sizeBytes: 4096 });
    expect((await read(device, 4000, 100)).status).toBe(BlockStatus.invalid);
    expect(await write(device, 4000, pattern(100, 1))).toBe(BlockStatus.noSpace);
    disk.info = { ...disk.info, readOnly: true };
    expect(await write(device, 1, pattern(1, 1))).toBe(BlockStatus.notPermitted);
    expect(disk.seen).toEqual([]);
  });

  it('tells the extents of an unaligned range', async () => {
    const { disk, device } = make();
    disk.bytes.set(pattern(512, 1), 512);
    expect(await device.queryExtents(500, 600)).toEqual([
      { lengthBytes: 12, hole: true, zero: true },
      { lengthBytes: 512, hole: false, zero: false },
      { lengthBytes: 76, hole: true, zero: true },
    ]);
  });
});

describe('AligningDevice, changes of one sector', () => {
  it('makes an aligned write wait for a read-modify-write of its sector, so that it is not undone', async () => {
    const { disk, device } = make();
    disk.isHeld = true;
    const partial = write(device, 10, pattern(20, 1));
    const whole = write(device, 0, pattern(512, 2));
    expect(seen(disk)).toEqual(['read 0 512']);
    disk.finish(0);
    expect(seen(disk)).toEqual(['read 0 512', 'write 0 512']);
    disk.finish(0);
    await partial;
    expect(disk.inFlight.length).toBe(1);
    disk.finish(0);
    await whole;
    expect(Buffer.compare(disk.bytes.subarray(0, 512), pattern(512, 2))).toBe(0);
  });

  it('makes a read-modify-write wait for an aligned write of its sector, so that it does not undo it', async () => {
    const { disk, device } = make();
    disk.isHeld = true;
    const whole = write(device, 0, pattern(1024, 1));
    const partial = write(device, 600, pattern(20, 2));
    expect(seen(disk)).toEqual(['write 0 1024']);
    disk.release();
    await Promise.all([whole, partial]);
    const expected = pattern(1024, 1);
    expected.set(pattern(20, 2), 600);
    expect(Buffer.compare(disk.bytes.subarray(0, 1024), expected)).toBe(0);
  });

  for (const op of [BlockOp.trim, BlockOp.writeZeroes]) {
    it(`orders a read-modify-write behind an aligned ${OP_NAMES[op]} of its sector`, async () => {
      const { disk, device } = make();
      disk.bytes.set(pattern(512, 1));
      disk.isHeld = true;
      const zeroing = submit(device, { op, length: 512 });
      const partial = write(device, 100, pattern(20, 2));
      expect(disk.inFlight.length).toBe(1);
      disk.release();
      await Promise.all([zeroing, partial]);
      const expected = new Uint8Array(512);
      expected.set(pattern(20, 2), 100);
      expect(Buffer.compare(disk.bytes.subarray(0, 512), expected)).toBe(0);
    });
  }

  it('keeps all of the writes to different bytes of one sector, in whatever order they end', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(fc.integer({ min: 1, max: 40 })),
        async (seed, sizes) => {
          const { disk, device } = make({ seed: Math.abs(seed), sizeBytes: 8192 });
          const expected = new Uint8Array(8192);
          let at = 0;
          const writes = sizes.map((size, index) => {
            const data = pattern(size * 17, index);
            const offset = at;
            at += data.length;
            if (at > expected.length) return Promise.resolve(BlockStatus.ok);
            expected.set(data, offset);
            return write(device, offset, data);
          });
          const statuses = await Promise.all(writes);
          expect(statuses.every((status) => status === BlockStatus.ok)).toBe(true);
          expect(Buffer.compare(disk.bytes, expected)).toBe(0);
        },
      ),
    );
  });

  it('lets changes of other sectors go on beside a read-modify-write', async () => {
    const { disk, device } = make();
    disk.isHeld = true;
    const partial = write(device, 10, pattern(20, 1));
    const other = write(device, 512, pattern(512, 2));
    const third = write(device, 1100, pattern(20, 3));
    expect(seen(disk)).toEqual(['read 0 512', 'write 512 512', 'read 1024 512']);
    disk.release();
    await Promise.all([partial, other, third]);
  });

  it('does not make reads wait', async () => {
    const { disk, device } = make();
    disk.isHeld = true;
    const partial = write(device, 10, pattern(20, 1));
    const aligned = read(device, 0, 512);
    const unaligned = read(device, 5, 100);
    expect(disk.inFlight.length).toBe(3);
    disk.release();
    await Promise.all([partial, aligned, unaligned]);
  });
});

describe('AligningDevice, bounce memory', () => {
  it('queues requests when its bounce memory is in use, and takes no more from the pool', async () => {
    const { pool, disk, device } = make();
    const slotsBefore = pool.usedCount;
    disk.isHeld = true;
    const reads = Array.from({ length: 100 }, (_, index) => read(device, index * 512 + 1, 100));
    expect(disk.inFlight.length).toBe(32);
    expect(pool.usedCount).toBe(slotsBefore);
    disk.release();
    const ended = await Promise.all(reads);
    expect(ended.every(({ status }) => status === BlockStatus.ok)).toBe(true);
    expect(disk.inFlightMax).toBe(32);
  });

  it('makes progress while every slot of the pool is held by its callers', async () => {
    const sizeClass = { slotBytes: 4096, slotsMax: 4, slotsPerSlab: 4 };
    const pool = new SlabPool([sizeClass]);
    const disk = new MemoryBlockDevice();
    const device = new AligningDevice(disk, { pool });
    const held = [pool.acquire(4096), pool.acquire(4096), pool.acquire(4096)];
    expect(pool.acquire(1)).toBe(null);
    const writes = Array.from({ length: 20 }, (_, index) =>
      write(device, index * 100 + 1, pattern(50, index)),
    );
    const statuses = await Promise.all(writes);
    expect(statuses.every((status) => status === BlockStatus.ok)).toBe(true);
    for (const slot of held) slot?.release();
  });

  it('takes it from no pool of data unless told to, with sectors of any size', async () => {
    for (const sectorBytes of [512, 4096, 65_536]) {
      const info = { minimumBytes: sectorBytes };
      const disk = new MemoryBlockDevice({ info });
      const device = new AligningDevice(disk);
      expect(await write(device, sectorBytes - 1, pattern(sectorBytes + 2, 1))).toBe(
        BlockStatus.ok,
      );
      const { bytes } = await read(device, sectorBytes - 1, sectorBytes + 2);
      expect(Buffer.compare(bytes, pattern(sectorBytes + 2, 1))).toBe(0);
      const used = bounceSlabs.usedCount;
      await device.close();
      expect(bounceSlabs.usedCount).toBe(used - 1);
    }
  });

  it('is refused in one sentence when there are as many devices as may be', async () => {
    const free = BOUNCE_DEVICES_MAX - bounceSlabs.usedCount;
    const disk = new MemoryBlockDevice();
    const devices = Array.from({ length: free }, () => new AligningDevice(disk));
    expect(() => new AligningDevice(disk)).toThrow('at most 1024 disks');
    await devices.pop()?.close();
    const last = new AligningDevice(disk);
    expect(bounceSlabs.usedCount).toBe(BOUNCE_DEVICES_MAX);
    await Promise.all([...devices, last].map((device) => device.close()));
    expect(bounceSlabs.usedCount).toBe(BOUNCE_DEVICES_MAX - free);
  });

  it('waits for its memory when the pool is empty at the start', async () => {
    const pool = new SlabPool([{ slotBytes: 4096, slotsMax: 1, slotsPerSlab: 1 }]);
    const slot = pool.acquire(4096);
    const disk = new MemoryBlockDevice();
    const device = new AligningDevice(disk, { pool });
    const done = write(device, 1, pattern(50, 1));
    expect(disk.seen).toEqual([]);
    slot?.release();
    expect(await done).toBe(BlockStatus.ok);
  });

  it('gives its memory back when it is closed', async () => {
    const { pool, device } = make();
    expect(pool.usedCount).toBe(1);
    await device.close();
    await device.close();
    expect(pool.usedCount).toBe(0);
  });

  it('closes the device below only when its own requests have ended', async () => {
    const { disk, device } = make();
    disk.isHeld = true;
    const partial = write(device, 10, pattern(20, 1));
    const closing = device.close();
    await Promise.resolve();
    expect(disk.isClosed).toBe(false);
    disk.release();
    expect(await partial).toBe(BlockStatus.ok);
    await closing;
    expect(disk.isClosed).toBe(true);
  });
});

describe('AligningDevice, requesters', () => {
  const writeOf = (device: AligningDevice, requester: Requester, fill: number) => {
    const slab = new Slab(512);
    slab.bytes.fill(fill);
    return submit(device, { op: BlockOp.write, length: 512, slab, slabOffset: 0, requester });
  };

  it('lets no request overtake the write of another client, whether that one is gone or not', async () => {
    const { disk, device } = make();
    const [gone, back] = [new Requester(), new Requester()];
    disk.isHeld = true;
    const old = writeOf(device, gone, 1);
    gone.isGone = true;
    const repeated = writeOf(device, back, 2);
    const elsewhere = submit(device, {
      op: BlockOp.trim,
      offset: 512,
      length: 512,
      requester: back,
    });
    const extents = device.queryExtents(0, 512);
    expect(seen(disk)).toEqual(['write 0 512', 'trim 512 512']);
    disk.finish(0);
    await old;
    expect(seen(disk)).toEqual(['write 0 512', 'trim 512 512', 'write 0 512']);
    disk.release();
    await Promise.all([repeated, elsewhere]);
    expect(disk.bytes[0]).toBe(2);
    expect(await extents).toEqual([{ lengthBytes: 512, hole: false, zero: false }]);
  });

  it('puts requests in order that come by two devices over one unit', async () => {
    const disk = new MemoryBlockDevice();
    const lock = new RangeLock();
    const [first, second] = [
      new AligningDevice(disk, { lock }),
      new AligningDevice(disk, { lock }),
    ];
    disk.isHeld = true;
    const partial = submit(first, {
      op: BlockOp.writeZeroes,
      offset: 10,
      length: 20,
      requester: new Requester(),
    });
    const whole = writeOf(second, new Requester(), 7);
    expect(seen(disk)).toEqual(['read 0 512']);
    disk.release();
    await Promise.all([partial, whole]);
    expect(disk.bytes.subarray(0, 512).every((byte) => byte === 7)).toBe(true);
  });
});

describe('AligningDevice where others may write to the device', () => {
  it('stores edges by compareAndWrite', async () => {
    const disk = new MemoryBlockDevice();
    const device = new AligningDevice(disk, { isExclusive: false });
    expect(device.info.minimumBytes).toBe(1);
    expect(await write(device, 100, pattern(1000, 8), { forceUnitAccess: true })).toBe(0);
    expect(seen(disk)).toEqual([
      'read 0 512',
      'read 1024 512',
      'write 512 512',
      'compareAndWrite 0 512',
      'compareAndWrite 1024 512',
    ]);
    expect(disk.seen.slice(2).every(({ forceUnitAccess }) => forceUnitAccess)).toBe(true);
    expect(Buffer.compare(disk.bytes.subarray(100, 1100), pattern(1000, 8))).toBe(0);
  });

  it('takes whole sectors only where the device has no compareAndWrite, and says so', async () => {
    const disk = new MemoryBlockDevice({ info: { compareBytesMax: 0 } });
    const device = new AligningDevice(disk, { isExclusive: false });
    expect(device.info.minimumBytes).toBe(512);
    expect(await write(device, 100, pattern(10, 8))).toBe(BlockStatus.invalid);
    expect((await read(device, 100, 10)).status).toBe(BlockStatus.invalid);
    expect(disk.seen).toEqual([]);
    disk.info = { ...disk.info, compareBytesMax: 512 };
    expect(await write(device, 100, pattern(10, 8))).toBe(BlockStatus.ok);
  });

  it('gives up on a device whose compareAndWrite never succeeds', async () => {
    const disk = new MemoryBlockDevice();
    const device = new AligningDevice(disk, { isExclusive: false });
    disk.fail = ({ op }) => (op === BlockOp.compareAndWrite ? BlockStatus.mismatch : undefined);
    expect(await write(device, 100, pattern(10, 8))).toBe(BlockStatus.ioError);
    expect(disk.seen.length).toBe(2 * COMPARE_ATTEMPTS_MAX);
  });

  it('keeps all bytes of all gateways that write to different bytes of one sector', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer(),
        fc.array(fc.record({ gateway: fc.nat(2), size: fc.integer({ min: 1, max: 120 }) })),
        async (seed, steps) => {
          const disk = new MemoryBlockDevice({ seed: Math.abs(seed), sizeBytes: 8192 });
          const gateways = [0, 1, 2].map(() => new AligningDevice(disk, { isExclusive: false }));
          const expected = new Uint8Array(8192);
          let at = 0;
          const writes = steps.map(({ gateway, size }, index) => {
            const data = pattern(size, index);
            const offset = at;
            at += size;
            if (at > expected.length) return Promise.resolve(BlockStatus.ok);
            expected.set(data, offset);
            return write(gateways[gateway]!, offset, data);
          });
          const statuses = await Promise.all(writes);
          expect(statuses.every((status) => status === BlockStatus.ok)).toBe(true);
          expect(Buffer.compare(disk.bytes, expected)).toBe(0);
        },
      ),
    );
  });
});
