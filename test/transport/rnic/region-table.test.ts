import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slab } from '../../../src/common/slab.js';
import { SoftDevice } from '../../../src/transport/rnic/device.js';
import { Fault } from '../../../src/transport/rnic/fault.js';
import { KeySource } from '../../../src/transport/rnic/key-source.js';
import { RegionSpan } from '../../../src/transport/rnic/placement.js';
import type { SoftRegion } from '../../../src/transport/rnic/region.js';
import { SoftMemoryRegion } from '../../../src/transport/rnic/region.js';
import { RegionTable } from '../../../src/transport/rnic/region-table.js';
import { Access } from '../../../src/transport/verbs.js';
import type { MemoryKey, MemoryRegion, ProtectionDomain } from '../../../src/transport/verbs.js';

const slab = new Slab(20_000);

/** What the check means, written so that nobody can doubt it. */
function naiveCheck(
  region: MemoryRegion,
  access: number,
  address: bigint,
  length: bigint,
): { fault: Fault; offset: number } {
  const start = (BigInt(region.addressHigh) << 32n) + BigInt(region.addressLow);
  const end = start + BigInt(region.length);
  const fail = (fault: Fault) => ({ fault, offset: -1 });
  if ((region.access & access) !== access) return fail(Fault.access);
  if (address + length > 1n << 64n) return fail(Fault.wrap);
  if (address < start || address + length > end) return fail(Fault.bounds);
  return { fault: Fault.none, offset: region.offset + Number(address - start) };
}

/** Addresses near the region, near the halves' boundaries, and anywhere. */
function addressArbitrary(region: MemoryRegion): fc.Arbitrary<bigint> {
  const start = (BigInt(region.addressHigh) << 32n) + BigInt(region.addressLow);
  const around = (centre: bigint): fc.Arbitrary<bigint> =>
    fc.bigInt(-70n, 70n).map((delta) => BigInt.asUintN(64, centre + delta));
  return fc.oneof(
    fc.bigInt(0n, BigInt(region.length) + 10n).map((delta) => start + delta),
    around(start),
    around(start + BigInt(region.length)),
    around(start + (1n << 32n)),
    around(start - (1n << 32n)),
    around(start & ~0xffff_ffffn),
    around((start & ~0xffff_ffffn) + (1n << 32n)),
    around(0n),
    fc.bigInt(0n, (1n << 64n) - 1n),
  );
}

describe('region check', () => {
  const device = new SoftDevice('test');
  const domain = device.allocateProtectionDomain();
  const scope = { protectionDomain: domain };
  const regions = [
    { slab, offset: 0, length: 20_000 },
    // The slab's address range crosses a 32-bit boundary at 4096.
    { slab, offset: 4000, length: 200 },
    { slab, offset: 4096, length: 1 },
    { slab, offset: 5000, length: 15_000 },
    { slab, offset: 100, length: 0 },
  ].flatMap((source) =>
    [Access.none, Access.remoteRead, Access.remoteWrite, 7].map((access) =>
      domain.registerMemory(source, access),
    ),
  );

  it('agrees with a check in big integers, at every address and length', () => {
    const lengths = fc.oneof(fc.nat(40), fc.nat(20_000), fc.nat(0xffff_ffff));
    const accesses = fc.constantFrom(Access.remoteRead, Access.remoteWrite, Access.none);
    const attempt = fc.constantFrom(...regions).chain((region) =>
      fc.record({
        region: fc.constant(region),
        address: addressArbitrary(region),
        length: lengths,
        access: accesses,
      }),
    );
    const span = new RegionSpan();
    fc.assert(
      fc.property(attempt, ({ region, address, length, access }) => {
        const expected = naiveCheck(region, access, address, BigInt(length));
        const high = Number(address >> 32n);
        const low = Number(address & 0xffff_ffffn);
        const fault = device.regions.check(region.rkey, scope, access, high, low, length, span);
        expect(fault).toBe(expected.fault);
        if (fault === Fault.none) {
          expect(span.slab).toBe(slab);
          expect(span.offset).toBe(expected.offset);
          expect(span.length).toBe(length);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it('refuses an unknown key, and one of another protection domain', () => {
    const span = new RegionSpan();
    const [region] = regions;
    const { rkey, addressHigh, addressLow } = region!;
    const foreign = { protectionDomain: device.allocateProtectionDomain() };
    const check = (key: number, who: typeof scope): Fault =>
      device.regions.check(key as MemoryKey, who, Access.none, addressHigh, addressLow, 1, span);
    expect(check(rkey, scope)).toBe(Fault.none);
    expect(check(rkey, foreign)).toBe(Fault.notAssociated);
    expect(check(0, scope)).toBe(Fault.invalidStag);
    const keys = new Set<number>(regions.map((known) => known.rkey));
    const unknown = [1, 2, 3].find((key) => !keys.has(key)) ?? 0;
    expect(check(unknown, scope)).toBe(Fault.invalidStag);
  });

  it('ends a grant when the region is deregistered', () => {
    const span = new RegionSpan();
    const region = domain.registerMemory({ slab, offset: 0, length: 10 }, 7);
    const { rkey, addressHigh, addressLow } = region;
    device.regions.check(rkey, scope, Access.remoteRead, addressHigh, addressLow, 10, span);
    expect(span.isLive).toBe(true);
    region.deregister();
    expect(span.isLive).toBe(false);
    expect(
      device.regions.check(rkey, scope, Access.remoteRead, addressHigh, addressLow, 10, span),
    ).toBe(Fault.invalidStag);
  });
});

describe('region addresses', () => {
  it('give every slab a range of its own, beyond what a Number holds', () => {
    const device = new SoftDevice('test');
    const domain = device.allocateProtectionDomain();
    const ranges = Array.from({ length: 20 }, () => {
      const piece = new Slab(8192);
      const region = domain.registerMemory({ slab: piece, offset: 0, length: 8192 }, 7);
      const end = domain.registerMemory({ slab: piece, offset: 8191, length: 1 }, 7);
      // A slab larger than 4 KiB lies across a 32-bit boundary.
      expect(end.addressHigh).toBe(region.addressHigh + 1);
      return (BigInt(region.addressHigh) << 32n) + BigInt(region.addressLow);
    }).sort((left, right) => (left < right ? -1 : 1));
    for (const [index, start] of ranges.entries()) {
      expect(start).toBeGreaterThan(BigInt(Number.MAX_SAFE_INTEGER));
      const next = ranges[index + 1];
      if (next !== undefined) expect(next - start).toBeGreaterThanOrEqual(1n << 32n);
    }
  });
});

/** Keys from a handful of values, so that probing, removal and redrawing all happen. */
function crowdedSource(seed: number): KeySource {
  let state = seed | 1;
  return new KeySource((block) => {
    for (let index = 0; index < block.length; index++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) | 0;
      const value = state >>> 16;
      block[index] = ((value & 0x3f) << 8) | (value & 0x100 ? 0xff : 0);
    }
  });
}

describe('key table', () => {
  it('finds what was filed and nothing else, through any drawing and removing', () => {
    const domain = {} as ProtectionDomain;
    const action = fc.record({ isDraw: fc.boolean(), pick: fc.nat() });
    fc.assert(
      fc.property(fc.integer(), fc.array(action, { maxLength: 300 }), (seed, actions) => {
        const table = new RegionTable(crowdedSource(seed));
        const model = new Map<number, SoftRegion>();
        for (const { isDraw, pick } of actions) {
          if (isDraw && model.size < 60) {
            const region = new SoftMemoryRegion(
              domain,
              table,
              { slab, offset: 0, length: 1 },
              0,
              () => undefined,
            );
            expect(model.has(region.rkey)).toBe(false);
            model.set(region.rkey, region);
          } else if (model.size > 0) {
            const key = [...model.keys()][pick % model.size] ?? 0;
            model.get(key)?.deregister();
            model.delete(key);
          }
          expect(table.count).toBe(model.size);
        }
        for (let key = 0; key < 0x4000; key += 0xff)
          expect(table.find(key as MemoryKey)).toBe(model.get(key) ?? null);
        for (const [key, region] of model) expect(table.find(key as MemoryKey)).toBe(region);
      }),
    );
  });

  it('grows without losing a key', () => {
    const domain = new SoftDevice('test').allocateProtectionDomain();
    const table = new RegionTable();
    const regions = Array.from(
      { length: 5000 },
      () => new SoftMemoryRegion(domain, table, { slab, offset: 0, length: 1 }, 0, () => undefined),
    );
    expect(regions.every((region) => table.find(region.rkey) === region)).toBe(true);
    for (const region of regions) region.deregister();
    expect(table.count).toBe(0);
    expect(regions.some((region) => table.find(region.rkey) !== null)).toBe(false);
  });
});

describe('key source', () => {
  it('never gives out 0', () => {
    let block_ = 0;
    const source = new KeySource((block) => block.fill(block_++ === 0 ? 0 : 7, 0, 1000));
    expect(Array.from({ length: 10 }, () => source.draw())).not.toContain(0);
  });

  it('spreads over the whole 32-bit range', () => {
    const source = new KeySource();
    const quarters = new Set(Array.from({ length: 400 }, () => source.draw() >>> 30));
    expect(quarters.size).toBe(4);
  });
});
