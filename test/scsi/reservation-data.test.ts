import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import * as wire from '../../src/scsi/wire.js';

const PORT: wire.InitiatorPort = {
  initiatorName: 'iqn.2026-11.io.example:a',
  isidHigh: 0x4000_0137,
  isidLow: 0x0001,
};
const PORT_NAME = 'iqn.2026-11.io.example:a,i,0x400001370001';
const KEY = '0123456789abcdef';
const { exclusiveAccess, writeExclusiveAllRegistrants } = wire.ReservationType;

/** What `encode` writes into memory full of 0xee. */
function encoded(encode: (view: DataView) => number): string {
  const bytes = new Uint8Array(4096).fill(0xee);
  const length = encode(new DataView(bytes.buffer));
  return Buffer.from(bytes.subarray(0, length)).toString('hex');
}

function viewOf(hex: string): DataView {
  return new DataView(Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex')).buffer);
}

const hexOf = (text: string) => Buffer.from(text).toString('hex');

describe('PERSISTENT RESERVE IN data', () => {
  it('has the bytes of SPC-4', () => {
    expect(encoded((view) => wire.encodeReservationKeys(view, 0, 7, []))).toBe('0000000700000000');
    expect(encoded((view) => wire.encodeReservationKeys(view, 0, 7, [KEY, wire.NO_KEY]))).toBe(
      `0000000700000010${KEY}${wire.NO_KEY}`,
    );
    expect(encoded((view) => wire.encodeReservation(view, 0, 8, null))).toBe('0000000800000000');
    const held = { key: KEY, type: exclusiveAccess };
    expect(encoded((view) => wire.encodeReservation(view, 0, 8, held))).toBe(
      `0000000800000010${KEY}0000000000030000`,
    );
  });

  it('tells capabilities: all types, and what a power loss leaves', () => {
    const of = (canPersist: boolean, persists: boolean) =>
      encoded((view) => wire.encodeReservationCapabilities(view, 0, { canPersist, persists }));
    expect(of(false, false)).toBe('00081cb0ea010000');
    expect(of(true, false)).toBe('00081db0ea010000');
    expect(of(true, true)).toBe('00081db1ea010000');
  });

  it('tells the full status of each registration, with its TransportID', () => {
    const status: wire.FullStatus = {
      key: KEY,
      port: PORT,
      allTargetPorts: true,
      holds: writeExclusiveAllRegistrants,
      relativeTargetPort: 1,
    };
    const transportId = `4500002c${hexOf(PORT_NAME)}000000`;
    expect(Buffer.from(transportId, 'hex')).toHaveLength(48);
    const one = `${KEY}00000000${'0307'}00000000000100000030${transportId}`;
    const other = `${KEY}00000000${'0000'}00000000000100000030${transportId}`;
    const both = [status, { ...status, allTargetPorts: false, holds: null }];
    expect(encoded((view) => wire.encodeFullStatus(view, 0, 1, both))).toBe(
      `00000001${(2 * 72).toString(16).padStart(8, '0')}${one}${other}`,
    );
  });
});

describe('a PERSISTENT RESERVE OUT list', () => {
  const list = (flags: string, behind = '') =>
    viewOf(`0123456789abcdef fedcba9876543210 00000000 ${flags} 000000 ${behind}`);

  it('is read field by field', () => {
    expect(wire.decodeReserveOutList(list('00'), 0)).toEqual({
      key: KEY,
      serviceActionKey: 'fedcba9876543210',
      specifiesPorts: false,
      allTargetPorts: false,
      persists: false,
    });
    expect(wire.decodeReserveOutList(list('0d'), 0)).toMatchObject({
      specifiesPorts: true,
      allTargetPorts: true,
      persists: true,
    });
  });

  const id = (name: string, first = '45') => {
    const length = (4 + Buffer.byteLength(name) + 4) & ~3;
    const text = hexOf(name).padEnd(2 * (length - 4), '0');
    return `${first}00${(length - 4).toString(16).padStart(4, '0')}${text}`;
  };
  const ports = (ids: string, length = Buffer.from(ids, 'hex').length) =>
    list('08', length.toString(16).padStart(8, '0') + ids);
  const read = (view: DataView) => wire.decodeSpecifiedPorts(view, 0, view.byteLength);

  it('names initiator ports', () => {
    const second = { initiatorName: 'iqn.2026-11.io.example:bb', isidHigh: 0, isidLow: 0x1f };
    const ids = id(PORT_NAME) + id('iqn.2026-11.io.example:bb,i,0x1F');
    expect(read(ports(ids))).toEqual([PORT, second]);
    expect(read(ports(''))).toEqual([]);
  });

  it.each([
    ['an initiator device instead of a port', ports(id('iqn.2026-11.io.example:a', '05'))],
    ['another protocol', ports(id(PORT_NAME, '46'))],
    ['a name without ISID', ports(id('iqn.2026-11.io.example:a'))],
    ['an ISID that is too long', ports(id(`${PORT_NAME}00`))],
    ['an ISID that is no number', ports(id('iqn.2026-11.io.example:a,i,0xabcg'))],
    ['a name without an end', ports(`45000014${hexOf('iqn.a.example,i,0x12')}`)],
    ['a TransportID that is too short', ports(`45000010${hexOf('iqn.a.x,i,0x1')}000000`)],
    ['one that is no multiple of four', ports(`45000015${'00'.repeat(21)}`)],
    ['one that is cut', ports(id(PORT_NAME).slice(0, -8))],
    ['more than there is', ports(id(PORT_NAME), 1000)],
    ['no length', list('08')],
  ])('is refused with %s', (_what, view) => {
    expect(read(view)).toBeNull();
  });

  it('of any bytes is read within its bounds', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 24, maxLength: 200 }), (bytes) => {
        const view = new DataView(Uint8Array.from(bytes).buffer);
        wire.decodeReserveOutList(view, 0);
        read(view);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('the name of an initiator port', () => {
  it('survives the round trip, in a TransportID as well', () => {
    const name = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 100 })
      .filter((text) => !text.includes('\0') && !/\p{Surrogate}/u.test(text));
    const port = fc.record({
      initiatorName: name,
      isidHigh: fc.nat(0xffff_ffff),
      isidLow: fc.nat(0xffff),
    });
    fc.assert(
      fc.property(port, (expected) => {
        const text = wire.initiatorPortName(expected);
        expect(wire.parseInitiatorPortName(text)).toEqual(expected);
        const bytes = new Uint8Array(2048);
        const view = new DataView(bytes.buffer);
        const length = wire.encodeTransportId(view, 28, expected);
        expect(length % 4).toBe(0);
        view.setUint32(24, length);
        expect(wire.decodeSpecifiedPorts(view, 0, 28 + length)).toEqual([expected]);
      }),
    );
  });

  it.each(['', 'iqn.a', ',i,0x1', 'iqn.a,t,0x0001', 'iqn.a,i,0x', 'iqn\0a,i,0x1'])(
    'is not %j',
    (text) => {
      expect(wire.parseInitiatorPortName(text)).toBeNull();
    },
  );
});
