import { describe, expect, it } from 'vitest';
import { NbdExport, fixedExports, termsOf } from '../../src/nbd/export.js';
import { RamDevice } from '../support/nbd/device.js';

const MIB = 1024 * 1024;

function exportOf(name: string, info = {}, readOnly = false): NbdExport {
  return new NbdExport({ name, device: new RamDevice(MIB, info), readOnly });
}

function flagsOf(info = {}, readOnly = false): number {
  return termsOf(exportOf('x', info, readOnly), 32 * MIB).flags;
}

describe('transmission flags', () => {
  it('offer everything that a full device can do', () => {
    // HAS_FLAGS, FLUSH, FUA, TRIM, WRITE_ZEROES, MULTI_CONN, CACHE, FAST_ZERO
    expect(flagsOf()).toBe(0b1101_0110_1101);
  });

  it('offer nothing that the device cannot do', () => {
    const poor = {
      canForceUnitAccess: false,
      canFlush: false,
      canTrim: false,
      canWriteZeroes: false,
      canCache: false,
      readsAreVerified: true,
      multiConnection: false,
    };
    expect(flagsOf(poor)).toBe(1);
  });

  it('offer no command that changes data on a read-only export', () => {
    expect(flagsOf({}, true)).toBe(0b101_0000_0111);
    expect(flagsOf({ readOnly: true })).toBe(0b101_0000_0111);
  });

  it('offer FUA when a flush can stand in for it', () => {
    expect(flagsOf({ canForceUnitAccess: false }) & 8).toBe(8);
  });

  it('tell of a rotational medium', () => {
    expect(flagsOf({ rotational: true }) & 16).toBe(16);
  });
});

describe('size constraints', () => {
  it('are the device’s, within what the server carries', () => {
    const terms = termsOf(exportOf('x', { minimumBytes: 512, preferredBytes: 65536 }), 2 * MIB);
    expect(terms).toMatchObject({
      sizeBytes: MIB,
      minimumBytes: 512,
      preferredBytes: 65536,
      payloadBytesMax: 2 * MIB,
    });
  });

  it('keep the preferred size between 512 and the maximum payload', () => {
    expect(termsOf(exportOf('x', { preferredBytes: 1 }), MIB).preferredBytes).toBe(512);
    const small = termsOf(exportOf('x', { preferredBytes: MIB, transferBytesMax: 5000 }), MIB);
    expect(small).toMatchObject({ preferredBytes: 4096, payloadBytesMax: 5000 });
  });
});

describe('an export', () => {
  it('is refused when NBD cannot carry its name, description or block size', () => {
    const device = new RamDevice(MIB);
    expect(() => exportOf('a'.repeat(4097))).toThrow(/4096/);
    expect(() => exportOf('a\0b')).toThrow(/NUL/);
    expect(() => exportOf('\ud800')).toThrow(/Unicode/);
    expect(() => new NbdExport({ name: 'x', description: 'é'.repeat(2049), device })).toThrow(
      /4098 bytes/,
    );
    expect(() => exportOf('x', { minimumBytes: 131072 })).toThrow(/131072/);
    expect(exportOf('é'.repeat(2048)).name).toHaveLength(2048);
  });
});

describe('a fixed table of exports', () => {
  it('finds exports by name, and lists them in order', () => {
    const table = fixedExports([exportOf('b'), exportOf('a')]);
    expect(table.lookup('a')?.name).toBe('a');
    expect(table.lookup('c')).toBeNull();
    expect([...table.list()].map((item) => item.name)).toEqual(['b', 'a']);
  });

  it('has a default when one is named "", or when it is the only one', () => {
    expect(fixedExports([exportOf('a'), exportOf('')]).lookup('')?.name).toBe('');
    expect(fixedExports([exportOf('a')]).lookup('')?.name).toBe('a');
    expect(fixedExports([exportOf('a'), exportOf('b')]).lookup('')).toBeNull();
    expect(fixedExports([]).lookup('')).toBeNull();
  });

  it('has the default that it is told, unless one is named ""', () => {
    expect(fixedExports([exportOf('a'), exportOf('b')], 'b').lookup('')?.name).toBe('b');
    expect(fixedExports([exportOf('a'), exportOf('')], 'a').lookup('')?.name).toBe('');
    expect(() => fixedExports([exportOf('a')], 'b')).toThrow(/"b" is not one of the exports/);
  });

  it('refuses a name twice', () => {
    expect(() => fixedExports([exportOf('a'), exportOf('a')])).toThrow(/a is named twice/);
  });
});
