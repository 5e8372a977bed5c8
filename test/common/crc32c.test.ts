import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { crc32c, crc32cByTable, crc32cIsNative } from '../../src/common/crc32c.js';

/** The definition, bit by bit: what the fast versions must equal. */
function naiveCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return ~crc >>> 0;
}

const ascending = Uint8Array.from({ length: 32 }, (_, index) => index);
const descending = Uint8Array.from({ length: 32 }, (_, index) => 31 - index);
const readCommand = Buffer.from(
  '01c00000000000000000000000000000140000000000040000000014000000182800000000000000' +
    '0200000000000000',
  'hex',
);

describe('crc32c', () => {
  it.each([
    ['32 bytes of zeros', new Uint8Array(32), 0x8a9136aa],
    ['32 bytes of ones', new Uint8Array(32).fill(0xff), 0x62a8ab43],
    ['32 incrementing bytes', ascending, 0x46dd794e],
    ['32 decrementing bytes', descending, 0x113fdb5c],
    ['an iSCSI SCSI Read command', readCommand, 0xd9963a56],
    ['the digits 1 to 9', Buffer.from('123456789'), 0xe3069283],
    ['nothing', new Uint8Array(0), 0],
  ])('matches the vector of RFC 7143 and RFC 3720 for %s', (_name, bytes, expected) => {
    expect(crc32c(bytes)).toBe(expected);
    expect(crc32cByTable(bytes, 0, bytes.length)).toBe(expected);
    expect(naiveCrc32c(bytes)).toBe(expected);
  });

  it('equals the definition for any bytes and any part of them, by table and as chosen by length', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 700 }),
        fc.nat(700),
        fc.nat(700),
        (bytes, left, right) => {
          const start = Math.min(left, right, bytes.length);
          const end = Math.min(Math.max(left, right), bytes.length);
          const expected = naiveCrc32c(bytes.subarray(start, end));
          expect(crc32c(bytes, start, end)).toBe(expected);
          expect(crc32cByTable(bytes, start, end)).toBe(expected);
        },
      ),
    );
  });

  it('gives the same for a whole and for its parts in a row, wherever they are cut', () => {
    const bytes = Uint8Array.from({ length: 900 }, (_, index) => (index * 31) & 0xff);
    const whole = crc32c(bytes);
    for (let cut = 0; cut <= bytes.length; cut++) {
      expect(crc32c(bytes, cut, bytes.length, crc32c(bytes, 0, cut))).toBe(whole);
    }
  });

  it('says whether native code is used', () => {
    expect(typeof crc32cIsNative).toBe('boolean');
  });
});
