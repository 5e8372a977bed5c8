import { formatUriAddress } from '../common/address.js';
import { UsageError } from '../common/errors.js';
import type { NbdAddress } from '../nbd/socket.js';
import type { Logger } from '../observe/log.js';
import { checkRule } from './access-config.js';
import type { GatewayConfig, TlsSettings } from './gateway-config.js';

/** A running `serve`: one process, or a primary with its workers. */
export interface Serving {
  /** One URI per export and listener, for clients. */
  readonly uris: readonly string[];
  /** Reads the TLS files again. When they cannot be used, the old ones stay in use. */
  reload(log: Logger): void;
  /** Lets requests in flight finish, closes the connections in order, then logs out of the sessions. */
  stop(log: Logger): Promise<void>;
  /** The counters, for a person who asks for them. */
  report(): Promise<CountReport>;
}

/** Counters that are not zero, by name and labels; with workers, also how many connections each has now. */
export interface CountReport {
  readonly counters: Readonly<Record<string, number>>;
  readonly connections: Readonly<Record<string, number>> | number;
}

/** How long a stop waits for requests in flight before it cuts connections. */
export const DRAIN_MS = 30_000;

/**
 * Checks the exports before anything is opened.
 *
 * @throws UsageError for the first error
 */
export function checkExports({ exports, defaultExport = null, tls = null }: GatewayConfig): void {
  const seen = new Set<string>();
  for (const { name, allow } of exports) {
    checkRule(name, allow ?? null, tls?.files ?? null);
    if (seen.has(name)) {
      throw new UsageError(
        'export-twice',
        `export ${name} is named twice; give each a name of its own`,
      );
    }
    seen.add(name);
  }
  if (defaultExport !== null && !seen.has(defaultExport)) {
    throw new UsageError(
      'default-export',
      `the default export ${defaultExport} is not one of the exports`,
    );
  }
}

/** The NBD URIs (the NBD project's uri.md) of all exports at one address. */
export function urisOf(where: NbdAddress, { exports, tls = null }: GatewayConfig): string[] {
  return exports.map(({ name }) => uriOf(where, name, tls));
}

function uriOf(where: NbdAddress, exportName: string, tls: TlsSettings | null): string {
  const name = encodeURIComponent(exportName);
  const scheme = tls?.required === true ? 'nbds' : 'nbd';
  if ('path' in where) return `${scheme}+unix:///${name}?socket=${encodeURI(where.path)}`;
  return `${scheme}://${formatUriAddress(where)}/${name}`;
}
