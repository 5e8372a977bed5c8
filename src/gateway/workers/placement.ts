import { assert } from '../../common/assert.js';
import { ClientCounts } from '../../nbd/client-counts.js';
import type { ClientCountLimits, ClientRefusal } from '../../nbd/client-counts.js';

interface Placed {
  readonly address: string | null;
  /** Null while it waits for a worker. */
  worker: number | null;
}

/**
 * Which worker serves which client. A new one goes to the worker that has the fewest; of several, they take turns.
 * So the connections of one client that opens several at once are spread as evenly as they can be.
 */
export class ClientPlacement {
  /** Of all workers together. */
  readonly #clients: ClientCounts;
  readonly #placed = new Map<number, Placed>();
  /** Connections of each worker that may be given some. */
  readonly #counts = new Map<number, number>();
  #lastChosen = 0;

  constructor(limits: ClientCountLimits) {
    this.#clients = new ClientCounts(limits);
  }

  /** Clients that are being served, or wait for it. */
  get size(): number {
    return this.#placed.size;
  }

  /** There is a Unix socket to come by. */
  keepForUnix(): void {
    this.#clients.keepForUnix();
  }

  /** Why the next client from there would be one too many; null when it would not. */
  refusal(address: string | null): ClientRefusal | null {
    return this.#clients.refusal(address);
  }

  /** Counts a client that is new. */
  admit(conn: number, address: string | null): void {
    this.#placed.set(conn, { address, worker: null });
    this.#clients.change(address, 1);
  }

  /** The worker that a client goes to; null when there is none at the moment. */
  place(conn: number): number | null {
    const placed = this.#placed.get(conn);
    assert(placed !== undefined, 'a client is placed that was not admitted');
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

  /** The worker can take clients, and may have some. */
  open(worker: number): void {
    let count = 0;
    for (const placed of this.#placed.values()) if (placed.worker === worker) count++;
    this.#counts.set(worker, count);
  }

  /** The worker is given no more clients. */
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

  /** From the one behind the last that was chosen, round and round. */
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
