import { UsageError } from '../../common/errors.js';
import { quoted } from '../../common/printable.js';
import { checkChapCredentials } from '../../iscsi/chap.js';
import type { ChapCredentials } from '../../iscsi/chap.js';
import { ISCSI_NAME_BYTES_MAX } from '../../iscsi/limits.js';

/** The address to which an initiator is redirected (RFC 7143 11.13.5). */
export interface LoginRedirect {
  readonly host: string;
  readonly port: number;
  readonly isPermanent: boolean;
}

/** The rules for logins to a target. */
export interface LoginPolicy {
  readonly targetName: string;
  readonly portalGroupTag: number;
  /**
   * The identity that initiators of normal sessions must prove, and in `mutual` the identity that the target proves
   * on request. Null: no authentication.
   */
  readonly chap: ChapCredentials | null;
  /**
   * Discovery sessions must prove the same identity. When false, discovery is open to every initiator, as RFC 7143
   * expects.
   */
  readonly discoveryAuth: boolean;
  readonly redirect: LoginRedirect | null;
}

/** The form of iqn., eui. and naa. names (RFC 7143 4.2.7). */
const TARGET_NAME =
  /^(iqn\.\d{4}-\d{2}\.[a-z0-9.-]+(:[^\s\0]+)?|eui\.[0-9A-Fa-f]{16}|naa\.([0-9A-Fa-f]{16}|[0-9A-Fa-f]{32}))$/;

/** @throws UsageError for an invalid name, ConfigError for secrets that must not be used */
export function checkLoginPolicy({ targetName, chap }: LoginPolicy): void {
  if (!TARGET_NAME.test(targetName) || Buffer.byteLength(targetName) > ISCSI_NAME_BYTES_MAX) {
    throw new UsageError(
      'target-name',
      `${quoted(targetName)} is not an iSCSI name; use the form iqn.2026-11.io.example:name`,
      { targetName },
    );
  }
  if (chap !== null) checkChapCredentials(chap);
}
