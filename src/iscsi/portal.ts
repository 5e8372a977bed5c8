import { parseAddress } from '../common/address.js';
import { quoted } from '../common/printable.js';
import { IscsiProtocolError } from './errors.js';

/** IANA's port for iSCSI, which the iSER targets of Linux use too. */
export const ISCSI_PORT = 3260;

/** Where a target can be reached. */
export interface Portal {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

export interface TargetAddress extends Portal {
  readonly portalGroupTag: number | null;
}

/**
 * Reads a TargetAddress value (RFC 7143 13.8): `host[:port][,portal group tag]`. An IPv6 address stands in brackets
 * and may have a scope.
 * @throws IscsiProtocolError for any other value
 */
export function parseTargetAddress(value: string): TargetAddress {
  const match = /^([^,]*)(?:,(\d{1,5}))?$/.exec(value);
  const address = parseAddress(match?.[1] ?? '');
  const tag = match?.[2] === undefined ? null : Number(match[2]);
  const { host = '', port = null } = address ?? {};
  const isHost = /^[A-Za-z0-9._-]+$/.test(host) || host.includes(':');
  if (!isHost || port === 0 || (tag ?? 0) > 0xffff) {
    throw new IscsiProtocolError(`TargetAddress=${quoted(value)} is not an address`);
  }
  return { host, port: port ?? ISCSI_PORT, portalGroupTag: tag };
}

/**
 * Adds the scope of `asked` to a link-local address. Such an address is valid on one link only, and the target cannot
 * know our name of that link. The link is the one that reaches `asked` (RFC 4007 9).
 */
export function withScopeOf(portal: TargetAddress, asked: Portal): TargetAddress {
  const { host } = portal;
  const scope = /%.+$/.exec(asked.host)?.[0];
  const isUnscoped = /^fe[89ab][0-9a-f]:/i.test(host) && !host.includes('%');
  return scope === undefined || !isUnscoped ? portal : { ...portal, host: host + scope };
}
