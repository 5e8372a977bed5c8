import * as fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import type { BlockDevice } from '../../src/block/device.js';
import { Slab } from '../../src/common/slab.js';
import { pattern, read, submit, write } from '../support/block/client.js';

/** A device to test: writable, with at least 512 KiB, and nobody else's. */
export interface BlockFixture {
  readonly device: BlockDevice;
  /** Lets go of what is behind the device. The suite may have closed the device itself. */
  dispose(): Promise<void>;
}

/** The suite works on this much from the start of the device, and on its last sectors. */
const WINDOW_BYTES = 256 * 1024;
const SIZE_BYTES_MIN = 512 * 1024;

/** What every BlockDevice must do, whatever it is made of. */
export function blockDeviceSuite(name: string, setup: () => Promise<BlockFixture>): void {
  describe(`${name} as a BlockDevice`, () => {
    let fixture: BlockFixture;
    let device: BlockDevice;

    beforeEach(async () => {
      fixture = await setup();
      device = fixture.device;
      expect(device.info.sizeBytes).toBeGreaterThanOrEqual(SIZE_BYTES_MIN);
      expect(device.info.readOnly).toBe(false);
    });

    afterEach(async () => {
      await device.close();
      await fixture.dispose();
    });

    describeInfo(() => device);
    describeData(() => device);
    describeZeroing(() => device);
    describeRefusals(() => device);
    describeExtents(() => device);
    describeParallel(() => device);
    describeClose(() => device);
  });
}

function describeInfo(get: () => BlockDevice): void {
  it('describes itself consistently', () => {
    const { info } = get();
    expect(Number.isSafeInteger(info.sizeBytes)).toBe(true);
    expect(info.sizeBytes % info.minimumBytes).toBe(0);
    expect(Number.isInteger(Math.log2(info.minimumBytes))).toBe(true);
    expect(Number.isInteger(Math.log2(info.preferredBytes))).toBe(true);
    expect(info.preferredBytes).toBeGreaterThanOrEqual(info.minimumBytes);
    for (const limit of [info.transferBytesMax, info.trimBytesMax, info.writeZeroesBytesMax]) {
      expect(limit % info.minimumBytes).toBe(0);
    }
    expect(info.transferBytesMax).toBeGreaterThan(0);
    expect(info.trimBytesMax > 0).toBe(info.canTrim);
    expect(info.writeZeroesBytesMax > 0).toBe(info.canWriteZeroes);
  });
}

/** Lengths worth trying: one unit, a few, an odd number of them, the longest that the window and the device take. */
function lengthsOf({ info }: BlockDevice): number[] {
  const unit = info.minimumBytes;
  const longest = Math.min(WINDOW_BYTES, info.transferBytesMax);
  const lengths = [unit, 2 * unit, 7 * unit, 513 * unit, longest - unit, longest];
  return [...new Set(lengths.filter((length) => length > 0 && length <= longest))];
}

function describeData(get: () => BlockDevice): void {
  it('reads back what was written, for every length up to the limit', async () => {
    const device = get();
    for (const length of lengthsOf(device)) {
      const data = pattern(length, length);
      const offset = device.info.minimumBytes * 3;
      expect(await write(device, offset, data)).toBe(BlockStatus.ok);
      const back = await read(device, offset, length);
      expect(back.status).toBe(BlockStatus.ok);
      expect(Buffer.compare(back.bytes, data)).toBe(0);
    }
  });

  it('leaves the bytes around a write alone', async () => {
    const device = get();
    const unit = device.info.minimumBytes;
    const before = pattern(4 * unit, 1);
    await writeInParts(device, 0, before);
    expect(await write(device, unit, pattern(unit, 2))).toBe(BlockStatus.ok);
    const expected = Uint8Array.from(before);
    expected.set(pattern(unit, 2), unit);
    expect(Buffer.compare(await readInParts(device, 0, 4 * unit), expected)).toBe(0);
  });

  it('reaches the first and the last sector', async () => {
    const device = get();
    const { sizeBytes, minimumBytes } = device.info;
    const data = pattern(minimumBytes, 3);
    for (const offset of [0, sizeBytes - minimumBytes]) {
      expect(await write(device, offset, data)).toBe(BlockStatus.ok);
      expect(Buffer.compare((await read(device, offset, minimumBytes)).bytes, data)).toBe(0);
    }
  });

  it('completes a write with force unit access, and a flush behind writes', async () => {
    const device = get();
    const data = pattern(device.info.minimumBytes, 4);
    expect(await write(device, 0, data, { forceUnitAccess: true })).toBe(BlockStatus.ok);
    if (device.info.canFlush) {
      expect(await submit(device, { op: BlockOp.flush })).toBe(BlockStatus.ok);
    }
    expect(Buffer.compare((await read(device, 0, data.length)).bytes, data)).toBe(0);
  });

  it('takes a cache request, or says that it has none', async () => {
    const device = get();
    const expected = device.info.canCache ? BlockStatus.ok : BlockStatus.notSupported;
    const length = device.info.minimumBytes;
    expect(await submit(device, { op: BlockOp.cache, offset: 0, length })).toBe(expected);
  });
}

function describeZeroing(get: () => BlockDevice): void {
  for (const [title, flags] of [
    ['write zeroes', {}],
    ['write zeroes that may make no hole', { noHole: true }],
    ['write zeroes with force unit access', { forceUnitAccess: true }],
  ] as const) {
    it(`${title} makes exactly its range read as zeroes`, async () => {
      const device = get();
      const { canWriteZeroes, minimumBytes: unit, writeZeroesBytesMax } = device.info;
      if (!canWriteZeroes) return;
      const length = Math.min(5 * unit, writeZeroesBytesMax);
      const data = pattern(8 * unit, 5);
      await writeInParts(device, 0, data);
      const fields = { op: BlockOp.writeZeroes, offset: unit, length, ...flags };
      expect(await submit(device, fields)).toBe(BlockStatus.ok);
      data.fill(0, unit, unit + length);
      expect(Buffer.compare(await readInParts(device, 0, 8 * unit), data)).toBe(0);
    });
  }

  it('does fast write zeroes, or refuses them', async () => {
    const device = get();
    const length = device.info.minimumBytes;
    const fields = { op: BlockOp.writeZeroes, offset: 0, length, fastOnly: true };
    const status = await submit(device, fields);
    expect([BlockStatus.ok, BlockStatus.notSupported]).toContain(status);
  });

  it('changes no byte by a trim but to zero, and none outside its range', async () => {
    const device = get();
    const { canTrim, minimumBytes: unit } = device.info;
    if (!canTrim) return;
    const data = pattern(8 * unit, 6);
    await writeInParts(device, 0, data);
    const fields = { op: BlockOp.trim, offset: unit, length: unit };
    expect(await submit(device, fields)).toBe(BlockStatus.ok);
    expectTrimmed(await readInParts(device, 0, 8 * unit), data, unit, 2 * unit);
  });
}

function describeRefusals(get: () => BlockDevice): void {
  const { invalid, noSpace } = BlockStatus;

  for (const [title, op, status] of [
    ['a read', BlockOp.read, invalid],
    ['a write', BlockOp.write, noSpace],
    ['a trim', BlockOp.trim, invalid],
    ['a write zeroes', BlockOp.writeZeroes, noSpace],
  ] as const) {
    it(`refuses ${title} that passes the end, and does no part of it`, async () => {
      const device = get();
      const { sizeBytes, minimumBytes: unit } = device.info;
      const last = pattern(unit, 7);
      expect(await write(device, sizeBytes - unit, last)).toBe(BlockStatus.ok);
      const slab = new Slab(2 * unit);
      for (const offset of [sizeBytes - unit, sizeBytes, sizeBytes + unit, 2 ** 52]) {
        const fields = { op, offset, length: 2 * unit, slab };
        expect(await submit(device, fields)).toBe(status);
      }
      const back = await read(device, sizeBytes - unit, unit);
      expect(Buffer.compare(back.bytes, last)).toBe(0);
    });

    it(`refuses ${title} of no bytes, of negative ones, and at no place`, async () => {
      const device = get();
      const slab = new Slab(4096);
      const unit = device.info.minimumBytes;
      for (const range of [
        { offset: 0, length: 0 },
        { offset: 0, length: -unit },
        { offset: -unit, length: unit },
        { offset: Number.NaN, length: unit },
        { offset: 0, length: Number.NaN },
        { offset: 0.5, length: unit },
      ]) {
        expect(await submit(device, { op, slab, ...range })).toBe(BlockStatus.invalid);
      }
    });

    it(`refuses ${title} that is not made of whole sectors`, async () => {
      const device = get();
      const unit = device.info.minimumBytes;
      if (unit === 1) return;
      const slab = new Slab(4 * unit);
      for (const [offset, length] of [
        [1, unit],
        [0, unit - 1],
        [unit / 2, unit / 2],
        [unit, unit + 1],
      ] as const) {
        expect(await submit(device, { op, offset, length, slab })).toBe(invalid);
      }
    });
  }

  it('refuses a read and a write without memory, or beyond it', async () => {
    const device = get();
    const length = device.info.minimumBytes;
    const slab = new Slab(length);
    for (const op of [BlockOp.read, BlockOp.write]) {
      expect(await submit(device, { op, length })).toBe(invalid);
      expect(await submit(device, { op, length, slab, slabOffset: 1 })).toBe(invalid);
    }
  });

  it('refuses what is longer than its limits, where they are in reach', async () => {
    const device = get();
    const { info } = device;
    const unit = info.minimumBytes;
    for (const [op, limit] of [
      [BlockOp.read, info.transferBytesMax],
      [BlockOp.write, info.transferBytesMax],
      [BlockOp.trim, info.trimBytesMax],
      [BlockOp.writeZeroes, info.writeZeroesBytesMax],
    ] as const) {
      if (limit === 0 || limit + unit > Math.min(info.sizeBytes, 64 * 1024 * 1024)) continue;
      const isTransfer = op === BlockOp.read || op === BlockOp.write;
      const slab = isTransfer ? new Slab(limit + unit) : null;
      expect(await submit(device, { op, length: limit + unit, slab })).toBe(invalid);
    }
  });
}

function describeExtents(get: () => BlockDevice): void {
  it('tells extents that are in order, within the range, and true', async () => {
    const device = get();
    const { minimumBytes: unit, sizeBytes } = device.info;
    await writeInParts(device, 0, pattern(16 * unit, 8));
    for (const [offset, length] of [
      [0, sizeBytes],
      [0, 16 * unit],
      [3 * unit, unit],
      [sizeBytes - unit, unit],
    ] as const) {
      const extents = await device.queryExtents(offset, length);
      expect(extents.length).toBeGreaterThan(0);
      let at = offset;
      for (const extent of extents) {
        expect(extent.lengthBytes).toBeGreaterThan(0);
        if (extent.zero && at < WINDOW_BYTES) {
          const part = Math.min(extent.lengthBytes, WINDOW_BYTES - at);
          expect((await readInParts(device, at, part)).every((byte) => byte === 0)).toBe(true);
        }
        at += extent.lengthBytes;
      }
      expect(at - offset).toBeLessThanOrEqual(length);
    }
  });
}

/** One operation of the property test, in units of the window: `place` and `size` are scaled to the batch. */
interface RandomOp {
  readonly kind: 'read' | 'write' | 'zero' | 'trim' | 'flush';
  readonly gap: number;
  readonly size: number;
  readonly seed: number;
  readonly forceUnitAccess: boolean;
}

const randomOp: fc.Arbitrary<RandomOp> = fc.record({
  kind: fc.constantFrom('read', 'write', 'write', 'write', 'zero', 'trim', 'flush'),
  gap: fc.nat(5000),
  size: fc.integer({ min: 1, max: 20_000 }),
  seed: fc.nat(1000),
  forceUnitAccess: fc.boolean(),
});

function describeParallel(get: () => BlockDevice): void {
  it('agrees with an oracle over random batches of parallel requests that do not overlap', async () => {
    const device = get();
    const oracle = new Uint8Array(WINDOW_BYTES);
    await writeInParts(device, 0, oracle);
    const batches = fc.array(fc.array(randomOp, { minLength: 1, maxLength: 16 }), {
      minLength: 1,
      maxLength: 6,
    });
    await fc.assert(
      fc.asyncProperty(batches, async (rounds) => {
        for (const round of rounds) await runBatch(device, oracle, round);
        const found = await readInParts(device, 0, WINDOW_BYTES);
        expect(Buffer.compare(found, oracle)).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  it('does many requests at once, each of them once', async () => {
    const device = get();
    const unit = device.info.minimumBytes === 1 ? 700 : device.info.minimumBytes;
    const count = Math.min(1000, Math.floor(WINDOW_BYTES / unit));
    const indexes = Array.from({ length: count }, (_, index) => index);
    const written = await Promise.all(
      indexes.map((index) => write(device, index * unit, pattern(unit, index))),
    );
    expect(written.every((status) => status === BlockStatus.ok)).toBe(true);
    const found = await Promise.all(indexes.map((index) => read(device, index * unit, unit)));
    for (const index of indexes) {
      expect(Buffer.compare(found[index]!.bytes, pattern(unit, index))).toBe(0);
    }
  });
}

async function runBatch(
  device: BlockDevice,
  oracle: Uint8Array,
  ops: readonly RandomOp[],
): Promise<void> {
  const { info } = device;
  const unit = info.minimumBytes;
  const scale = (value: number) => Math.ceil(value / unit) * unit;
  const limits = {
    read: info.transferBytesMax,
    write: info.transferBytesMax,
    zero: info.writeZeroesBytesMax,
    trim: info.trimBytesMax,
    flush: 0,
  };
  const work: Promise<void>[] = [];
  let at = 0;
  for (const op of ops) {
    const length = Math.min(scale(op.size), limits[op.kind]);
    const offset = at + Math.floor(op.gap / unit) * unit;
    if (offset + length > WINDOW_BYTES) break;
    if (op.kind === 'flush') work.push(runFlush(device));
    else if (length > 0) work.push(runOp(device, oracle, op, offset, length));
    at = offset + length;
  }
  await Promise.all(work);
}

async function runFlush(device: BlockDevice): Promise<void> {
  const expected = device.info.canFlush ? BlockStatus.ok : BlockStatus.notSupported;
  expect(await submit(device, { op: BlockOp.flush })).toBe(expected);
}

async function runOp(
  device: BlockDevice,
  oracle: Uint8Array,
  op: RandomOp,
  offset: number,
  length: number,
): Promise<void> {
  const { forceUnitAccess } = op;
  const range = { offset, length, forceUnitAccess };
  const expected = oracle.subarray(offset, offset + length);
  switch (op.kind) {
    case 'read': {
      const found = await read(device, offset, length);
      expect(found.status).toBe(BlockStatus.ok);
      expect(Buffer.compare(found.bytes, expected)).toBe(0);
      return;
    }
    case 'write': {
      const data = pattern(length, op.seed);
      expected.set(data);
      expect(await write(device, offset, data, { forceUnitAccess })).toBe(BlockStatus.ok);
      return;
    }
    case 'zero':
      expected.fill(0);
      expect(await submit(device, { op: BlockOp.writeZeroes, ...range })).toBe(BlockStatus.ok);
      return;
    case 'trim': {
      const before = Uint8Array.from(expected);
      expect(await submit(device, { op: BlockOp.trim, ...range })).toBe(BlockStatus.ok);
      const found = await readInParts(device, offset, length);
      expectTrimmed(found, before, 0, length);
      expected.set(found);
      return;
    }
    case 'flush':
  }
}

function describeClose(get: () => BlockDevice): void {
  it('finishes what is in flight before it closes, and refuses what comes later', async () => {
    const device = get();
    const data = pattern(device.info.minimumBytes, 9);
    const writes = [0, 1, 2, 3].map((index) => write(device, index * data.length, data));
    let isClosed = false;
    const closing = device.close().then(() => {
      isClosed = true;
    });
    const statuses = await Promise.all(
      writes.map(async (status) => {
        const ended = await status;
        expect(isClosed).toBe(false);
        return ended;
      }),
    );
    expect(statuses).toEqual([0, 0, 0, 0]);
    await closing;
    expect(await write(device, 0, data)).toBe(BlockStatus.shutdown);
    expect(await submit(device, { op: BlockOp.flush })).toBe(BlockStatus.shutdown);
    await device.close();
  });
}

/** Every byte of the trimmed range is what it was, or zero; every other is what it was. */
function expectTrimmed(found: Uint8Array, before: Uint8Array, start: number, end: number): void {
  const wrong = found.findIndex((byte, index) => {
    const mayBeZero = index >= start && index < end;
    return byte !== before[index] && !(mayBeZero && byte === 0);
  });
  expect(wrong, 'first byte that a trim may not have changed').toBe(-1);
}

async function writeInParts(device: BlockDevice, offset: number, bytes: Uint8Array): Promise<void> {
  const step = Math.min(device.info.transferBytesMax, WINDOW_BYTES);
  for (let at = 0; at < bytes.length; at += step) {
    const part = bytes.subarray(at, at + step);
    expect(await write(device, offset + at, part)).toBe(BlockStatus.ok);
  }
}

async function readInParts(
  device: BlockDevice,
  offset: number,
  length: number,
): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  const step = Math.min(device.info.transferBytesMax, WINDOW_BYTES);
  for (let at = 0; at < length; at += step) {
    const part = await read(device, offset + at, Math.min(step, length - at));
    expect(part.status).toBe(BlockStatus.ok);
    bytes.set(part.bytes, at);
  }
  return bytes;
}
