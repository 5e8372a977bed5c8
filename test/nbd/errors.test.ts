import { describe, expect, it } from 'vitest';
import { BlockStatus } from '../../src/block/device.js';
import { errnoOf } from '../../src/nbd/errors.js';
import { CommandFlag, NbdCommand, NbdErrno } from '../../src/nbd/wire.js';

const WIRE_VALUES = new Set<number>(Object.values(NbdErrno));

describe('the error of a block status', () => {
  it('exists for every status and command, and is one that proto.md allows', () => {
    for (const status of Object.values(BlockStatus)) {
      for (const command of Object.values(NbdCommand)) {
        for (const flags of [0, CommandFlag.FUA, CommandFlag.FAST_ZERO]) {
          const errno = errnoOf(status, command, flags);
          expect(WIRE_VALUES.has(errno)).toBe(true);
          expect(errno === NbdErrno.OK).toBe(status === BlockStatus.ok);
        }
      }
    }
  });

  it('is ENOTSUP only for WRITE_ZEROES with FAST_ZERO', () => {
    const { notSupported } = BlockStatus;
    expect(errnoOf(notSupported, NbdCommand.WRITE_ZEROES, CommandFlag.FAST_ZERO)).toBe(95);
    expect(errnoOf(notSupported, NbdCommand.WRITE_ZEROES, 0)).toBe(22);
    expect(errnoOf(notSupported, NbdCommand.TRIM, 0)).toBe(22);
  });

  it('is EOVERFLOW only for commands without payload', () => {
    expect(errnoOf(BlockStatus.overflow, NbdCommand.TRIM, 0)).toBe(75);
    expect(errnoOf(BlockStatus.overflow, NbdCommand.READ, 0)).toBe(22);
    expect(errnoOf(BlockStatus.overflow, NbdCommand.WRITE, 0)).toBe(22);
  });

  it.each([
    [BlockStatus.notPermitted, 1],
    [BlockStatus.ioError, 5],
    [BlockStatus.noMemory, 12],
    [BlockStatus.invalid, 22],
    [BlockStatus.noSpace, 28],
    [BlockStatus.shutdown, 108],
  ])('of %i is %i for any command', (status, errno) => {
    expect(errnoOf(status, NbdCommand.WRITE, 0)).toBe(errno);
  });
});
