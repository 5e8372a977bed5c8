import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  escapeJson,
  escapeJsonTwice,
  printable,
  printableBytes,
  quoted,
  quotedBytes,
} from '../../src/common/printable.js';

const ESCAPE = String.fromCharCode(0x1b);
const OVERRIDE = String.fromCharCode(0x202e);
// All that moves a cursor, turns a line around, or cannot be seen.
const UNSAFE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;
const anyText = fc.string({ unit: 'binary' });

describe("a stranger's text", () => {
  it.each([
    [`${ESCAPE}[2J`, '\\x1b[2J'],
    ['a\tb\r\nc\0', 'a\\x09b\\x0d\\x0ac\\x00'],
    ['\u009b31m\u007f', '\\x9b31m\\x7f'],
    [`${OVERRIDE}txt.exe`, '\\u202etxt.exe'],
    ['a\u200bb\ufeff\u2028', 'a\\u200bb\\ufeff\\u2028'],
    ['\u{e0041}', '\\u{e0041}'],
    ['\ud800', '\\ud800'],
    ['grün 江 🙂 C:\\x', 'grün 江 🙂 C:\\x'],
  ])('like %j reaches a terminal as %s', (text, expected) => {
    expect(printable(text)).toBe(expected);
  });

  it('is harmless whatever it is', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(printable(text)).not.toMatch(UNSAFE);
        expect(quoted(text)).not.toMatch(UNSAFE);
      }),
    );
  });

  it('is cut and quoted in messages', () => {
    expect(quoted(`a"${ESCAPE}`)).toBe('"a\\"\\u001b"');
    expect(quoted('x'.repeat(200))).toBe(`"${'x'.repeat(80)}..."`);
    expect(quotedBytes(Buffer.from('a\xff', 'latin1'))).toBe('"a\\xff"');
    expect(quotedBytes(Buffer.alloc(200, 'x'))).toBe(`"${'x'.repeat(80)}..."`);
  });
});

describe("a stranger's bytes", () => {
  it.each([
    [[0x41, 0xff, 0xfe], 'A\\xff\\xfe'],
    [[0xc3, 0xa4, 0xc3], 'ä\\xc3'],
    [[0xe2, 0x80, 0xae], '\\u202e'],
    [[0xed, 0xa0, 0x80], '\\xed\\xa0\\x80'],
    [[0x5c, 0x78], '\\\\x'],
  ])('%j are shown as %s', (bytes, expected) => {
    expect(printableBytes(Uint8Array.from(bytes))).toBe(expected);
  });

  it('are harmless, and never look like others', () => {
    const bytes = fc.uint8Array({ maxLength: 12 });
    fc.assert(
      fc.property(bytes, bytes, (one, other) => {
        expect(printableBytes(one)).not.toMatch(UNSAFE);
        const isSame = Buffer.compare(one, other) === 0;
        expect(printableBytes(one) === printableBytes(other)).toBe(isSame);
      }),
    );
  });
});

describe('JSON to be printed', () => {
  it('means the same, and is harmless', () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const json = escapeJson(JSON.stringify({ text }, null, 2));
        expect(json.replaceAll('\n', '')).not.toMatch(UNSAFE);
        expect(JSON.parse(json)).toEqual({ text });
      }),
    );
  });

  it('is harmless even when its strings are, but for line ends', () => {
    const unsafe = `\\u001b ${ESCAPE} \\\\ ${OVERRIDE} \r\b\f \n`;
    const line = escapeJsonTwice(`${JSON.stringify({ msg: unsafe })}\n`);
    expect(JSON.parse(line)).toEqual({
      msg: '\\u001b \\u001b \\\\ \\u202e \\r\\b\\f \n',
    });
    fc.assert(
      fc.property(anyText, (text) => {
        const { msg } = JSON.parse(escapeJsonTwice(JSON.stringify({ msg: text }))) as {
          msg: string;
        };
        expect(msg.replace(/[\n\t]/g, '')).not.toMatch(UNSAFE);
      }),
    );
  });
});
