import { describe, expect, it } from 'vitest';
import { Carry } from '../../src/nbd/carry.js';

describe('a carry', () => {
  it('keeps what was appended until it is parsed, piece by piece', () => {
    const carry = new Carry(8);
    expect(carry.append(Buffer.from('xabcdx'), 1, 5)).toBe(true);
    expect(carry.length).toBe(4);
    const seen: string[] = [];
    carry.consume((bytes, view, start, end) => {
      seen.push(bytes.toString('latin1', start, end));
      expect(view.getUint8(start)).toBe(0x61);
      return start + 3;
    });
    carry.consume((bytes, _view, start, end) => {
      seen.push(bytes.toString('latin1', start, end));
      return end;
    });
    expect(seen).toEqual(['abcd', 'd']);
    expect(carry.length).toBe(0);
  });

  it('refuses more than its capacity, and changes nothing then', () => {
    const carry = new Carry(4);
    expect(carry.append(Buffer.alloc(3), 0, 3)).toBe(true);
    expect(carry.append(Buffer.alloc(2), 0, 2)).toBe(false);
    expect(carry.length).toBe(3);
  });

  it('may be cleared by whoever parses it', () => {
    const carry = new Carry(4);
    carry.append(Buffer.alloc(4), 0, 4);
    carry.consume((_bytes, _view, start) => {
      carry.clear();
      return start + 1;
    });
    expect(carry.length).toBe(0);
    expect(carry.append(Buffer.alloc(4), 0, 4)).toBe(true);
  });

  it('that is empty calls nobody', () => {
    new Carry(4).consume(() => {
      throw new Error('called');
    });
  });
});
