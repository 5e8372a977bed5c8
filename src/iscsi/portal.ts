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

export interface TargetPortal extends Portal {
  readonly portalGroupTag: number | null;
}

/**
 * A TargetAddress value (RFC 7143 13.8): `host[:port][,portal group tag]`, an IPv6 address in brackets. Throws
 * {@link IscsiProtocolError} for anything else.
 */
export function parseTargetAddress(value: string): TargetPortal {
  const match = /^(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?(?:,(\d{1,5}))?$/.exec(
    value,
  );
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? ISCSI_PORT);
  const tag = match?.[4] === undefined ? null : Number(match[4]);
  if (host === undefined || port === 0 || port > 0xffff || (tag ?? 0) > 0xffff) {
    throw new IscsiProtocolError(`TargetAddress=${quoted(value)} is not an address`);
  }
  return { host, port, portalGroupTag: tag };
}
