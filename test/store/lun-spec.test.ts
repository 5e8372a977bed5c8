import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { parseLunSpec, parseSize } from '../../src/store/lun-spec.js';
import { openStore } from '../../src/store/open-store.js';

describe('the specification of a LUN', () => {
  it('names a size in bytes or powers of 1024', () => {
    expect(parseLunSpec('memory:256M')).toEqual({ kind: 'memory', sizeBytes: 268_435_456 });
    expect(parseLunSpec('memory:1t')).toEqual({ kind: 'memory', sizeBytes: 2 ** 40 });
    expect(parseLunSpec('memory:512')).toEqual({ kind: 'memory', sizeBytes: 512 });
  });

  it('names a file with or without a size', () => {
    expect(parseLunSpec('file:/a/b.img')).toEqual({
      kind: 'file',
      path: '/a/b.img',
      sizeBytes: null,
    });
    expect(parseLunSpec('file:disk.img:1G')).toEqual({
      kind: 'file',
      path: 'disk.img',
      sizeBytes: 2 ** 30,
    });
    expect(parseLunSpec('file:a:b')).toEqual({ kind: 'file', path: 'a:b', sizeBytes: null });
    expect(parseLunSpec('file:a:b:4K')).toEqual({ kind: 'file', path: 'a:b', sizeBytes: 4096 });
  });

  it.each([
    ['tape:1M', /neither memory:SIZE nor file:PATH/],
    ['', /neither/],
    ['memory:', /needs a size/],
    ['memory:12Q', /needs a size/],
    ['memory:-1', /needs a size/],
    ['memory:0', /size of 0/],
    ['memory:1000', /not a multiple of 512/],
    ['memory:64T', /larger than the limit/],
    ['file:', /needs a path/],
    ['file:a\0b', /NUL/],
    ['file:x:0', /size of 0/],
    ['file:x:513', /not a multiple/],
    ['file:x:9999999999999999', /is too large/],
  ])('%j is refused with one sentence', (text, message) => {
    expect(() => parseLunSpec(text)).toThrow(ConfigError);
    expect(() => parseLunSpec(text)).toThrow(message);
  });

  it('is parsed or refused, whatever it is', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((rest) => `file:${rest}`),
        ),
        (text) => {
          try {
            parseLunSpec(text);
          } catch (error) {
            expect(error).toBeInstanceOf(ConfigError);
          }
        },
      ),
    );
  });

  it('has no size that a Number cannot hold', () => {
    expect(parseSize('9007199254740991')).toBe(2 ** 53 - 1);
    expect(parseSize('9007199254740992')).toBeNull();
    expect(parseSize('9999999T')).toBeNull();
  });
});

describe('opening a store', () => {
  it('refuses block lengths other than 512 and 4096, and sizes between blocks', async () => {
    const spec = parseLunSpec('memory:1536');
    await expect(openStore(spec, { blockBytes: 1024 })).rejects.toThrow(ConfigError);
    await expect(openStore(spec, { blockBytes: 4096 })).rejects.toThrow(/whole number of blocks/);
    const store = await openStore(parseLunSpec('memory:8K'), { blockBytes: 4096, readOnly: true });
    expect(store.blockBytes).toBe(4096);
    expect(store.readOnly).toBe(true);
  });
});
