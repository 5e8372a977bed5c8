import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { IscsiProtocolError } from '../../src/iscsi/errors.js';
import { parseSendTargets } from '../../src/iscsi/send-targets.js';

const ASKED = { host: '192.0.2.1', port: 3260 };
const portal = (host: string, port = 3260, portalGroupTag: number | null = 1) => ({
  host,
  port,
  portalGroupTag,
});

/** Items with a NUL behind each; Latin-1, so that any byte can be written. */
const answer = (...items: string[]) =>
  Buffer.from(items.map((item) => `${item}\0`).join(''), 'latin1');

function read(bytes: Uint8Array, asked = ASKED) {
  return parseSendTargets(bytes, asked);
}

describe('a SendTargets answer', () => {
  it('may be empty', () => {
    expect(read(answer())).toEqual({ targets: [], odd: { first: [], count: 0 } });
  });

  it('has targets, each with its addresses, or reached where it was asked for', () => {
    const { targets } = read(
      answer(
        ...['TargetName=iqn.a', 'TargetAddress=192.0.2.1:3260,1', 'TargetAddress=[2001:db8::1],2'],
        ...['TargetName=Target-911data', 'X-com.example=1', 'TargetName=iqn.2015-1.example:x'],
      ),
    );
    const here = portal('192.0.2.1', 3260, null);
    expect(targets).toEqual([
      { name: 'iqn.a', portals: [portal('192.0.2.1'), portal('2001:db8::1', 3260, 2)] },
      { name: 'Target-911data', portals: [here] },
      { name: 'iqn.2015-1.example:x', portals: [here] },
    ]);
  });

  it.each([
    ['an address that is none', 'TargetAddress=2001:db8::1:3260,1', /TargetAddress="2001.*iqn.a/],
    ['an address that is not UTF-8', 'TargetAddress=\xff,1', /TargetAddress="\\xff,1"/],
    ['a word', 'nonsense', /"nonsense" is no key=value/],
    ['a name that is not UTF-8, with an address', 'TargetName=\xff\0TargetAddress=h,1', /"\\xff"/],
    ['a name that is too long', `TargetName=${'x'.repeat(224)}\0TargetAddress=h`, /not a name/],
    ['an empty name', 'TargetName=\0TargetAddress=h,1', /TargetName="" is not a name/],
    ['a value that is too long', `TargetAddress=${'x'.repeat(300)},z`, /is not an address/],
    ['escapes', 'TargetAddress=\x1b[2J', /"\\x1b\[2J"/],
  ])('with %s in it is of use but for that', (_what, item, words) => {
    const { targets, odd } = read(
      answer(
        'TargetName=iqn.a',
        'TargetAddress=h1,1',
        item,
        'TargetName=iqn.b',
        'TargetAddress=h2,1',
      ),
    );
    expect(targets).toEqual([
      { name: 'iqn.a', portals: [portal('h1')] },
      { name: 'iqn.b', portals: [portal('h2')] },
    ]);
    expect(odd.count).toBe(1);
    expect(odd.first[0]).toMatch(words);
  });

  it('does not send anybody elsewhere when none of the addresses of a target can be used', () => {
    expect(read(answer('TargetName=iqn.a', 'TargetAddress=:')).targets).toEqual([
      { name: 'iqn.a', portals: [] },
    ]);
  });

  it('that is cut is of use but for its end', () => {
    const bytes = answer('TargetName=iqn.a', 'TargetName=iqn.b').subarray(0, -1);
    const { targets, odd } = read(bytes);
    expect(targets.map(({ name }) => name)).toEqual(['iqn.a']);
    expect(odd.count).toBe(1);
  });

  it('has link-local addresses on the link that it came over', () => {
    const bytes = answer(
      'TargetName=iqn.a',
      ...['TargetAddress=[fe80::1],1', 'TargetAddress=[fe80::2%eth7]:3261,1'],
      'TargetAddress=[2001:db8::1],1',
    );
    const hosts = (asked: string) =>
      read(bytes, { host: asked, port: 3260 }).targets[0]?.portals.map(({ host }) => host);
    expect(hosts('fe80::9%eth0')).toEqual(['fe80::1%eth0', 'fe80::2%eth7', '2001:db8::1']);
    expect(hosts('2001:db8::9')).toEqual(['fe80::1', 'fe80::2%eth7', '2001:db8::1']);
  });

  it('tells the first of many odd items, and their number', () => {
    const { odd } = read(answer(...Array.from({ length: 5000 }, (_, index) => `odd${index}`)));
    expect(odd.count).toBe(5000);
    expect(odd.first).toHaveLength(10);
  });

  it.each(['Reject', 'NotUnderstood'])('may be %s', (value) => {
    expect(() => read(answer(`SendTargets=${value}`))).toThrow(IscsiProtocolError);
  });

  it('of any bytes gives targets or a protocol error', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          read(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(IscsiProtocolError);
        }
      }),
    );
  });
});
