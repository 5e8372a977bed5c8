import type { Clock, Timer } from '../../common/clock.js';
import type { WaitingClient } from './handover.js';
import { ADMISSION_MS } from './limits.js';

/** What an {@link ClientAdmission} asks of the pool. */
export interface AdmissionHost {
  /** The numbers of the workers that serve. */
  serving(): readonly number[];
  /** Asks a worker to announce what it is changing, and to say `round` when it has. */
  ask(worker: number, round: number): void;
  admit(client: WaitingClient): void;
  /** A worker did not answer in time; clients are let in without its word. */
  unanswered(worker: number): void;
}

/**
 * Lets clients in. Before, every worker announces the ranges that it is changing (see RangeNews): a client may have been
 * connected to another worker a moment ago, and what that one still has on its way must not overtake what it writes now.
 * Clients that come while the workers are being asked wait for the next round.
 */
export class ClientAdmission {
  readonly #clock: Clock;
  readonly #host: AdmissionHost;
  #arrived: WaitingClient[] = [];
  #asked: WaitingClient[] = [];
  readonly #unanswered = new Set<number>();
  #round = 0;
  #timer: Timer | null = null;

  constructor(clock: Clock, host: AdmissionHost) {
    this.#clock = clock;
    this.#host = host;
  }

  arrive(client: WaitingClient): void {
    this.#arrived.push(client);
    if (this.#asked.length === 0) this.#ask();
  }

  /** A worker has announced all. */
  answered(worker: number, round: number): void {
    if (round === this.#round) this.#strike(worker);
  }

  /** A worker has ended. */
  ended(worker: number): void {
    this.#strike(worker);
  }

  /** Those who have not been let in yet, and will not be. */
  close(): WaitingClient[] {
    this.#timer?.cancel();
    this.#unanswered.clear();
    return [...this.#asked.splice(0), ...this.#arrived.splice(0)];
  }

  #ask(): void {
    this.#asked = this.#arrived;
    this.#arrived = [];
    this.#round++;
    const workers = this.#host.serving();
    if (workers.length === 0) {
      this.#settle();
      return;
    }
    this.#timer = this.#clock.after(ADMISSION_MS, () => {
      for (const worker of this.#unanswered) this.#host.unanswered(worker);
      this.#unanswered.clear();
      this.#settle();
    });
    for (const worker of workers) this.#unanswered.add(worker);
    for (const worker of workers) this.#host.ask(worker, this.#round);
  }

  #strike(worker: number): void {
    if (this.#unanswered.delete(worker) && this.#unanswered.size === 0) this.#settle();
  }

  #settle(): void {
    this.#timer?.cancel();
    for (const client of this.#asked.splice(0)) this.#host.admit(client);
    if (this.#arrived.length > 0) this.#ask();
  }
}
