import { z } from 'zod';
import { UsageError } from '../common/errors.js';
import type { AccessRule } from '../nbd/access.js';
import { asksForTls } from '../nbd/access.js';
import { parseNetwork } from '../nbd/network.js';
import type { TlsFiles } from '../nbd/tls.js';

const names = z.array(z.string().min(1)).min(1).optional();

/** An export's `allow`: which clients may use it. An empty list would mean no client, so it is refused. */
export const allowSchema = z.strictObject({ certificates: names, psk: names, networks: names });

export type AllowConfig = z.infer<typeof allowSchema>;

/** @throws UsageError for a text that is not a network */
export function accessRule(allow: AllowConfig | undefined): AccessRule | null {
  if (allow === undefined) return null;
  const { certificates = null, psk = null, networks } = allow;
  return { certificates, psk, networks: networks?.map(parseNetwork) ?? null };
}

/**
 * Checks a rule at the start, before clients meet it.
 *
 * @throws UsageError when no client could fulfil the rule
 */
export function checkRule(exportName: string, rule: AccessRule | null, tls: TlsFiles | null): void {
  if (rule === null || !asksForTls(rule)) return;
  const wrong = (what: string): UsageError =>
    new UsageError('allow', `export ${exportName}: ${what}`, { export: exportName });
  if (tls === null) throw wrong('clients can prove the names in allow only with TLS; set tls');
  if (rule.certificates !== null && tls.ca === null) {
    throw wrong('allow.certificates needs tls.ca, the file with the trusted authorities');
  }
  if (rule.psk !== null && tls.psk === null) throw wrong('allow.psk needs tls.psk, the key file');
}
