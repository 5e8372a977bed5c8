import { UsageError } from '../common/errors.js';

/** An IP address as 16 bytes; an IPv4 address is the IPv6 address that maps it (RFC 4291 2.5.5.2). */
export type IpAddress = Uint8Array;

/** The origin of a client: a range of addresses, or this machine's Unix sockets. */
export type Network = 'unix' | { readonly address: IpAddress; readonly prefixBits: number };

const ADDRESS_BYTES = 16;
const MAPPED_PREFIX_BITS = 96;

/**
 * Reads `192.0.2.0/24`, `2001:db8::/32`, a single address, or `unix`.
 *
 * @throws UsageError for any other text, and for an address with bits behind the prefix
 */
export function parseNetwork(text: string): Network {
  if (text === 'unix') return text;
  const match = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text);
  const address = parseIpAddress(match?.[1] ?? '');
  if (match === null || address === null) throw wrongNetwork(text, 'it is not an IP address');
  const offsetBits = isMapped(address) ? MAPPED_PREFIX_BITS : 0;
  const widthBits = ADDRESS_BYTES * 8 - offsetBits;
  const prefix = match[2] === undefined ? widthBits : Number(match[2]);
  if (prefix > widthBits) throw wrongNetwork(text, `its prefix is longer than ${widthBits} bits`);
  const network = { address, prefixBits: offsetBits + prefix };
  if (!masked(address, network.prefixBits).every((byte, index) => byte === address[index])) {
    throw wrongNetwork(text, 'it has bits set behind its prefix');
  }
  return network;
}

/** Whether an address is in the network. Null is a Unix socket. An address that cannot be parsed is in no network. */
export function isInNetwork(network: Network, address: string | null): boolean {
  if (network === 'unix' || address === null) return network === 'unix' && address === null;
  const parsed = parseIpAddress(address);
  if (parsed === null) return false;
  return masked(parsed, network.prefixBits).every((byte, index) => byte === network.address[index]);
}

/** A key for a host, the same for all forms of its address. The same address with another zone is another host. */
export function addressKey(address: string): string {
  const parsed = parseIpAddress(address);
  if (parsed === null) return address;
  return Buffer.from(parsed).toString('hex') + (/%.*$/.exec(address)?.[0] ?? '');
}

/** Parses an address in any of its forms (RFC 4291 2.2), without its zone; null for another text. */
export function parseIpAddress(text: string): IpAddress | null {
  const plain = text.replace(/%.*$/, '');
  if (!plain.includes(':')) {
    const bytes = parseIpv4(plain);
    return bytes === null ? null : Uint8Array.from([...MAPPED_PREFIX, ...bytes]);
  }
  const halves = plain.split('::');
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, index) => parseGroups(half, index === halves.length - 1));
  if (head === undefined || head === null || tail === null) return null;
  if (tail === undefined) return head.length === ADDRESS_BYTES ? Uint8Array.from(head) : null;
  const gap = ADDRESS_BYTES - head.length - tail.length;
  // "::" stands for one group of zeroes at least.
  if (gap < 2) return null;
  return Uint8Array.from([...head, ...new Array<number>(gap).fill(0), ...tail]);
}

const MAPPED_PREFIX = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

function isMapped(address: IpAddress): boolean {
  return MAPPED_PREFIX.every((byte, index) => byte === address[index]);
}

/** The bytes of `2001:db8:1`, or of `ffff:192.0.2.1` at the end of an address; no bytes for an empty text. */
function parseGroups(text: string, isLast: boolean): number[] | null {
  const bytes: number[] = [];
  const groups = text === '' ? [] : text.split(':');
  for (const [index, group] of groups.entries()) {
    const ipv4 = isLast && index === groups.length - 1 ? parseIpv4(group) : null;
    if (ipv4 !== null) bytes.push(...ipv4);
    else if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
    } else return null;
  }
  return bytes;
}

function parseIpv4(text: string): number[] | null {
  if (!/^(\d{1,3}\.){3}\d{1,3}$/.test(text)) return null;
  const bytes = text.split('.').map(Number);
  // Some programs read 010 as 8, others as 10.
  const isPlain = text.split('.').every((part) => part === String(Number(part)));
  return isPlain && bytes.every((byte) => byte <= 0xff) ? bytes : null;
}

function masked(address: IpAddress, prefixBits: number): IpAddress {
  return address.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefixBits - index * 8));
    return byte & (0xff00 >> bits);
  });
}

function wrongNetwork(text: string, why: string): UsageError {
  return new UsageError(
    'network',
    `${JSON.stringify(text)} is not a network: ${why}; write 192.0.2.0/24, 2001:db8::/32 or unix`,
  );
}
