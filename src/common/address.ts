import { isIPv4, isIPv6 } from 'node:net';

export { isIPv4, isIPv6 };

/** A host, by name or address, and a port. An IPv6 address has no brackets here, and may have a scope: `fe80::1%eth0`. */
export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

const PORT_MAX = 65_535;

/** `host:port`, an IPv6 address in brackets. */
export function formatAddress({ host, port }: HostAndPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** `host:port` as a part of a URI, where the % before a scope is written %25 (RFC 6874). */
export function formatUriAddress(address: HostAndPort): string {
  return formatAddress(address).replace('%', '%25');
}

/**
 * Reads `HOST` or `HOST:PORT`. An IPv6 address is in brackets; its scope may be written `%eth0` (RFC 4007) or `%25eth0`
 * (RFC 6874, in URIs). The host may be empty, and the port may be 0: the caller decides whether that makes sense. Null
 * for any other text.
 */
export function parseAddress(text: string): { host: string; port: number | null } | null {
  const match = /^(?:\[([^[\]]*)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(text);
  if (match === null) return null;
  const [, bracketed, plain = '', digits] = match;
  const host = bracketed === undefined ? plain : scopedHost(bracketed);
  const port = digits === undefined ? null : Number(digits);
  return host === null || (port ?? 0) > PORT_MAX ? null : { host, port };
}

/** Null for a text that is not an IPv6 address. */
function scopedHost(text: string): string | null {
  const host = text.replace(/%25(?=.)/, '%');
  return isIPv6(host) ? host : null;
}
