import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { highOf, lowOf, readSafeU64, safeFromHalves, writeSafeU64 } from '../../src/common/u64.js';

const safe = fc.maxSafeNat();

describe('64-bit fields', () => {
  it('survive the way to the wire and back as Numbers', () => {
    fc.assert(
      fc.property(safe, (value) => {
        const view = new DataView(new ArrayBuffer(10));
        writeSafeU64(view, 1, value);
        expect(view.getBigUint64(1)).toBe(BigInt(value));
        expect(readSafeU64(view, 1)).toBe(value);
        expect(safeFromHalves(highOf(value), lowOf(value))).toBe(value);
      }),
    );
  });

  it('that a Number cannot hold read as -1', () => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, 2n ** 53n - 1n);
    expect(readSafeU64(view, 0)).toBe(Number.MAX_SAFE_INTEGER);
    view.setBigUint64(0, 2n ** 53n);
    expect(readSafeU64(view, 0)).toBe(-1);
    view.setBigUint64(0, 2n ** 64n - 1n);
    expect(readSafeU64(view, 0)).toBe(-1);
  });

  it('have unsigned halves', () => {
    expect(lowOf(0xffff_ffff)).toBe(0xffff_ffff);
    expect(highOf(0xffff_ffff)).toBe(0);
    expect(highOf(0x1_0000_0000)).toBe(1);
    expect(lowOf(0x1_8000_0000)).toBe(0x8000_0000);
  });
});
