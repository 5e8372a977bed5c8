import type { Clock, Timer } from '../../common/clock.js';
import type { WaitingClient } from './handover.js';
import { ADMISSION_MS } from './limits.js';

/** The pool, as {@link ClientAdmission} uses it. */
export interface AdmissionHost {
  /** The numbers of the workers that are serving. */
  serving(): readonly number[];
  /** Asks a worker to announce the ranges that it is changing, and then to answer with `round`. */
  ask(worker: number, round: number): void;
  admit(client: WaitingClient): void;
  /** A worker did not answer in time; clients are admitted without its answer. */
  unanswered(worker: number): void;
}

/**
 * Admits clients. First, every worker announces the ranges that it is changing (see RangeNews). The reason: a client may
 * have been connected to another worker a moment ago, and old writes that this worker still has in flight must not
 * overwrite the client's new ones. Clients that come while the workers are being asked wait for the next round.
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

  /** A worker has announced all its ranges. */
  answered(worker: number, round: number): void {
    if (round === this.#round) this.#strike(worker);
  }

  /** A worker has ended. */
  ended(worker: number): void {
    this.#strike(worker);
  }

  /** Ends admission, and returns the clients that were not admitted. */
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
