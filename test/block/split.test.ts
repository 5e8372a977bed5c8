import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { SPLIT_PIECES_MAX } from '../../src/block/limits.js';
import { SplittingDevice, nextPieceBytes } from '../../src/block/split.js';
import { pattern, read, submit, write } from '../support/block/client.js';
import { MemoryBlockDevice } from '../support/block/memory-device.js';

const KIB = 1024;

function deviceWith(info: object, sizeBytes = 1 << 20) {
  const disk = new MemoryBlockDevice({ sizeBytes, info });
  return { disk, device: new SplittingDevice(disk) };
}

describe('SplittingDevice', () => {
  it('hands a request within the limits through as it is', async () => {
    const { disk, device } = deviceWith({ transferBytesMax: 8 * KIB });
    await write(device, 512, pattern(8 * KIB, 1), { forceUnitAccess: true });
    expect(disk.seen).toMatchObject([{ offset: 512, length: 8 * KIB, forceUnitAccess: true }]);
  });

  it('cuts a long write into pieces that run in parallel and keep its flags', async () => {
    const { disk, device } = deviceWith({ transferBytesMax: 8 * KIB });
    disk.isHeld = true;
    const data = pattern(40 * KIB, 2);
    const done = write(device, 0, data, { forceUnitAccess: true });
    expect(disk.inFlight.length).toBe(5);
    expect(disk.seen.every((seen) => seen.forceUnitAccess && seen.length === 8 * KIB)).toBe(true);
    disk.release();
    expect(await done).toBe(BlockStatus.ok);
    expect(Buffer.compare(disk.bytes.subarray(0, data.length), data)).toBe(0);
  });

  it('cuts trims and write zeroes by their own limits and keeps their flags', async () => {
    const info = { trimBytesMax: 64 * KIB, writeZeroesBytesMax: 32 * KIB, transferBytesMax: 512 };
    const { disk, device } = deviceWith(info);
    disk.bytes.fill(1);
    const length = 128 * KIB;
    expect(await submit(device, { op: BlockOp.trim, length })).toBe(BlockStatus.ok);
    expect(disk.seen.map((seen) => seen.length)).toEqual([64 * KIB, 64 * KIB]);
    disk.seen.length = 0;
    const flags = { noHole: true, fastOnly: true };
    const fields = { op: BlockOp.writeZeroes, offset: length, length, ...flags };
    expect(await submit(device, fields)).toBe(BlockStatus.ok);
    expect(disk.seen.length).toBe(4);
    expect(disk.seen.every((seen) => seen.noHole && seen.fastOnly)).toBe(true);
    expect(disk.bytes.subarray(0, 2 * length).every((byte) => byte === 0)).toBe(true);
  });

  it('never splits a cache request or a flush', async () => {
    const { disk, device } = deviceWith({ transferBytesMax: 512 });
    await submit(device, { op: BlockOp.cache, length: 64 * KIB });
    await submit(device, { op: BlockOp.flush });
    expect(disk.seen.length).toBe(2);
  });

  it('ends with the first error, and starts no more pieces after it', async () => {
    const { disk, device } = deviceWith({ transferBytesMax: 512, preferredBytes: 512 });
    disk.isHeld = true;
    disk.fail = ({ offset }) => {
      if (offset === 512) return BlockStatus.noSpace;
      return offset === 1024 ? BlockStatus.ioError : undefined;
    };
    const sectors = SPLIT_PIECES_MAX + 100;
    let status: BlockStatus | null = null;
    const done = write(device, 0, pattern(sectors * 512, 3)).then((ended) => (status = ended));
    expect(disk.inFlight.length).toBe(SPLIT_PIECES_MAX);
    disk.finish(1);
    disk.finish(1);
    expect(disk.inFlight.length).toBe(SPLIT_PIECES_MAX - 2);
    await Promise.resolve();
    expect(status).toBe(null);
    disk.release();
    await done;
    expect(status).toBe(BlockStatus.noSpace);
    expect(disk.seen.length).toBe(SPLIT_PIECES_MAX);
  });

  it('has a bounded number of pieces out, and serves requests in order', async () => {
    const { disk, device } = deviceWith({ transferBytesMax: 512, preferredBytes: 512 });
    disk.isHeld = true;
    const ends: number[] = [];
    const lengthBytes = (SPLIT_PIECES_MAX - 6) * 512;
    const first = read(device, 0, lengthBytes).then(() => ends.push(1));
    const second = read(device, lengthBytes, lengthBytes).then(() => ends.push(2));
    const third = read(device, 0, 1024).then(() => ends.push(3));
    expect(disk.inFlight.length).toBe(SPLIT_PIECES_MAX);
    expect(disk.seen.slice(-6).every((seen) => seen.offset >= lengthBytes)).toBe(true);
    for (let index = 0; index < SPLIT_PIECES_MAX - 6; index++) disk.finish(0);
    await first;
    expect(ends).toEqual([1]);
    disk.release();
    await Promise.all([second, third]);
    expect(disk.inFlightMax).toBe(SPLIT_PIECES_MAX);
  });

  it('checks a long request before any part of it is done', async () => {
    const sizeBytes = 64 * KIB;
    const { disk, device } = deviceWith({ transferBytesMax: 512 }, sizeBytes);
    const data = pattern(2 * KIB, 4);
    expect(await write(device, sizeBytes - 1024, data)).toBe(BlockStatus.noSpace);
    expect((await read(device, sizeBytes - 1024, 2 * KIB)).status).toBe(BlockStatus.invalid);
    disk.info = { ...disk.info, readOnly: true };
    expect(await write(device, 0, data)).toBe(BlockStatus.notPermitted);
    expect(disk.seen).toEqual([]);
  });

  it('refuses what the device cannot do at all', async () => {
    const info = { canTrim: false, trimBytesMax: 0, canWriteZeroes: false, writeZeroesBytesMax: 0 };
    const { device } = deviceWith(info);
    for (const op of [BlockOp.trim, BlockOp.writeZeroes]) {
      expect(await submit(device, { op, length: 4 * KIB })).toBe(BlockStatus.notSupported);
    }
    expect(device.info.trimBytesMax).toBe(0);
    expect(device.info.writeZeroesBytesMax).toBe(0);
  });

  it('shows a change of the size of the device below', () => {
    const { disk, device } = deviceWith({});
    expect(device.info).toBe(device.info);
    disk.info = { ...disk.info, sizeBytes: 4096 };
    expect(device.info.sizeBytes).toBe(4096);
  });
});

describe('nextPieceBytes', () => {
  const { info } = new MemoryBlockDevice({
    info: { transferBytesMax: 10 * KIB, trimBytesMax: 8 * KIB, preferredBytes: 4 * KIB },
  });

  it('ends data pieces at multiples of the preferred size', () => {
    expect(nextPieceBytes(info, BlockOp.write, 0, 64 * KIB)).toBe(8 * KIB);
    expect(nextPieceBytes(info, BlockOp.read, 512, 64 * KIB)).toBe(8 * KIB - 512);
  });

  it('ends trim pieces at multiples of the limit', () => {
    expect(nextPieceBytes(info, BlockOp.trim, 512, 64 * KIB)).toBe(8 * KIB - 512);
    expect(nextPieceBytes(info, BlockOp.trim, 8 * KIB, 64 * KIB)).toBe(8 * KIB);
  });

  it('takes the whole limit where no boundary is in reach', () => {
    const coarse = { ...info, preferredBytes: 64 * KIB };
    expect(nextPieceBytes(coarse, BlockOp.read, 512, 64 * KIB)).toBe(10 * KIB);
  });

  it('always makes progress, in whole sectors, within the limit and the request', () => {
    const sectors = fc.integer({ min: 1, max: 1000 });
    fc.assert(
      fc.property(
        fc.record({ limit: sectors, offset: fc.nat(1000), rest: sectors, shift: fc.nat(10) }),
        fc.constantFrom(BlockOp.read, BlockOp.write, BlockOp.trim, BlockOp.writeZeroes),
        ({ limit, offset, rest, shift }, op) => {
          const max = limit * 512 + (shift > 5 ? 100 : 0);
          const some = {
            ...info,
            transferBytesMax: max,
            trimBytesMax: max,
            writeZeroesBytesMax: max,
            preferredBytes: 512 << shift,
          };
          const length = nextPieceBytes(some, op, offset * 512, rest * 512);
          expect(length).toBeGreaterThan(0);
          expect(length % 512).toBe(0);
          expect(length).toBeLessThanOrEqual(Math.min(max, rest * 512));
        },
      ),
    );
  });
});
