import { messageOf } from '../common/errors.js';
import type { TlsGate } from '../nbd/tls.js';
import type { Logger } from '../observe/log.js';

/** Reads the TLS files again, and logs the result; true when the new files are in use. */
export function reloadTls(tls: TlsGate | null, log: Logger): boolean {
  if (tls === null) {
    log.info('nothing to reload: this server has no TLS');
    return false;
  }
  try {
    tls.reload();
    log.info('read the certificates and keys again; new connections use them');
    return true;
  } catch (error) {
    const reason = messageOf(error);
    log.error({ reason }, 'cannot reload; the old certificates and keys stay in use');
    return false;
  }
}
