import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkRequest } from '../../src/block/check.js';
import { Requester } from '../../src/common/requester.js';
import { Slab } from '../../src/common/slab.js';
import { BlockOp, BlockRequest, BlockStatus } from '../../src/block/device.js';
import { ExtentList, clipExtents } from '../../src/block/extents.js';
import { MemoryBlockDevice } from '../support/block/memory-device.js';

describe('extents', () => {
  it('become one where neighbours are alike', () => {
    const list = new ExtentList();
    list.add(512, true, true);
    list.add(0, false, false);
    list.add(512, true, true);
    list.add(512, true, false);
    expect(list.lengthBytes).toBe(1536);
    expect(list.extents).toEqual([
      { lengthBytes: 1024, hole: true, zero: true },
      { lengthBytes: 512, hole: true, zero: false },
    ]);
  });

  it('are clipped to a part of what they cover, as a slow byte map says', () => {
    const extent = fc.record({
      lengthBytes: fc.integer({ min: 1, max: 20 }),
      hole: fc.boolean(),
      zero: fc.boolean(),
    });
    const mapOf = (extents: readonly { lengthBytes: number; hole: boolean; zero: boolean }[]) =>
      extents.flatMap(({ lengthBytes, hole, zero }) =>
        new Array<string>(lengthBytes).fill(`${hole}${zero}`),
      );
    fc.assert(
      fc.property(fc.array(extent), fc.nat(50), fc.nat(50), (extents, skip, length) => {
        const clipped = clipExtents(extents, skip, length);
        expect(mapOf(clipped)).toEqual(mapOf(extents).slice(skip, skip + length));
      }),
    );
  });
});

describe('a request', () => {
  it('takes a part of another, with all that goes with it', () => {
    const slab = new Slab(4096);
    const whole = new BlockRequest(() => undefined);
    const requester = new Requester();
    const flags = { forceUnitAccess: true, noHole: true, fastOnly: true };
    Object.assign(whole, {
      op: BlockOp.writeZeroes,
      offset: 8192,
      length: 4096,
      slab,
      requester,
      ...flags,
    });
    whole.slabOffset = 512;
    const part = new BlockRequest(() => undefined);
    part.takeRange(whole, 9216, 1024);
    expect(part).toMatchObject({ op: BlockOp.writeZeroes, offset: 9216, length: 1024, ...flags });
    expect(part.slab).toBe(slab);
    expect(part.requester).toBe(requester);
    expect(part.slabOffset).toBe(512 + 1024);
  });
});

describe('checkRequest', () => {
  const { info } = new MemoryBlockDevice({ sizeBytes: 4096 });

  function check(fields: Partial<BlockRequest>, changed: object = {}): BlockStatus {
    const request = Object.assign(new BlockRequest(() => undefined), fields);
    return checkRequest({ ...info, ...changed }, request);
  }

  it('permits no change of a read-only device, and everything else', () => {
    for (const op of [BlockOp.write, BlockOp.trim, BlockOp.writeZeroes]) {
      expect(check({ op, length: 512 }, { readOnly: true })).toBe(BlockStatus.notPermitted);
    }
    expect(check({ op: BlockOp.flush }, { readOnly: true })).toBe(BlockStatus.ok);
    expect(check({ op: BlockOp.cache, length: 512 }, { readOnly: true })).toBe(BlockStatus.ok);
  });

  it('says which operations do not exist', () => {
    expect(check({ op: BlockOp.flush }, { canFlush: false })).toBe(BlockStatus.notSupported);
    expect(check({ op: BlockOp.trim, length: 512 }, { canTrim: false })).toBe(
      BlockStatus.notSupported,
    );
    expect(check({ op: 17 as BlockOp, length: 512 })).toBe(BlockStatus.notSupported);
  });
});
