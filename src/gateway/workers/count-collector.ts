import type { Clock, Timer } from '../../common/clock.js';
import { CounterSums, nonZero, readingsOf } from '../../observe/counter-sums.js';
import type { CounterReading } from '../../observe/counter-sums.js';
import type { CounterSet } from '../../observe/counters.js';
import { COUNT_ANSWER_MS, COUNT_PERIOD_MS } from './limits.js';
import type { ToWorker } from './messages.js';

/** A worker that is asked for its counters. */
export interface CountedSeat {
  readonly number: number;
  readonly isServing: boolean;
  send(message: ToWorker): void;
}

const OWN = 'primary';

/** Adds up the counters of all processes. */
export class CountCollector {
  readonly #clock: Clock;
  readonly #own: CounterSet;
  readonly #seats: readonly CountedSeat[];
  readonly #sums = new CounterSums();
  readonly #unanswered = new Set<number>();
  #timer: Timer | null = null;
  #onAnswered: (() => void)[] = [];

  constructor({
    clock,
    own,
    seats,
  }: {
    clock: Clock;
    own: CounterSet;
    seats: readonly CountedSeat[];
  }) {
    this.#clock = clock;
    this.#own = own;
    this.#seats = seats;
  }

  /** Asks the workers from time to time, so that few counts are lost when a worker is killed. */
  begin(): void {
    this.#timer = this.#clock.after(COUNT_PERIOD_MS, () => {
      this.#ask();
      this.begin();
    });
  }

  end(): void {
    this.#timer?.cancel();
  }

  /** Asks all workers. For a worker that does not answer soon, its last readings are used. */
  async collect(): Promise<Record<string, number>> {
    this.#ask();
    await new Promise<void>((resolve) => {
      const timer = this.#clock.after(COUNT_ANSWER_MS, resolve);
      this.#onAnswered.push(() => {
        timer.cancel();
        resolve();
      });
      this.#noteAnswered();
    });
    this.#sums.update(OWN, readingsOf(this.#own));
    return nonZero(this.#sums.total());
  }

  counted({ number }: CountedSeat, readings: readonly CounterReading[]): void {
    this.#sums.update(String(number), readings);
    this.#answered(number);
  }

  /** The worker's process has ended; the next one counts from zero. */
  ended({ number }: CountedSeat): void {
    this.#sums.end(String(number));
    this.#answered(number);
  }

  #ask(): void {
    for (const seat of this.#seats) {
      // A worker that does not answer is not asked again: messages to it would pile up.
      if (!seat.isServing || this.#unanswered.has(seat.number)) continue;
      this.#unanswered.add(seat.number);
      seat.send({ type: 'count' });
    }
  }

  #answered(number: number): void {
    this.#unanswered.delete(number);
    this.#noteAnswered();
  }

  #noteAnswered(): void {
    if (this.#unanswered.size > 0) return;
    for (const tell of this.#onAnswered.splice(0)) tell();
  }
}
