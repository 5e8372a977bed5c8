import { UsageError } from '../common/errors.js';
import { quoted } from '../common/printable.js';
import { ISCSI_NAME_BYTES_MAX } from './limits.js';

/** RFC 7143 4.2.7: iqn., eui. and naa. names, with the characters that stringprep allows, and non-ASCII characters. */
const IQN = /^iqn\.\d{4}-\d{2}\.[^\s/\\,;'"|<>()[\]{}\u0000-\u002c]+$/i;
const EUI = /^eui\.[0-9a-f]{16}$/i;
const NAA = /^naa\.([0-9a-f]{16}|[0-9a-f]{32})$/i;

/**
 * Checks a name of our own. `what` says in the message whose name it is.
 * @throws UsageError when `name` is not an iSCSI name
 */
export function checkIscsiName(name: string, what: string): void {
  const isForm = IQN.test(name) || EUI.test(name) || NAA.test(name);
  if (isForm && Buffer.byteLength(name) <= ISCSI_NAME_BYTES_MAX) return;
  throw new UsageError(
    'iscsi-name',
    `the ${what} name ${quoted(name)} is not an iSCSI name such as iqn.2026-11.io.example:disk`,
    { name: name.slice(0, 80) },
  );
}

/**
 * Checks the name of a target that others have named. Accepts names that break RFC 7143, because `Target-911data` and
 * `iqn.2015-1.example:x` exist.
 * @throws UsageError for an empty name, a name that is too long, and a name with blanks
 */
export function checkTargetName(name: string): void {
  const bytes = Buffer.byteLength(name);
  if (bytes > 0 && bytes <= ISCSI_NAME_BYTES_MAX && !/[\s\p{Cc}]/u.test(name)) return;
  throw new UsageError(
    'iscsi-name',
    `${quoted(name)} is no target name; a target name has 1 to ${ISCSI_NAME_BYTES_MAX} bytes, and no blanks`,
    { name: name.slice(0, 80) },
  );
}

/**
 * Equal for names that mean the same target. Case and the composition of characters do not matter (RFC 7143 4.2.7.1,
 * RFC 3722).
 */
export function iscsiNameKey(name: string): string {
  return name.normalize('NFKC').toLowerCase();
}
