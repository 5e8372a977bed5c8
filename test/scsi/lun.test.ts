import { describe, expect, it } from 'vitest';
import { LUN_MAX, LUN_UNSUPPORTED, decodeLun, encodeLun } from '../../src/scsi/lun.js';

describe('LUN fields', () => {
  it('uses peripheral addressing below 256 and flat addressing above', () => {
    expect(encodeLun(0)).toBe(0);
    expect(encodeLun(255)).toBe(0x00ff0000);
    expect(encodeLun(256)).toBe(0x41000000);
    expect(encodeLun(LUN_MAX)).toBe(0x7fff0000);
  });

  it('reads back every LUN that it can write', () => {
    const luns = Array.from({ length: LUN_MAX + 1 }, (_, lun) => lun);
    expect(luns.filter((lun) => decodeLun(encodeLun(lun), 0) !== lun)).toEqual([]);
  });

  it('reads flat addressing below 256 too', () => {
    expect(decodeLun(0x40050000, 0)).toBe(5);
  });

  it.each([
    ['a second level', 0x00010001, 0],
    ['a low half', 0x00010000, 1],
    ['a bus other than 0', 0x01010000, 0],
    ['logical unit addressing', 0x80010000, 0],
    ['the well-known REPORT LUNS unit', 0xc1010000, 0],
  ])('does not take %s for a LUN', (_, high, low) => {
    expect(decodeLun(high, low)).toBe(LUN_UNSUPPORTED);
  });
});
