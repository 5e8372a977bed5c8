import { parseAddress } from './address.js';
import type { HostAndPort } from './address.js';
import { UsageError } from './errors.js';

/** The host of a listen address that means every address of this machine, of IPv4 and of IPv6. */
export const EVERY_HOST = '*';

/**
 * Reads `HOST:PORT`, with `[…]` around an IPv6 address. `*:PORT` and `:PORT` are every address of this machine. Port 0
 * means any free port.
 *
 * @throws UsageError for any other text
 */
export function parseListenAddress(text: string): HostAndPort {
  const address = parseAddress(text);
  const { host = '', port = null } = address ?? {};
  if (port === null || /[\s/?@]/.test(host)) {
    throw new UsageError('listen-address', `${text}: ${adviceFor(text)}`);
  }
  return { host: host === '' ? EVERY_HOST : host, port };
}

function adviceFor(text: string): string {
  if (/^[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[^[\]]*$/.test(text)) {
    return 'an IPv6 address goes in brackets, as in [::1]:10809';
  }
  if (/^[^:[\]\s]+$/.test(text) && !/^\d+$/.test(text)) {
    return `the port is missing; a listen address is HOST:PORT, as in 127.0.0.1:10809`;
  }
  return 'a listen address is HOST:PORT, as in 127.0.0.1:10809, or :10809 for all addresses';
}
