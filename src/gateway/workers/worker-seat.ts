import type { Clock } from '../../common/clock.js';
import { Handover } from './handover.js';
import type { WaitingClient } from './handover.js';
import type {
  Ending,
  FromWorker,
  SpawnWorker,
  ToWorker,
  UnitIdentities,
  WorkerLink,
} from './messages.js';
import { Supervision } from './supervision.js';

/** Receives the events of a seat. */
export interface WorkerSeatHandler {
  /** A new process listens for messages, and needs its start message. */
  onUp(seat: WorkerSeat): void;
  onReady(seat: WorkerSeat, units: UnitIdentities): void;
  onMessage(seat: WorkerSeat, message: FromWorker): void;
  /** The process has ended. It never had the clients in `waiting`. `delayMs` is null when no other process follows. */
  onEnded(seat: WorkerSeat, how: SeatEnding): void;
  onStalled(seat: WorkerSeat, waiting: readonly WaitingClient[]): void;
  onRecovered(seat: WorkerSeat): void;
}

export interface SeatEnding extends Ending {
  readonly pid: number;
  readonly waiting: readonly WaitingClient[];
  readonly delayMs: number | null;
}

/** One worker's number, and its processes, one after the other. */
export class WorkerSeat {
  readonly number: number;
  readonly #clock: Clock;
  readonly #spawn: SpawnWorker;
  readonly #handler: WorkerSeatHandler;
  readonly #supervision: Supervision;
  #link: WorkerLink | null = null;
  #handover: Handover;

  constructor(
    number: number,
    { clock, spawn, handler }: { clock: Clock; spawn: SpawnWorker; handler: WorkerSeatHandler },
  ) {
    this.number = number;
    this.#clock = clock;
    this.#spawn = spawn;
    this.#handler = handler;
    this.#supervision = new Supervision(clock, () => this.#startProcess());
    this.#handover = this.#newHandover();
  }

  begin(): void {
    this.#supervision.begin();
  }

  get isServing(): boolean {
    return this.#supervision.state === 'serving';
  }

  get isStopped(): boolean {
    return this.#supervision.state === 'stopped';
  }

  get pid(): number {
    return this.#link?.pid ?? 0;
  }

  send(message: ToWorker): void {
    this.#link?.send(message);
  }

  /** Passes a client to the worker. */
  give(client: WaitingClient): void {
    this.#handover.give(client);
  }

  /** Starts no more processes, and asks the present one to end. */
  stop(): void {
    if (this.#supervision.stop()) this.send({ type: 'stop' });
  }

  kill(): void {
    this.#link?.kill();
  }

  #startProcess(): void {
    this.#handover = this.#newHandover();
    const link = this.#spawn(this.number, {
      onMessage: (message) => this.#onMessage(message),
      onEnded: (ending) => this.#onEnded(link, ending),
    });
    this.#link = link;
  }

  #newHandover(): Handover {
    return new Handover(this.#clock, {
      send: ({ conn, address, handle }) =>
        this.#link?.send({ type: 'client', conn, address }, handle),
      stalled: (clients) => this.#handler.onStalled(this, clients),
      recovered: () => this.#handler.onRecovered(this),
    });
  }

  #onMessage(message: FromWorker): void {
    const { state } = this.#supervision;
    if (message.type === 'up') {
      // A `stop` that was sent before the worker listened may be lost, so it is sent again.
      if (state === 'starting') this.#handler.onUp(this);
      else this.send({ type: 'stop' });
    } else if (message.type === 'ready') {
      // When the worker is stopping, `stop` has been sent to it.
      if (state !== 'starting') return;
      this.#supervision.ready();
      this.#handler.onReady(this, message.units);
    } else if (message.type === 'taken') {
      this.#handover.taken(message.conn);
    } else {
      this.#handler.onMessage(this, message);
    }
  }

  #onEnded({ pid }: WorkerLink, ending: Ending): void {
    this.#link = null;
    const waiting = this.#handover.end();
    const delayMs = this.#supervision.ended();
    this.#handler.onEnded(this, { ...ending, pid, waiting, delayMs });
  }
}
