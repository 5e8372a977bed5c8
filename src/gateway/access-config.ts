import { z } from 'zod';
import { UsageError } from '../common/errors.js';
import type { AccessRule } from '../nbd/access.js';
import { asksForTls } from '../nbd/access.js';
import { parseNetwork } from '../nbd/network.js';
import type { TlsFiles } from '../nbd/tls.js';

const names = z.array(z.string().min(1)).min(1).optional();

/** An export's `allow`: who may see it. An empty list would be nobody, which nobody means. */
export const allowSchema = z.strictObject({ certificates: names, psk: names, networks: names });

export type AllowConfig = z.infer<typeof allowSchema>;

/** @throws UsageError for a network that is none. */
export function accessRule(allow: AllowConfig | undefined): AccessRule | null {
  if (allow === undefined) return null;
  const { certificates = null, psk = null, networks } = allow;
  return { certificates, psk, networks: networks?.map(parseNetwork) ?? null };
}

/**
 * A rule that nobody can fulfil is a mistake: better said at the start than found out by those whom it shuts out.
 * @throws UsageError
 */
export function checkRule(exportName: string, rule: AccessRule | null, tls: TlsFiles | null): void {
  if (rule === null || !asksForTls(rule)) return;
  const wrong = (what: string): UsageError =>
    new UsageError('allow', `export ${exportName}: ${what}`, { export: exportName });
  if (tls === null) throw wrong('allow names clients, which they can only prove with TLS; set tls');
  if (rule.certificates !== null && tls.ca === null) {
    throw wrong('allow.certificates needs tls.ca, which says whose certificates count');
  }
  if (rule.psk !== null && tls.psk === null) throw wrong('allow.psk needs tls.psk, the key file');
}
