import { describe, expect, it } from 'vitest';
import { designatorText } from '../../src/scsi/designator.js';
import { Association, CodeSet, DesignatorType } from '../../src/scsi/wire.js';

function textOf(...bytes: number[]): string {
  return designatorText({
    association: Association.logicalUnit,
    type: DesignatorType.scsiNameString,
    codeSet: CodeSet.utf8,
    bytes: Uint8Array.from(bytes),
  }).value;
}

describe('a designator in text', () => {
  it('is without the zeroes and spaces that fill it up', () => {
    expect(textOf(0x20, 0x61, 0xc3, 0xa4, 0x20, 0, 0)).toBe('aä');
  });

  it('gives no orders to a terminal', () => {
    expect(textOf(0x61, 0x1b, 0xe2, 0x80, 0xae)).toBe('a\\x1b\\u202e');
  });

  it('differs when its bytes do, UTF-8 or not', () => {
    expect(textOf(0x61, 0xfe)).not.toBe(textOf(0x61, 0xff));
    expect(textOf(0x01)).not.toBe(textOf(0x02));
  });
});
