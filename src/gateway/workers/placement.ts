import { assert } from '../../common/assert.js';
import { ClientCounts } from '../../nbd/client-counts.js';
import type { ClientCountLimits, ClientRefusal } from '../../nbd/client-counts.js';

interface Placed {
  readonly address: string | null;
  /** Null while the client waits for a worker. */
  worker: number | null;
}

/**
 * Decides which worker serves which client. A new client goes to the worker with the fewest clients; workers with equal
 * numbers take turns. So several connections of one client are spread as evenly as possible.
 */
export class ClientPlacement {
  /** The clients of all workers together. */
  readonly #clients: ClientCounts;
  readonly #placed = new Map<number, Placed>();
  /** The number of clients of each worker that takes new ones. */
  readonly #counts = new Map<number, number>();
  #lastChosen = 0;

  constructor(limits: ClientCountLimits) {
    this.#clients = new ClientCounts(limits);
  }

  /** The number of clients that are served or wait for a worker. */
  get size(): number {
    return this.#placed.size;
  }

  /** The server listens on a Unix socket: keeps places for its clients. */
  keepForUnix(): void {
    this.#clients.keepForUnix();
  }

  /** Why one more client from `address` would be too many; null when it would not. */
  refusal(address: string | null): ClientRefusal | null {
    return this.#clients.refusal(address);
  }

  /** Counts a new client. */
  admit(conn: number, address: string | null): void {
    this.#placed.set(conn, { address, worker: null });
    this.#clients.change(address, 1);
  }

  /** Chooses a worker for a client; null when there is none at the moment. */
  place(conn: number): number | null {
    const placed = this.#placed.get(conn);
    assert(placed !== undefined, 'a client was placed before it was admitted');
    this.#leave(placed);
    const worker = this.#choose();
    placed.worker = worker;
    if (worker === null) return null;
    this.#lastChosen = worker;
    this.#counts.set(worker, this.countOf(worker) + 1);
    return worker;
  }

  /** The client is gone. */
  release(conn: number): void {
    const placed = this.#placed.get(conn);
    if (placed === undefined) return;
    this.#placed.delete(conn);
    this.#leave(placed);
    this.#clients.change(placed.address, -1);
  }

  /** The worker takes clients from now on. It may already have some. */
  open(worker: number): void {
    let count = 0;
    for (const placed of this.#placed.values()) if (placed.worker === worker) count++;
    this.#counts.set(worker, count);
  }

  /** The worker gets no more clients. */
  shut(worker: number): void {
    this.#counts.delete(worker);
  }

  /** The clients of a worker. */
  clientsOf(worker: number): number[] {
    return [...this.#placed].filter(([, placed]) => placed.worker === worker).map(([conn]) => conn);
  }

  countOf(worker: number): number {
    return this.#counts.get(worker) ?? this.clientsOf(worker).length;
  }

  /** The worker with the fewest clients. The search begins behind the worker chosen last, so that equals take turns. */
  #choose(): number | null {
    const workers = [...this.#counts.keys()].sort((left, right) => left - right);
    const behind = workers.findIndex((worker) => worker > this.#lastChosen);
    const turn = behind < 0 ? workers : [...workers.slice(behind), ...workers.slice(0, behind)];
    let best: number | null = null;
    for (const worker of turn) {
      if (best === null || this.countOf(worker) < this.countOf(best)) best = worker;
    }
    return best;
  }

  #leave({ worker }: Placed): void {
    const count = worker === null ? undefined : this.#counts.get(worker);
    if (worker !== null && count !== undefined) this.#counts.set(worker, count - 1);
  }
}
