import { busyPoller } from '../socket/busy-poll.js';
import type { Clock } from '../common/clock.js';
import { messageOf } from '../common/errors.js';
import { NbdExport } from '../nbd/export.js';
import { NbdServer } from '../nbd/server.js';
import type { Client } from '../nbd/socket.js';
import { TlsGate } from '../nbd/tls.js';
import type { TlsContents } from '../nbd/tls.js';
import { nonZero, readingsOf } from '../observe/counter-sums.js';
import type { CounterSet } from '../observe/counters.js';
import type { Logger } from '../observe/log.js';
import { bufferPool, nbdLimits } from './limits-config.js';
import { openLun } from './lun.js';
import type { OpenLun } from './lun.js';
import { DRAIN_MS, checkExports, urisOf } from './serving.js';
import type { CountReport, Serving } from './serving.js';
import { reloadTls } from './tls-reload.js';
import { createInitiatorContext } from './initiator-context.js';
import type { InitiatorContext } from './initiator-context.js';
import { UnitRegistry } from './units.js';
import type { UnitIdentities } from './workers/messages.js';
import { RangeNews } from './workers/range-news.js';
import type { RangeNewsSink } from './workers/range-news.js';
import type { GatewayConfig, ExportConfig } from './gateway-config.js';

/** For a gateway that is one of several processes over the same LUNs: what it gets from the others, and sends them. */
export interface WorkerPlace extends RangeNewsSink {
  /** The contents of the TLS files. */
  readonly tlsContents: TlsContents | null;
  /** The unit that each export must have, where it is known. */
  readonly units: UnitIdentities;
  /** Called when a client from {@link Gateway.serve} is gone. */
  onReleased(conn: number): void;
  /** Called when answered writes may be lost; see {@link Gateway.loseWrites}. */
  onWritesLost(exportName: string, reason: string): void;
  /** Called when the session with the export's target is lost. */
  onDiskLost(exportName: string, reason: string): void;
}

export interface GatewayServices {
  readonly log: Logger;
  readonly clock: Clock;
  readonly counters: CounterSet;
}

/** Composes exports over LUNs, and the NBD server in front of them. */
export class Gateway implements Serving {
  readonly uris: readonly string[];
  /** For a gateway with a place: the exchange of news about ranges that are being changed. */
  readonly rangeNews: RangeNews | null;
  readonly #server: NbdServer;
  readonly #luns: ReadonlyMap<string, OpenLun>;
  readonly #tls: TlsGate | null;
  readonly #counters: CounterSet;

  private constructor(parts: {
    server: NbdServer;
    luns: ReadonlyMap<string, OpenLun>;
    tls: TlsGate | null;
    counters: CounterSet;
    uris: readonly string[];
    rangeNews: RangeNews | null;
  }) {
    this.rangeNews = parts.rangeNews;
    this.#server = parts.server;
    this.#luns = parts.luns;
    this.#tls = parts.tls;
    this.#counters = parts.counters;
    this.uris = parts.uris;
  }

  /**
   * Logs in to every export's LUN, then listens. With a `place`, the gateway is one of several over these LUNs.
   *
   * @throws IserNbdError when a LUN or an address cannot be opened; nothing stays open then
   */
  static async start(
    config: GatewayConfig,
    services: GatewayServices,
    place: WorkerPlace | null = null,
  ): Promise<Gateway> {
    checkExports(config);
    const { defaultExport = null } = config;
    const tls = tlsGate(config, place);
    const { log, clock, counters } = services;
    if (config.pollUs !== undefined) busyPoller.windowUs = config.pollUs;
    // The devices have buffers of their own: a request that waits for such a buffer must not wait for other requests.
    const pool = bufferPool(config.limits);
    const { initiatorName } = config;
    const context = createInitiatorContext({ log, clock, initiatorName });
    const units = new UnitRegistry();
    const luns = new Map<string, OpenLun>();
    const exports: NbdExport[] = [];
    let server: NbdServer | null = null;
    try {
      for (const item of config.exports) {
        const lun = await openExport(item, context, units, place);
        luns.set(item.name, lun);
        lun.disk.onWritesLost = (reason) => {
          for (const disk of lun.unit.disks) disk.loseWrites(reason);
          place?.onWritesLost(item.name, reason);
        };
        lun.disk.onLost = (reason) => place?.onDiskLost(item.name, reason);
        const { name, description, readOnly, allow = null } = item;
        exports.push(new NbdExport({ name, description, device: lun.device, readOnly, allow }));
      }
      const rangeNews = place === null ? null : new RangeNews(units, clock, place);
      server = new NbdServer({
        ...{ exports, defaultExport, pool, log, clock, counters, tls },
        limits: nbdLimits(config.limits),
        onReleased: (conn) => place?.onReleased(conn),
        onAbandoned: () => rangeNews?.announceOrphans(),
      });
      const uris: string[] = [];
      for (const where of await server.listenAll(config.listen))
        uris.push(...urisOf(where, config));
      return new Gateway({ server, luns, tls, counters, uris, rangeNews });
    } catch (error) {
      await server?.close({ drainMs: 0 });
      await closeAll(luns, log);
      throw error;
    }
  }

  reload(log: Logger): void {
    reloadTls(this.#tls, log);
  }

  report(): Promise<CountReport> {
    const counters = nonZero(readingsOf(this.#counters));
    return Promise.resolve({ counters, connections: this.#server.connectionCount });
  }

  // For a gateway with a place.

  /** The unit behind each export. */
  get units(): UnitIdentities {
    return Object.fromEntries(Array.from(this.#luns, ([name, { disk }]) => [name, disk.identity]));
  }

  /** Serves a client that another process has accepted. */
  serve(client: Client, conn: number): void {
    this.#server.serve(client, conn);
  }

  /** Handshakes from now on use these contents. */
  renewTls(contents: TlsContents): void {
    this.#tls?.reload(contents);
  }

  /** Another process reports that writes to the export's LUN may be lost. From now on, a flush must fail here too. */
  loseWrites(exportName: string, reason: string): void {
    this.#luns.get(exportName)?.disk.loseWrites(reason);
  }

  async stop(log: Logger): Promise<void> {
    await this.#server.close({ drainMs: DRAIN_MS });
    this.rangeNews?.close();
    await closeAll(this.#luns, log);
  }
}

function tlsGate({ tls = null }: GatewayConfig, place: WorkerPlace | null): TlsGate | null {
  return tls === null ? null : new TlsGate({ ...tls, contents: place?.tlsContents ?? undefined });
}

function openExport(
  item: ExportConfig,
  context: InitiatorContext,
  units: UnitRegistry,
  place: WorkerPlace | null,
): Promise<OpenLun> {
  const { name, url, credentials } = item;
  const log = context.log.child({ export: name });
  const use = {
    exportName: name,
    units,
    isShared: place !== null,
    expected: place?.units[name] ?? null,
  };
  return openLun(url, credentials, { ...context, log }, use);
}

async function closeAll(luns: ReadonlyMap<string, OpenLun>, log: Logger): Promise<void> {
  for (const result of await Promise.allSettled(Array.from(luns.values(), (lun) => lun.close()))) {
    if (result.status === 'rejected')
      log.warn({ reason: messageOf(result.reason) }, 'cannot close a LUN');
  }
}
