import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ResponseNumbers } from '../../../src/iscsi/wire.js';
import { TargetWindow } from '../../../src/target/session/target-window.js';

describe('the window of a session', () => {
  it('takes commands in order and says when one is missing', () => {
    const window = new TargetWindow(10, 1, 4);
    expect(window.admit(10, false)).toBe('accept');
    expect(window.admit(12, false)).toBe('gap');
    expect(window.admit(11, false)).toBe('accept');
    expect(window.admit(10, false)).toBe('drop');
    expect(window.admit(99, true)).toBe('accept');
  });

  it('is closed when as many as it holds are outstanding, and opens as they end', () => {
    const window = new TargetWindow(0xffff_fffe, 1, 2);
    expect(window.admit(0xffff_fffe, false)).toBe('accept');
    expect(window.admit(0xffff_ffff, false)).toBe('accept');
    expect(window.admit(0, false)).toBe('drop');
    window.ended();
    expect(window.maxCmdSn).toBe(0);
    expect(window.admit(0, false)).toBe('accept');
    expect(window.admit(1, false)).toBe('drop');
  });

  it('never has more outstanding than its size, wherever it starts', () => {
    fc.assert(
      fc.property(
        fc.nat(0xffff_ffff),
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.boolean(), { maxLength: 100 }),
        (start, size, ends) => {
          const window = new TargetWindow(start, 0, size);
          let next = start;
          let outstanding = 0;
          for (const isEnd of ends) {
            if (isEnd && outstanding > 0) {
              window.ended();
              outstanding -= 1;
            } else {
              const admission = window.admit(next, false);
              expect(admission).toBe(outstanding < size ? 'accept' : 'drop');
              if (admission === 'accept') {
                next = (next + 1) >>> 0;
                outstanding += 1;
              }
            }
          }
        },
      ),
    );
  });

  it('numbers responses, but not those that nobody asked for', () => {
    const window = new TargetWindow(5, 0xffff_ffff, 8);
    const pdu = new ResponseNumbers();
    window.stamp(pdu);
    expect(pdu).toMatchObject({ statSn: 0xffff_ffff, expCmdSn: 5, maxCmdSn: 12 });
    window.stampUnsolicited(pdu);
    window.stampUnsolicited(pdu);
    expect(pdu.statSn).toBe(0);
    window.stamp(pdu);
    expect(pdu.statSn).toBe(0);
  });
});
