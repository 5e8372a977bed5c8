import { busyPoller } from '../common/busy-poll.js';
import type { Clock } from '../common/clock.js';
import { ConfigError, messageOf } from '../common/errors.js';
import { SlabPool } from '../common/slab.js';
import type { AccessRule } from '../nbd/access.js';
import type { ChapCredentials } from '../iscsi/chap.js';
import { IserModule } from '../iser/module.js';
import { NbdExport } from '../nbd/export.js';
import { NbdServer } from '../nbd/server.js';
import type { ListenAddress, NbdAddress } from '../nbd/socket.js';
import { TlsGate } from '../nbd/tls.js';
import type { TlsFiles } from '../nbd/tls.js';
import type { CounterSet } from '../observe/counters.js';
import type { Logger } from '../observe/log.js';
import { checkRule } from './access-config.js';
import { bufferPool, nbdLimits } from './limits-config.js';
import type { LimitsConfig } from './limits-config.js';
import { openLun } from './lun.js';
import type { InitiatorContext, OpenLun } from './lun.js';
import { formatAddress } from './url.js';
import type { ExportUrl } from './url.js';

export interface ExportConfig {
  readonly name: string;
  readonly url: ExportUrl;
  readonly description: string;
  readonly readOnly: boolean;
  readonly credentials: ChapCredentials | null;
  /** Who may see it; null for everybody. */
  readonly allow?: AccessRule | null;
}

/** TLS for those who ask for it, or for everybody. */
export interface TlsSettings {
  readonly required: boolean;
  readonly files: TlsFiles;
}

export type ListenConfig = ListenAddress;

export interface GatewayConfig {
  readonly exports: readonly ExportConfig[];
  /** What a client gets that names no export; null for the only one, if there is only one. */
  readonly defaultExport?: string | null;
  readonly listen: readonly ListenConfig[];
  readonly tls?: TlsSettings | null;
  readonly limits?: LimitsConfig;
  /** Microseconds to poll for more after bytes have arrived; of this thread, not of one gateway. */
  readonly pollUs?: number;
  readonly initiatorName: string;
}

export interface GatewayServices {
  readonly log: Logger;
  readonly clock: Clock;
  readonly counters: CounterSet;
}

/** How long a stop waits for requests in flight before it cuts connections. */
const DRAIN_MS = 30_000;

/** The composition: exports over LUNs, and the NBD server in front of them. */
export class Gateway {
  /** One per export and listener, as a client would write it. */
  readonly uris: readonly string[];
  readonly #server: NbdServer;
  readonly #luns: readonly OpenLun[];
  readonly #tls: TlsGate | null;

  private constructor(
    server: NbdServer,
    luns: readonly OpenLun[],
    tls: TlsGate | null,
    uris: readonly string[],
  ) {
    this.#server = server;
    this.#luns = luns;
    this.#tls = tls;
    this.uris = uris;
  }

  /**
   * Logs in to every export's LUN, then listens.
   * @throws IserNbdError for the first thing that cannot be had; nothing is left open then.
   */
  static async start(config: GatewayConfig, services: GatewayServices): Promise<Gateway> {
    checkExports(config);
    const { defaultExport = null, tls: tlsSettings = null } = config;
    const tls = tlsSettings === null ? null : new TlsGate(tlsSettings);
    const { log, clock, counters } = services;
    if (config.pollUs !== undefined) busyPoller.windowUs = config.pollUs;
    // The devices have buffers of their own: a request that waits for one must not wait for other requests' ends.
    const pool = bufferPool(config.limits);
    const { initiatorName } = config;
    const context: InitiatorContext = {
      module: new IserModule(),
      pool: new SlabPool(),
      log,
      clock,
      initiatorName,
    };
    const luns: OpenLun[] = [];
    const exports: NbdExport[] = [];
    let server: NbdServer | null = null;
    try {
      for (const item of config.exports) {
        const lun = await openExport(item, context);
        luns.push(lun);
        exports.push(
          new NbdExport({
            name: item.name,
            description: item.description,
            device: lun.device,
            readOnly: item.readOnly,
            allow: item.allow ?? null,
          }),
        );
      }
      const limits = nbdLimits(config.limits);
      server = new NbdServer({ exports, defaultExport, pool, log, clock, counters, limits, tls });
      const uris: string[] = [];
      for (const where of config.listen) {
        const bound = await server.listen(where);
        for (const { name } of config.exports) uris.push(uriOf(bound, name, tlsSettings));
      }
      return new Gateway(server, luns, tls, uris);
    } catch (error) {
      await server?.close({ drainMs: 0 });
      await closeAll(luns, log);
      throw error;
    }
  }

  /** Reads the files of TLS again; when they cannot be used, the ones from before stay. */
  reload(log: Logger): void {
    if (this.#tls === null) {
      log.info('nothing to reload: this server is without TLS');
      return;
    }
    try {
      this.#tls.reload();
      log.info('certificates and keys are read again; connections from now on use them');
    } catch (error) {
      log.error(
        { reason: messageOf(error) },
        'reloading; the certificates and keys stay as they were',
      );
    }
  }

  /** Requests in flight finish, clients see an orderly close, then the sessions log out. */
  async stop(log: Logger): Promise<void> {
    await this.#server.close({ drainMs: DRAIN_MS });
    await closeAll(this.#luns, log);
  }
}

function openExport(item: ExportConfig, context: InitiatorContext): Promise<OpenLun> {
  const log = context.log.child({ export: item.name });
  return openLun(item.url, item.credentials, { ...context, log });
}

async function closeAll(luns: readonly OpenLun[], log: Logger): Promise<void> {
  for (const result of await Promise.allSettled(luns.map((lun) => lun.close()))) {
    if (result.status === 'rejected')
      log.warn({ reason: messageOf(result.reason) }, 'closing a LUN');
  }
}

/** What can be known to be wrong before anything is opened. */
function checkExports({ exports, defaultExport = null, tls = null }: GatewayConfig): void {
  const seen = new Set<string>();
  for (const { name, allow } of exports) {
    checkRule(name, allow ?? null, tls?.files ?? null);
    if (seen.has(name)) {
      throw new ConfigError(
        'export-twice',
        `export ${name} is named twice; give each a name of its own`,
      );
    }
    seen.add(name);
  }
  if (defaultExport !== null && !seen.has(defaultExport)) {
    throw new ConfigError(
      'default-export',
      `the default export ${defaultExport} is none of the exports`,
    );
  }
}

/** The NBD URI (the NBD project's uri.md). */
function uriOf(where: NbdAddress, exportName: string, tls: TlsSettings | null): string {
  const name = encodeURIComponent(exportName);
  const scheme = tls?.required === true ? 'nbds' : 'nbd';
  if ('path' in where) return `${scheme}+unix:///${name}?socket=${encodeURI(where.path)}`;
  return `${scheme}://${formatAddress(where)}/${name}`;
}
