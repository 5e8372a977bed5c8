import { BlockList } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { addressKey, isInNetwork, parseIpAddress, parseNetwork } from '../../src/nbd/network.js';

function bytes(text: string): string | null {
  const address = parseIpAddress(text);
  return address === null ? null : Buffer.from(address).toString('hex');
}

describe('an IP address', () => {
  it.each([
    ['192.0.2.1', '00000000000000000000ffffc0000201'],
    ['::ffff:192.0.2.1', '00000000000000000000ffffc0000201'],
    ['::', '00000000000000000000000000000000'],
    ['::1', '00000000000000000000000000000001'],
    ['2001:db8::8:800:200c:417A', '20010db80000000000080800200c417a'],
    ['1:2:3:4:5:6:7:8', '00010002000300040005000600070008'],
    ['1:2:3:4:5:6:7::', '00010002000300040005000600070000'],
    ['fe80::1%eth0', 'fe800000000000000000000000000001'],
  ])('%s is read', (text, hex) => {
    expect(bytes(text)).toBe(hex);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.256',
    '1.2.3.04',
    '1.2.3.4.5',
    ':',
    ':::',
    '1::2::3',
    '1:2:3:4:5:6:7',
    '1:2:3:4:5:6:7:8:9',
    '1:2:3:4:5:6:7:8::',
    '12345::',
    'g::',
    '1.2.3.4::',
    'host',
  ])('%j is none', (text) => {
    expect(bytes(text)).toBeNull();
  });
});

describe('a network', () => {
  it.each([
    ['192.0.2.0/24', '192.0.2.255', true],
    ['192.0.2.0/24', '::ffff:192.0.2.7', true],
    ['192.0.2.0/24', '192.0.3.0', false],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.6', false],
    ['0.0.0.0/0', '203.0.113.9', true],
    ['0.0.0.0/0', '2001:db8::1', false],
    ['::/0', '192.0.2.1', true],
    ['2001:db8::/33', '2001:db8:7fff::1', true],
    ['2001:db8::/33', '2001:db8:8000::1', false],
    ['fe80::/10', 'fe80::1%eth0', true],
  ])('%s and %s: %s', (network, address, isIn) => {
    expect(isInNetwork(parseNetwork(network), address)).toBe(isIn);
  });

  it('of Unix sockets has no address in it, and no other has a Unix socket', () => {
    expect(isInNetwork('unix', null)).toBe(true);
    expect(isInNetwork('unix', '127.0.0.1')).toBe(false);
    expect(isInNetwork(parseNetwork('::/0'), null)).toBe(false);
  });

  it('has nobody in it of whom no address is known', () => {
    expect(isInNetwork(parseNetwork('::/0'), '')).toBe(false);
    expect(isInNetwork('unix', '')).toBe(false);
  });

  it.each(['', 'lan', '192.0.2.0/33', '192.0.2.1/24', '2001:db8::/129', '1.2.3.4/', '/8'])(
    '%j is refused',
    (text) => {
      expect(() => parseNetwork(text)).toThrow(ConfigError);
    },
  );

  it('agrees with node’s own list on any address and prefix', () => {
    const ipv4 = fc.ipV4();
    const ipv6 = fc.ipV6();
    fc.assert(
      fc.property(
        fc.constantFrom(ipv4, ipv6).chain((kind) => fc.tuple(kind, kind, fc.nat(128))),
        ([base, probe, bits]) => {
          const isV4 = !base.includes(':');
          const prefix = isV4 ? bits % 33 : bits;
          const list = new BlockList();
          list.addSubnet(base, prefix, isV4 ? 'ipv4' : 'ipv6');
          const address = parseIpAddress(base);
          expect(address).not.toBeNull();
          const prefixBits = isV4 ? 96 + prefix : prefix;
          const network = {
            address: masked(address ?? new Uint8Array(16), prefixBits),
            prefixBits,
          };
          const expected = list.check(probe, isV4 ? 'ipv4' : 'ipv6');
          expect(isInNetwork(network, probe)).toBe(expected);
          expect(isInNetwork(network, base)).toBe(true);
        },
      ),
    );
  });
});

/** The slow and obvious way. */
function masked(address: Uint8Array, prefixBits: number): Uint8Array {
  const value = BigInt(`0x${Buffer.from(address).toString('hex')}`);
  const shift = BigInt(128 - prefixBits);
  const text = ((value >> shift) << shift).toString(16).padStart(32, '0');
  return Uint8Array.from(Buffer.from(text, 'hex'));
}

describe('counting by address', () => {
  it('takes the forms of an address for one, and each host for itself', () => {
    expect(addressKey('192.0.2.1')).toBe(addressKey('::ffff:192.0.2.1'));
    expect(addressKey('192.0.2.1')).not.toBe(addressKey('192.0.2.2'));
    expect(addressKey('2001:db8:1:2:0::3')).toBe(addressKey('2001:DB8:1:2::0.0.0.3'));
    expect(addressKey('2001:db8:1:2::3')).not.toBe(addressKey('2001:db8:1:2::4'));
    expect(addressKey('fe80::1%eth0')).not.toBe(addressKey('fe80::1%eth1'));
  });
});
