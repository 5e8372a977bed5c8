import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IscsiProtocolError } from '../../src/iscsi/errors.js';
import { TextCollector, decodeText, encodeText, pairsByKey } from '../../src/iscsi/text.js';
import type { TextPair } from '../../src/iscsi/text.js';

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function collect(bytes: Uint8Array, cuts: readonly number[], bytesMax = 8192): TextPair[] {
  const collector = new TextCollector(bytesMax);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const at = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  for (let index = 1; index < at.length; index++) {
    collector.append(view, at[index - 1]!, at[index]! - at[index - 1]!);
  }
  return collector.take();
}

const arbitraryPair = fc.record({
  key: fc.stringMatching(/^[A-Z][A-Za-z0-9.\-+@_]{0,62}$/).filter((key) => key !== 'CHAP_C'),
  value: fc.string({ unit: 'grapheme', maxLength: 60 }).filter((value) => !value.includes('\0')),
});

describe('text', () => {
  it('writes and reads the pairs of a login', () => {
    const pairs = [
      { key: 'InitiatorName', value: 'iqn.2026-11.io.example:host' },
      { key: 'SessionType', value: 'Normal' },
    ];
    const bytes = bytesOf('InitiatorName=iqn.2026-11.io.example:host\0SessionType=Normal\0');
    expect(encodeText(pairs, 100)).toEqual(bytes);
    expect(decodeText(bytes)).toEqual(pairs);
  });

  it('reads back any pairs, repeated keys included, cut anywhere', () => {
    fc.assert(
      fc.property(fc.array(arbitraryPair), fc.array(fc.nat(200)), (pairs, cuts) => {
        const bytes = encodeText(pairs, 100_000);
        const inside = cuts.filter((cut) => cut <= bytes.length);
        expect(collect(bytes, inside, 100_000)).toEqual(pairs);
      }),
    );
  });

  it('answers arbitrary bytes with pairs or a protocol error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeText(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(IscsiProtocolError);
        }
      }),
    );
  });

  it('keeps an equals sign in a value, and an empty value', () => {
    expect(decodeText(bytesOf('A=b=c\0B=\0'))).toEqual([
      { key: 'A', value: 'b=c' },
      { key: 'B', value: '' },
    ]);
  });

  it('skips padding between pairs', () => {
    expect(decodeText(bytesOf('\0A=1\0\0\0'))).toEqual([{ key: 'A', value: '1' }]);
  });

  it.each([
    ['no terminator', 'A=1'],
    ['no value', 'Key\0'],
    ['no key', '=1\0'],
    ['a key in lower case', 'key=1\0'],
    ['a key with a space', 'A key=1\0'],
    ['a key of 64 characters', `${'K'.repeat(64)}=1\0`],
    ['a value of 256 bytes', `Key=${'v'.repeat(256)}\0`],
    ['a challenge beyond 1024 bytes', `CHAP_C=0x${'00'.repeat(1025)}\0`],
  ])('refuses %s', (_, text) => {
    expect(() => decodeText(bytesOf(text))).toThrow(IscsiProtocolError);
  });

  it('refuses what is not UTF-8', () => {
    expect(() => decodeText(Uint8Array.of(0x41, 0x3d, 0xff, 0))).toThrow(/UTF-8/);
  });

  it('reads an alias or a key of a vendor whatever its bytes are', () => {
    const pair = (key: string) => Buffer.from(`${key}=caf\xe9\x1b\0`, 'latin1');
    for (const key of ['TargetAlias', 'InitiatorAlias', 'X-com.example.key']) {
      expect(decodeText(pair(key))).toEqual([{ key, value: 'caf\\xe9\\x1b' }]);
    }
    for (const key of ['InitiatorName', 'TargetName', 'CHAP_N']) {
      expect(() => decodeText(pair(key))).toThrow(/UTF-8/);
    }
    expect(decodeText(bytesOf('TargetAlias=Büro\0'))[0]?.value).toBe('Büro');
    expect(decodeText(bytesOf(`TargetAlias=${'x'.repeat(300)}\0`))[0]?.value).toHaveLength(255);
  });

  it('takes the longest challenge', () => {
    const text = `CHAP_C=0x${'ab'.repeat(1024)}\0`;
    expect(decodeText(bytesOf(text))[0]?.value).toHaveLength(2050);
  });

  it('refuses to gather or write more than its limit, and is empty again after an error', () => {
    expect(() => collect(new Uint8Array(101), [], 100)).toThrow(/longer than 100/);
    expect(() => encodeText([{ key: 'A', value: 'x'.repeat(100) }], 100)).toThrow(/do not fit/);
    const collector = new TextCollector(100);
    const view = new DataView(bytesOf('broken').buffer);
    collector.append(view, 0, 6);
    expect(() => collector.take()).toThrow(IscsiProtocolError);
    expect(collector.length).toBe(0);
  });

  it('refuses the same key twice where keys must be unique', () => {
    expect(() => pairsByKey(decodeText(bytesOf('A=1\0A=1\0')))).toThrow(/came twice/);
  });
});
