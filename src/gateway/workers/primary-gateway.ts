import { detachHandle } from '../../socket/data-socket.js';
import { DEFAULT_LIMITS } from '../../nbd/limits.js';
import { Refuser } from '../../nbd/refuser.js';
import { openListeners } from '../../nbd/socket.js';
import type { AcceptedSocket, NbdListener } from '../../nbd/socket.js';
import { TlsGate } from '../../nbd/tls.js';
import type { LogLevel, Logger } from '../../observe/log.js';
import type { GatewayServices } from '../gateway.js';
import type { GatewayConfig } from '../gateway-config.js';
import { limitsOfWorker, nbdLimits } from '../limits-config.js';
import { checkExports, urisOf } from '../serving.js';
import type { CountReport, Serving } from '../serving.js';
import { reloadTls } from '../tls-reload.js';
import type { SpawnWorker } from './messages.js';
import { WorkerPool } from './pool.js';
import { shareLuns } from './shared-luns.js';
import type { SharedLuns } from './shared-luns.js';

export interface PrimaryServices extends GatewayServices {
  readonly spawn: SpawnWorker;
  readonly logLevel: LogLevel;
}

interface Parts {
  readonly pool: WorkerPool;
  readonly refuser: Refuser;
  readonly shared: SharedLuns;
  readonly tls: TlsGate | null;
  readonly log: Logger;
}

/**
 * The primary of several processes. The primary owns the listening sockets and the embedded LUNs. It accepts clients and
 * passes each to a worker, which runs a {@link Gateway} of its own.
 */
export class PrimaryGateway implements Serving {
  readonly #parts: Parts;
  readonly #listeners: NbdListener[] = [];
  #uris: readonly string[] = [];

  private constructor(parts: Parts) {
    this.#parts = parts;
  }

  /**
   * Opens embedded LUNs, starts the workers, which log in, then listens.
   *
   * @throws IserNbdError when a LUN or an address cannot be opened; no process and nothing open is left then
   */
  static async start(config: GatewayConfig, services: PrimaryServices): Promise<PrimaryGateway> {
    checkExports(config);
    const { log, clock, counters, spawn, logLevel } = services;
    const { workers = 1, limits } = config;
    const { tls: tlsSettings = null } = config;
    const tls = tlsSettings === null ? null : new TlsGate(tlsSettings);
    const workerLimits = limitsOfWorker(limits, workers);
    const shared = await shareLuns(config.exports, { log, clock });
    const workerConfig = { ...config, exports: shared.exports, listen: [], limits: workerLimits };
    const refuser = new Refuser(clock);
    const pool = new WorkerPool({
      ...{ workers, spawn, log, clock, counters },
      limits: { ...DEFAULT_LIMITS, ...nbdLimits(limits) },
      refuse: (client, message) => refuser.refuse(client, message),
      startMessage: () => ({
        logLevel,
        config: workerConfig,
        tlsContents: tls?.contents ?? null,
      }),
    });
    const gateway = new PrimaryGateway({ pool, refuser, shared, tls, log });
    try {
      await pool.start();
      await gateway.#listen(config);
      return gateway;
    } catch (error) {
      await gateway.stop();
      throw error;
    }
  }

  get uris(): readonly string[] {
    return this.#uris;
  }

  reload(log: Logger): void {
    const { tls, pool } = this.#parts;
    if (reloadTls(tls, log) && tls !== null) {
      pool.broadcast({ type: 'tls', contents: tls.contents });
    }
  }

  report(): Promise<CountReport> {
    return this.#parts.pool.report();
  }

  async stop(): Promise<void> {
    const { pool, refuser, shared } = this.#parts;
    refuser.close();
    await Promise.all(this.#listeners.map((listener) => listener.close()));
    await pool.stop();
    await shared.close();
  }

  async #listen(config: GatewayConfig): Promise<void> {
    const { log, pool } = this.#parts;
    const uris: string[] = [];
    const listeners = await openListeners(config.listen, {
      onAccept: (accepted) => this.#accept(accepted),
      onError: (error) => log.error({ reason: error.message }, 'cannot accept a client'),
    });
    for (const listener of listeners) {
      this.#listeners.push(listener);
      if ('path' in listener.address) pool.keepForUnix();
      uris.push(...urisOf(listener.address, config));
    }
    this.#uris = uris;
  }

  #accept({ socket, address }: AcceptedSocket): void {
    const handle = detachHandle(socket);
    if (handle !== null) {
      this.#parts.pool.accept(handle, address);
      return;
    }
    this.#parts.log.error('this version of Node cannot pass a client to a worker; refusing it');
    socket.destroy();
  }
}
