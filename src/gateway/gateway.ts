import type { Clock } from '../common/clock.js';
import { ConfigError, messageOf } from '../common/errors.js';
import { SlabPool } from '../common/slab.js';
import type { ChapCredentials } from '../iscsi/chap.js';
import { IserModule } from '../iser/module.js';
import { NbdExport } from '../nbd/export.js';
import { NbdServer } from '../nbd/server.js';
import type { CounterSet } from '../observe/counters.js';
import type { Logger } from '../observe/log.js';
import type { PortalAddress } from '../transport/verbs.js';
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
}

/** Where NBD clients are served: TCP, or a Unix socket's path. */
export type ListenConfig = PortalAddress | { readonly path: string };

export interface GatewayConfig {
  readonly exports: readonly ExportConfig[];
  readonly listen: readonly ListenConfig[];
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

  private constructor(server: NbdServer, luns: readonly OpenLun[], uris: readonly string[]) {
    this.#server = server;
    this.#luns = luns;
    this.uris = uris;
  }

  /**
   * Logs in to every export's LUN, then listens.
   * @throws IserNbdError for the first thing that cannot be had; nothing is left open then.
   */
  static async start(config: GatewayConfig, services: GatewayServices): Promise<Gateway> {
    refuseDuplicateNames(config.exports);
    const { log, clock, counters } = services;
    // The devices have buffers of their own: a request that waits for one must not wait for other requests' ends.
    const pool = new SlabPool();
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
          }),
        );
      }
      server = new NbdServer({ exports, pool, log, clock, counters });
      const uris: string[] = [];
      for (const where of config.listen) {
        const bound = await server.listen(where);
        for (const item of config.exports) uris.push(uriOf(bound, item.name));
      }
      return new Gateway(server, luns, uris);
    } catch (error) {
      await server?.close({ drainMs: 0 });
      await closeAll(luns, log);
      throw error;
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

function refuseDuplicateNames(exports: readonly ExportConfig[]): void {
  const seen = new Set<string>();
  for (const { name } of exports) {
    if (seen.has(name)) {
      throw new ConfigError(
        'export-twice',
        `export ${name} is named twice; give each a name of its own`,
      );
    }
    seen.add(name);
  }
}

/** The NBD URI (the NBD project's uri.md). */
function uriOf(where: ListenConfig, exportName: string): string {
  const name = encodeURIComponent(exportName);
  if ('path' in where) return `nbd+unix:///${name}?socket=${encodeURI(where.path)}`;
  return `nbd://${formatAddress(where)}/${name}`;
}
