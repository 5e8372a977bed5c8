import { mkdtemp, rm } from 'node:fs/promises';
import type { NetConnectOpts } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '../common/manual-clock.js';
import { SlabPool } from '../../../src/common/slab.js';
import type { SizeClass } from '../../../src/common/slab.js';
import { NbdExport } from '../../../src/nbd/export.js';
import type { NbdLimits } from '../../../src/nbd/limits.js';
import { NbdServer } from '../../../src/nbd/server.js';
import type { NbdAddress } from '../../../src/nbd/socket.js';
import type { TlsGate } from '../../../src/nbd/tls.js';
import { CounterSet } from '../../../src/observe/counters.js';
import { silentLogger } from '../../../src/observe/log.js';
import type { Logger } from '../../../src/observe/log.js';
import { NbdTestClient } from './client.js';
import { RamDevice } from './device.js';

export interface NbdBedOptions {
  readonly limits?: Partial<NbdLimits>;
  readonly classes?: readonly SizeClass[];
  readonly exports?: readonly NbdExport[];
  readonly log?: Logger;
  readonly tls?: TlsGate;
  readonly defaultExport?: string;
}

/** A server on real sockets, with a clock that only the test moves. */
export class NbdBed {
  readonly clock = new ManualClock();
  readonly counters = new CounterSet();
  readonly device: RamDevice;
  readonly pool: SlabPool;
  readonly server: NbdServer;
  readonly #clients: NbdTestClient[] = [];
  #folder: string | null = null;

  constructor({ limits, classes, exports, log, tls, defaultExport }: NbdBedOptions = {}) {
    this.device = new RamDevice(1024 * 1024);
    this.pool = new SlabPool(classes);
    this.server = new NbdServer({
      exports: exports ?? [new NbdExport({ name: 'disk', device: this.device })],
      pool: this.pool,
      log: log ?? silentLogger,
      clock: this.clock,
      counters: this.counters,
      tls: tls ?? null,
      defaultExport: defaultExport ?? null,
      ...(limits === undefined ? {} : { limits }),
    });
  }

  /** A folder of this bed's own. */
  async folder(): Promise<string> {
    this.#folder ??= await mkdtemp(join(tmpdir(), 'nbd-test-'));
    return this.#folder;
  }

  listenUnix(): Promise<NbdAddress> {
    return this.folder().then((folder) => this.server.listen({ path: join(folder, 'nbd.sock') }));
  }

  listenTcp(): Promise<NbdAddress> {
    return this.server.listen({ host: '127.0.0.1', port: 0 });
  }

  async connect(address: NetConnectOpts): Promise<NbdTestClient> {
    const client = await NbdTestClient.connect(address);
    this.#clients.push(client);
    return client;
  }

  async attach(address: NetConnectOpts, exportName = ''): Promise<NbdTestClient> {
    const client = await NbdTestClient.attach(address, exportName);
    this.#clients.push(client);
    return client;
  }

  counter(name: string, labels: Record<string, string> = {}): number {
    return this.counters.counter(name, '', labels).value;
  }

  /** Ends everything. Every test's last step. */
  async dispose(): Promise<void> {
    this.device.holds = false;
    this.device.completeAll();
    for (const client of this.#clients) await client.close();
    await this.server.close({ drainMs: 0 });
    if (this.#folder !== null) await rm(this.#folder, { recursive: true });
  }
}
