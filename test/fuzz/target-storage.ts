import { CHUNK_BYTES } from '../../src/store/limits.js';
import { MemoryStore } from '../../src/store/memory-store.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { BLOCK } from '../support/target/cdbs.js';
import { TARGET_NAME, TargetBed } from '../support/target/bed.js';
import { TestInitiator } from '../support/target/initiator.js';
import { BlockHistory } from './block-history.js';
import { OvertakingStore } from './overtaking-store.js';
import { Random } from './random.js';
import { StorageClient } from './storage-client.js';
import { StorageSession } from './storage-session.js';
import type { StorageRun } from './storage-session.js';
import { until } from '../support/waiting.js';

/** Small, so that commands meet. */
const STORE_BYTES = 12 * CHUNK_BYTES;
const SESSIONS = 4;

/** One run of the fuzz target. */
export interface StorageFuzzOptions {
  readonly seed: number;
  /** How many commands the run has. */
  readonly commands: number;
  readonly crc: 'off' | 'on';
  /** The store answers late and in any order. */
  readonly isOvertaking: boolean;
}

/**
 * Several initiators on one logical unit over iWARP, each with many commands under way, which they abort, and leave
 * behind on connections that they drop or replace. Every block that is read must be one that may be there, and in the
 * end every buffer and every chunk must be back. The seed decides what is drawn, but not in which order the sockets
 * deliver it: a failure may take a few runs to come again.
 * @returns what happened, and how often.
 */
export async function fuzzStorage(
  options: StorageFuzzOptions,
): Promise<ReadonlyMap<string, number>> {
  const run = new Run(options);
  await run.run();
  return run.counts;
}

class Run implements StorageRun {
  readonly counts = new Map<string, number>();
  readonly history = new BlockHistory(STORE_BYTES / BLOCK);
  readonly #random: Random;
  readonly #transport: IwarpTransport;
  readonly #store: MemoryStore;
  readonly #bed: TargetBed;
  #commandsLeft: number;
  #failure: { readonly error: unknown } | null = null;

  constructor({ seed, commands, crc, isOvertaking }: StorageFuzzOptions) {
    this.#random = new Random(seed);
    this.#commandsLeft = commands;
    this.#transport = new IwarpTransport({ crc });
    this.#store = isOvertaking
      ? new OvertakingStore(STORE_BYTES, this.#random.fork())
      : new MemoryStore({ sizeBytes: STORE_BYTES });
    this.#bed = new TargetBed({ transport: new IwarpTransport({ crc }), luns: [this.#store] });
  }

  get isOver(): boolean {
    return this.#commandsLeft === 0 || this.#failure !== null;
  }

  take(): boolean {
    if (this.isOver) return false;
    this.#commandsLeft -= 1;
    return true;
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  happened(what: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1);
  }

  async logIn(isid: number): Promise<StorageClient> {
    const initiator = await TestInitiator.connect(this.#transport, this.#bed.address);
    const { pdu } = await initiator.login(TARGET_NAME, {}, isid);
    if (pdu.statusClass !== 0) throw new Error(`a login ended with class ${pdu.statusClass}`);
    await initiator.clearAttention();
    return new StorageClient(initiator, (error) => this.fail(error));
  }

  async noSessions(): Promise<void> {
    await until(() => this.#bed.portal.sessionCount === 0);
  }

  async run(): Promise<void> {
    const bed = this.#bed;
    bed.address = await bed.portal.listen({ host: '127.0.0.1', port: 0 });
    try {
      const sessions = Array.from({ length: SESSIONS }, (_, index) =>
        new StorageSession(this, index + 1, this.#random.fork()).run(),
      );
      await Promise.all(
        sessions.map((session) => session.catch((error: unknown) => this.fail(error))),
      );
      if (this.#failure !== null) throw this.#failure.error;
      await until(() => bed.portal.connectionCount === 0);
      check(this.#store.pinnedChunks === 0, 'a chunk that a read keeps');
      check(this.#store.lentChunks === 0, 'a chunk that a write keeps');
      check(bed.portal.buffersUsed === 0, 'a buffer that does not come back');
    } finally {
      await bed.close();
    }
  }
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
