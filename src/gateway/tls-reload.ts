import { messageOf } from '../common/errors.js';
import type { TlsGate } from '../nbd/tls.js';
import type { Logger } from '../observe/log.js';

/** Reads the files of TLS again, and says how it went; true when there is something new. */
export function reloadTls(tls: TlsGate | null, log: Logger): boolean {
  if (tls === null) {
    log.info('nothing to reload: this server is without TLS');
    return false;
  }
  try {
    tls.reload();
    log.info('certificates and keys are read again; connections from now on use them');
    return true;
  } catch (error) {
    const reason = messageOf(error);
    log.error({ reason }, 'reloading; the certificates and keys stay as they were');
    return false;
  }
}
