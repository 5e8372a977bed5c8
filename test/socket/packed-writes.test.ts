import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PACKED_BYTES_MAX, PackedWrites } from '../../src/socket/packed-writes.js';

const bytesOf = (length: number, seed: number): Buffer => Buffer.alloc(length, seed + 1);

describe('packed writes', () => {
  it('put short writes side by side', () => {
    const packed = new PackedWrites();
    expect(packed.begin(Buffer.from('ab'), Buffer.from('cd'))).toBe(true);
    expect(packed.append(Buffer.from('e'))).toBe(true);
    expect(packed.runBytes).toBe(5);
    expect(packed.take()?.toString()).toBe('abcde');
    expect(packed.runBytes).toBe(0);
    expect(packed.take()).toBeNull();
  });

  it('leave a run that was taken as it is, until its area is given back', () => {
    const packed = new PackedWrites();
    packed.begin(Buffer.from('ab'), Buffer.from('cd'));
    const first = packed.take();
    packed.begin(Buffer.from('ef'), Buffer.from('gh'));
    const second = packed.take();
    const area = packed.detach();
    packed.begin(Buffer.from('ij'), Buffer.from('kl'));
    expect([first, second, packed.take()].map(String)).toEqual(['abcd', 'efgh', 'ijkl']);
    if (area !== null) packed.giveBack(area);
    packed.detach();
    packed.begin(Buffer.from('mn'), Buffer.from('op'));
    expect(packed.take()?.buffer).toBe(area?.buffer);
  });

  it('refuse what is too long for the rest of the area, and change nothing then', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: PACKED_BYTES_MAX }), { maxLength: 200 }),
        (lengths) => {
          const packed = new PackedWrites();
          const kept: Buffer[] = [];
          lengths.forEach((length, index) => {
            const bytes = bytesOf(length, index);
            if (packed.append(bytes)) kept.push(bytes);
          });
          expect(packed.runBytes).toBe(Buffer.concat(kept).length);
          if (kept.length > 0) expect(packed.take()).toEqual(Buffer.concat(kept));
        },
      ),
    );
  });
});
