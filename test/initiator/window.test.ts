import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IscsiProtocolError } from '../../src/iscsi/errors.js';
import { CommandWindow, StatusSequence } from '../../src/initiator/window.js';
import { serialAdd, serialLess } from '../../src/iscsi/serial.js';

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('serial numbers', () => {
  it('order as RFC 1982 says, with BigInt arithmetic as the judge', () => {
    fc.assert(
      fc.property(u32, u32, (left, right) => {
        const distance = (BigInt(right) - BigInt(left) + (1n << 32n)) % (1n << 32n);
        fc.pre(distance !== 1n << 31n);
        expect(serialLess(left, right)).toBe(distance !== 0n && distance < 1n << 31n);
      }),
    );
  });

  it('go on past the wrap', () => {
    expect(serialAdd(0xffff_ffff, 1)).toBe(0);
    expect(serialAdd(0, -1)).toBe(0xffff_ffff);
    expect(serialLess(0xffff_fffe, 1)).toBe(true);
    expect(serialLess(1, 0xffff_fffe)).toBe(false);
  });
});

describe('the command window', () => {
  it('lets exactly as many commands through as it has places, wherever it starts', () => {
    fc.assert(
      fc.property(u32, fc.integer({ min: 0, max: 600 }), (start, size) => {
        const window = new CommandWindow(start, start, serialAdd(start, size - 1));
        let sent = 0;
        while (window.isOpen) {
          expect(window.take()).toBe(serialAdd(start, sent));
          sent++;
        }
        expect(sent).toBe(size);
        expect(window.size).toBe(size);
      }),
    );
  });

  it('opens again across the wrap', () => {
    const window = new CommandWindow(0xffff_fffe, 0xffff_fffe, 0xffff_ffff);
    window.take();
    window.take();
    expect(window.isOpen).toBe(false);
    window.update(0xffff_ffff, 0);
    expect(window.isOpen).toBe(true);
    expect(window.take()).toBe(0);
    expect(window.isOpen).toBe(false);
    expect(window.size).toBe(2);
  });

  it('ignores older numbers, and pairs that cannot be', () => {
    const window = new CommandWindow(10, 10, 20);
    for (let count = 0; count < 5; count++) window.take();
    window.update(13, 25);
    window.update(12, 22);
    window.update(14, 12);
    expect([window.expCmdSn, window.maxCmdSn]).toEqual([13, 25]);
  });

  it('is remembered at its widest: commands that a target has make it narrow', () => {
    const window = new CommandWindow(10, 10, 9);
    expect(window.sizeMax).toBe(0);
    window.update(10, 17);
    for (let count = 0; count < 6; count++) window.take();
    window.update(16, 17);
    expect([window.size, window.sizeMax]).toEqual([2, 8]);
    window.update(16, 25);
    expect([window.size, window.sizeMax]).toEqual([10, 10]);
  });

  it('never closes below what a target allowed, but may be shut', () => {
    const window = new CommandWindow(10, 10, 9);
    expect(window.isOpen).toBe(false);
    expect(window.size).toBe(0);
  });

  it('refuses the acknowledgement of a command that was not sent', () => {
    const window = new CommandWindow(10, 10, 20);
    window.take();
    window.update(11, 20);
    expect(() => window.update(12, 20)).toThrow(IscsiProtocolError);
  });

  it('keeps ExpCmdSN behind CmdSN whatever a target says', () => {
    const step = fc.tuple(u32, u32, fc.boolean());
    fc.assert(
      fc.property(u32, fc.array(step), (start, steps) => {
        const window = new CommandWindow(start, start, serialAdd(start, 3));
        for (const [expCmdSn, maxCmdSn, takes] of steps) {
          try {
            window.update(expCmdSn, maxCmdSn);
          } catch (error) {
            expect(error).toBeInstanceOf(IscsiProtocolError);
          }
          if (takes && window.isOpen) window.take();
          expect(serialLess(window.cmdSn, window.expCmdSn)).toBe(false);
        }
      }),
    );
  });
});

describe('the status sequence', () => {
  it('expects the number after the newest one, in any order of arrival and across the wrap', () => {
    const status = new StatusSequence(0xffff_fffe);
    status.received(0xffff_ffff);
    expect(status.expStatSn).toBe(0);
    status.received(0xffff_fffe);
    expect(status.expStatSn).toBe(0);
    status.received(0);
    expect(status.expStatSn).toBe(1);
  });
});
