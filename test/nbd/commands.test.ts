import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { BlockDeviceInfo } from '../../src/block/device.js';
import { checkNbdRequest } from '../../src/nbd/commands.js';
import { NbdExport, termsOf } from '../../src/nbd/export.js';
import { CMD, DF, FAST_ZERO, FUA, NO_HOLE } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';

const MIB = 1024 * 1024;
const [EPERM, EINVAL, ENOSPC, EOVERFLOW, ENOTSUP] = [1, 22, 28, 75, 95];

interface Case {
  readonly command: number;
  readonly offset?: number;
  readonly length?: number;
  readonly flags?: number;
  readonly offsetHigh?: number;
}

function check(
  { command, offset = 0, length = 0, flags = 0, offsetHigh = 0 }: Case,
  info: Partial<BlockDeviceInfo> = {},
): number {
  const device = new RamDevice(MIB, info);
  const terms = termsOf(new NbdExport({ name: 'x', device }), MIB / 2);
  const header = {
    magic: 0,
    flags,
    command,
    cookieHigh: 0,
    cookieLow: 0,
    offsetHigh,
    offsetLow: offset,
    lengthHigh: 0,
    lengthLow: length,
  };
  return checkNbdRequest(header, terms)?.errno ?? 0;
}

const RANGED = [CMD.read, CMD.write, CMD.trim, CMD.cache, CMD.writeZeroes];

describe('a request', () => {
  it('passes with its range inside the export, up to the last byte', () => {
    for (const command of RANGED) {
      expect(check({ command, offset: MIB - 512, length: 512 })).toBe(0);
    }
  });

  it('past the end gets ENOSPC when it writes, EINVAL otherwise', () => {
    for (const command of RANGED) {
      const expected = command === CMD.write || command === CMD.writeZeroes ? ENOSPC : EINVAL;
      expect(check({ command, offset: MIB - 511, length: 512 })).toBe(expected);
      expect(check({ command, offset: MIB + 1, length: 0 })).toBe(expected);
      expect(check({ command, offset: 0xffffffff, length: 0xffffffff })).toBe(expected);
      expect(check({ command, offsetHigh: 0xffffffff, offset: 0xffffffff, length: 1 })).toBe(
        expected,
      );
    }
  });

  it('that is unknown gets EINVAL', () => {
    for (const command of [7, 8, 9, 0xffff]) expect(check({ command })).toBe(EINVAL);
  });

  it('that changes a read-only export gets EPERM, whatever else is wrong with it', () => {
    for (const command of [CMD.write, CMD.trim, CMD.writeZeroes]) {
      expect(check({ command, length: 512 }, { readOnly: true })).toBe(EPERM);
      expect(check({ command, length: 512, flags: FUA }, { readOnly: true })).toBe(EPERM);
    }
    expect(check({ command: CMD.read, length: 512 }, { readOnly: true })).toBe(0);
    expect(check({ command: CMD.flush }, { readOnly: true })).toBe(0);
  });

  it('that the export does not offer gets EINVAL', () => {
    expect(check({ command: CMD.flush }, { canFlush: false })).toBe(EINVAL);
    expect(check({ command: CMD.trim, length: 512 }, { canTrim: false })).toBe(EINVAL);
    expect(check({ command: CMD.cache, length: 512 }, { canCache: false })).toBe(EINVAL);
    expect(check({ command: CMD.writeZeroes, length: 512 }, { canWriteZeroes: false })).toBe(
      EINVAL,
    );
  });

  it('may carry FUA on every command when FUA is offered, and on none otherwise', () => {
    for (const command of [...RANGED, CMD.flush]) {
      const length = command === CMD.flush ? 0 : 512;
      expect(check({ command, length, flags: FUA })).toBe(0);
      const none = { canForceUnitAccess: false, canFlush: command === CMD.flush };
      if (command !== CMD.flush) expect(check({ command, length, flags: FUA }, none)).toBe(EINVAL);
    }
  });

  it('gets EINVAL for a flag that is unknown or not its own', () => {
    for (const command of [...RANGED, CMD.flush]) {
      for (let bit = 1; bit < 16; bit++) {
        const flags = 1 << bit;
        const isOwn = command === CMD.writeZeroes && (flags === NO_HOLE || flags === FAST_ZERO);
        const length = command === CMD.flush ? 0 : 512;
        expect(check({ command, length, flags })).toBe(isOwn ? 0 : EINVAL);
      }
    }
    expect(check({ command: CMD.read, length: 512, flags: DF })).toBe(EINVAL);
  });

  it('that is not a multiple of the minimum block size gets EINVAL', () => {
    const info = { minimumBytes: 512 };
    for (const command of RANGED) {
      expect(check({ command, offset: 512, length: 512 }, info)).toBe(0);
      expect(check({ command, offset: 1, length: 512 }, info)).toBe(EINVAL);
      expect(check({ command, offset: 512, length: 511 }, info)).toBe(EINVAL);
    }
  });

  it('too long for its payload gets EINVAL', () => {
    expect(check({ command: CMD.read, length: MIB / 2 })).toBe(0);
    expect(check({ command: CMD.read, length: MIB / 2 + 1 })).toBe(EINVAL);
    expect(check({ command: CMD.write, length: MIB / 2 + 1 })).toBe(EINVAL);
  });

  it('without payload and too long for the device gets EOVERFLOW, or ENOTSUP when it has to be fast', () => {
    const info = { trimBytesMax: 65536, writeZeroesBytesMax: 65536 };
    expect(check({ command: CMD.trim, length: 65536 }, info)).toBe(0);
    expect(check({ command: CMD.trim, length: 65537 }, info)).toBe(EOVERFLOW);
    expect(check({ command: CMD.writeZeroes, length: 65537 }, info)).toBe(EOVERFLOW);
    const fast = { command: CMD.writeZeroes, length: 65537, flags: FAST_ZERO };
    expect(check(fast, info)).toBe(ENOTSUP);
  });

  it('to flush must have no range', () => {
    expect(check({ command: CMD.flush })).toBe(0);
    expect(check({ command: CMD.flush, length: 1 })).toBe(EINVAL);
    expect(check({ command: CMD.flush, offset: 1 })).toBe(EINVAL);
    expect(check({ command: CMD.flush, offsetHigh: 1 })).toBe(EINVAL);
  });

  it('that passes always lies inside the export, whatever the numbers', () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    fc.assert(
      fc.property(
        fc.constantFrom(...RANGED),
        u32,
        u32,
        u32,
        (command, offsetHigh, offset, length) => {
          const errno = check({ command, offsetHigh, offset, length });
          const end = BigInt(offsetHigh) * 2n ** 32n + BigInt(offset) + BigInt(length);
          if (errno === 0) expect(end <= BigInt(MIB)).toBe(true);
        },
      ),
    );
  });
});
