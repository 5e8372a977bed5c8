import type { Clock, Timer } from '../../common/clock.js';
import type { SocketHandle } from '../../socket/data-socket.js';
import type { ClientCountLimits } from '../../nbd/client-counts.js';
import { ServerCounters } from '../../nbd/counters.js';
import type { Client } from '../../nbd/socket.js';
import type { CounterSet } from '../../observe/counters.js';
import type { Logger } from '../../observe/log.js';
import { IserNbdError } from '../../common/errors.js';
import { compareIdentities } from '../../disk/identity.js';
import type { UnitIdentity } from '../../disk/identity.js';
import { DRAIN_MS } from '../serving.js';
import type { CountReport } from '../serving.js';
import { ClientAdmission } from './admission.js';
import { BusyTable } from './busy-table.js';
import { CountCollector } from './count-collector.js';
import type { WaitingClient } from './handover.js';
import { ABANDON_MS, ORPHANS_HELD_MS, STOP_GRACE_MS } from './limits.js';
import type {
  BusyRanges,
  EndedRanges,
  FromWorker,
  LostWrites,
  SpawnWorker,
  StartMessage,
  ToWorker,
  UnitIdentities,
} from './messages.js';
import { ClientPlacement } from './placement.js';
import { unpackError } from './start-failure.js';
import { WorkerSeat } from './worker-seat.js';
import type { SeatEnding, WorkerSeatHandler } from './worker-seat.js';

export interface WorkerPoolOptions {
  readonly workers: number;
  readonly spawn: SpawnWorker;
  readonly limits: ClientCountLimits;
  /** Refuses a client above the limit, with the reason. */
  readonly refuse: (client: Client, message: string) => void;
  /** The present contents of a start message; the pool adds the rest. */
  readonly startMessage: () => Omit<StartMessage, 'type' | 'worker' | 'lost' | 'units'>;
  readonly log: Logger;
  readonly clock: Clock;
  readonly counters: CounterSet;
}

/**
 * The worker processes. The pool starts them, replaces those that end, gives them clients, and passes on news for all of
 * them. `placement.ts`, `handover.ts` and `supervision.ts` make its decisions.
 */
export class WorkerPool implements WorkerSeatHandler {
  readonly #options: WorkerPoolOptions;
  readonly #log: Logger;
  readonly #seats: readonly WorkerSeat[];
  readonly #placement: ClientPlacement;
  readonly #serverCounters: ServerCounters;
  readonly #counts: CountCollector;
  readonly #lost = new Map<string, LostWrites>();
  /** Exports whose session was lost: the writes in the target's cache may be lost too. */
  readonly #suspected = new Map<string, LostWrites>();
  /** Clients for which there is no worker at the moment. */
  #waiting: WaitingClient[] = [];
  #lastConn = 0;
  /** Set while the workers start for the first time. */
  #starting: { resolve: () => void; reject: (error: Error) => void } | null = null;
  /** The unit behind each export. */
  readonly #units = new Map<string, UnitIdentity>();
  readonly #busy = new BusyTable();
  readonly #orphanTimers = new Map<number, Timer>();
  readonly #admission: ClientAdmission;
  #isStopping = false;
  #onAllStopped: (() => void) | null = null;

  constructor(options: WorkerPoolOptions) {
    const { workers, clock, spawn, log, counters, limits } = options;
    this.#options = options;
    this.#log = log;
    this.#placement = new ClientPlacement(limits);
    this.#admission = new ClientAdmission(clock, {
      serving: () => this.#seats.filter((seat) => seat.isServing).map(({ number }) => number),
      ask: (worker, round) => this.#seatOf(worker)?.send({ type: 'announce', round }),
      admit: (client) => this.#place(client),
      unanswered: (worker) => {
        const message =
          'a worker does not announce its writes; clients are admitted without its answer';
        this.#log.warn({ worker }, message);
      },
    });
    this.#serverCounters = new ServerCounters(counters);
    const numbers = Array.from({ length: workers }, (_, index) => index + 1);
    this.#seats = numbers.map((number) => new WorkerSeat(number, { clock, spawn, handler: this }));
    this.#counts = new CountCollector({ clock, own: counters, seats: this.#seats });
  }

  /** Resolves when all workers serve. Rejects with the first worker's error; then all workers have ended. */
  async start(): Promise<void> {
    const started = new Promise<void>((resolve, reject) => (this.#starting = { resolve, reject }));
    for (const seat of this.#seats) seat.begin();
    try {
      await started;
    } catch (error) {
      await this.#stop(ABANDON_MS);
      throw error;
    }
    this.#counts.begin();
  }

  /** The server listens on a Unix socket: keeps places for its clients. */
  keepForUnix(): void {
    this.#placement.keepForUnix();
  }

  /** Takes a client. Its handle belongs to the pool from now on. */
  accept(handle: SocketHandle, address: string | null): void {
    if (this.#isStopping) {
      handle.close();
      return;
    }
    const refusal = this.#placement.refusal(address);
    if (refusal !== null) {
      this.#serverCounters.refused.add();
      const facts = { ...refusal.facts, remote: address ?? 'unix' };
      this.#log.warn(facts, 'too many clients; refusing one');
      this.#options.refuse({ socket: handle, address }, refusal.message);
      return;
    }
    const conn = ++this.#lastConn;
    this.#placement.admit(conn, address);
    this.#admission.arrive({ conn, address, handle });
  }

  /** Sends a message to all workers that serve. Later workers get the same news in their start message. */
  broadcast(message: ToWorker): void {
    for (const seat of this.#seats) if (seat.isServing) seat.send(message);
  }

  async report(): Promise<CountReport> {
    const counters = await this.#counts.collect();
    const counts = this.#seats.map(({ number }): [string, number] => [
      String(number),
      this.#placement.countOf(number),
    ]);
    return { counters, connections: Object.fromEntries(counts) };
  }

  /** Every worker drains, logs out and ends. A worker that takes too long is killed. */
  stop(): Promise<void> {
    return this.#stop(DRAIN_MS + STOP_GRACE_MS);
  }

  async #stop(withinMs: number): Promise<void> {
    this.#isStopping = true;
    this.#counts.end();
    for (const timer of this.#orphanTimers.values()) timer.cancel();
    for (const client of this.#admission.close()) this.#drop(client);
    for (const client of this.#waiting.splice(0)) this.#drop(client);
    const stopped = new Promise<void>((resolve) => (this.#onAllStopped = resolve));
    for (const seat of this.#seats) seat.stop();
    const timer = this.#options.clock.after(withinMs, () => {
      for (const seat of this.#seats) seat.kill();
    });
    const killAll = (): void => this.#seats.forEach((seat) => seat.kill());
    process.once('exit', killAll);
    this.#noteStopped();
    await stopped;
    timer.cancel();
    process.off('exit', killAll);
  }

  // WorkerSeatHandler

  onUp(seat: WorkerSeat): void {
    const lost = this.#lostForNewcomers;
    const units = Object.fromEntries(this.#units);
    seat.send({ type: 'start', worker: seat.number, lost, units, ...this.#options.startMessage() });
  }

  onReady(seat: WorkerSeat, units: UnitIdentities): void {
    if (!this.#learnUnits(seat, units)) return;
    this.#tellBusy(seat);
    // News of the LUNs and of the TLS files that came while the worker logged in.
    for (const lost of this.#lostForNewcomers) seat.send({ type: 'writesLost', ...lost });
    const { tlsContents: contents } = this.#options.startMessage();
    if (contents !== null) seat.send({ type: 'tls', contents });
    this.#placement.open(seat.number);
    if (this.#starting === null) {
      this.#log.info({ worker: seat.number, workerPid: seat.pid }, 'worker ready');
    } else if (this.#seats.every(({ isServing }) => isServing)) {
      this.#starting.resolve();
      this.#starting = null;
    }
    for (const client of this.#waiting.splice(0)) this.#place(client);
  }

  onMessage(seat: WorkerSeat, message: FromWorker): void {
    if (message.type === 'released') this.#placement.release(message.conn);
    else if (message.type === 'counted') this.#counts.counted(seat, message.readings);
    else if (message.type === 'writesLost') this.#writesLost(seat, message);
    else if (message.type === 'announced') this.#admission.answered(seat.number, message.round);
    else if (message.type === 'busy') this.#busyHeard(seat, message);
    else if (message.type === 'over') this.#overHeard(seat, message);
    else if (message.type === 'diskLost') this.#diskLost(message);
    else if (message.type === 'failed') {
      if (this.#starting !== null) this.#startFailed(unpackError(message.error));
      else {
        const facts = { worker: seat.number, reason: message.error.message };
        this.#log.error(facts, 'a worker cannot start; the others go on');
      }
    }
  }

  onEnded(seat: WorkerSeat, { status, signal, pid, waiting, delayMs }: SeatEnding): void {
    const { number: worker } = seat;
    this.#counts.ended(seat);
    if (!this.#isStopping) this.#holdOrphans(worker);
    this.#placement.shut(worker);
    const unserved = new Set(waiting.map(({ conn }) => conn));
    const cut = this.#placement.clientsOf(worker).filter((conn) => !unserved.has(conn));
    for (const conn of cut) this.#placement.release(conn);
    if (this.#isStopping) {
      for (const client of waiting) this.#drop(client);
      this.#noteStopped();
      return;
    }
    const how = signal === null ? `exit status ${status ?? 'unknown'}` : `signal ${signal}`;
    if (this.#starting !== null) {
      this.#startFailed(new Error(`worker ${worker} ended before it was ready (${how})`));
      return;
    }
    const facts = { worker, workerPid: pid, status, signal, connectionsLost: cut.length, delayMs };
    this.#log.error(facts, 'a worker has ended; starting another one');
    for (const client of waiting) this.#place(client);
    this.#admission.ended(worker);
  }

  onStalled(seat: WorkerSeat, waiting: readonly WaitingClient[]): void {
    const { number: worker, pid: workerPid } = seat;
    this.#log.warn({ worker, workerPid }, 'a worker does not answer; it gets no more clients');
    this.#placement.shut(worker);
    for (const client of waiting) this.#place(client);
  }

  onRecovered({ number: worker, pid: workerPid }: WorkerSeat): void {
    this.#log.info({ worker, workerPid }, 'a worker answers again');
    this.#placement.open(worker);
    for (const client of this.#waiting.splice(0)) this.#place(client);
  }

  // Ranges that are being changed, and units.

  #busyHeard(from: WorkerSeat, { unitName, ranges }: BusyRanges): void {
    this.#busy.add(from.number, { unitName, ranges });
    this.#tellOthers(from.number, { type: 'busy', worker: from.number, unitName, ranges });
  }

  #overHeard(from: WorkerSeat, { unitName, numbers }: EndedRanges): void {
    this.#busy.end(from.number, { unitName, numbers });
    this.#tellOver(from.number, { unitName, numbers });
  }

  #tellOver(worker: number, { unitName, numbers }: EndedRanges): void {
    this.#tellOthers(worker, { type: 'over', worker, unitName, numbers });
  }

  #tellOthers(worker: number, news: ToWorker): void {
    for (const seat of this.#seats) if (seat.number !== worker && seat.isServing) seat.send(news);
  }

  /**
   * A worker begins to serve. It gets the ranges that the other workers are changing. The others hear that the ranges of
   * its predecessor have ended: these were held until now, while the new worker logged in.
   */
  #tellBusy(seat: WorkerSeat): void {
    this.#dropBusy(seat.number);
    for (const { number: worker } of this.#seats) {
      for (const news of this.#busy.of(worker)) seat.send({ type: 'busy', worker, ...news });
    }
  }

  #dropBusy(worker: number): void {
    this.#orphanTimers.get(worker)?.cancel();
    this.#orphanTimers.delete(worker);
    for (const ended of this.#busy.drop(worker)) this.#tellOver(worker, ended);
  }

  /** Holds the ranges of a worker that has ended until its successor serves, but not for ever. */
  #holdOrphans(worker: number): void {
    if (this.#busy.of(worker).length === 0) return;
    const timer = this.#options.clock.after(ORPHANS_HELD_MS, () => this.#dropBusy(worker));
    this.#orphanTimers.set(worker, timer);
  }

  /** All workers must find the same units behind the exports. False when this worker found another one; then it ends. */
  #learnUnits(seat: WorkerSeat, units: UnitIdentities): boolean {
    for (const [exportName, identity] of Object.entries(units)) {
      const known = this.#units.get(exportName);
      if (known === undefined) this.#units.set(exportName, identity);
      else if (compareIdentities(known, identity) === 'other') {
        this.#foundOther(seat, exportName);
        return false;
      }
    }
    return true;
  }

  #foundOther(seat: WorkerSeat, exportName: string): void {
    const facts = { worker: seat.number, export: exportName };
    const message = `worker ${seat.number} found a different disk behind export ${exportName} than the others`;
    if (this.#starting !== null) this.#startFailed(new IserNbdError('other-unit', message, facts));
    else {
      this.#log.error(facts, message);
      seat.kill();
    }
  }

  #startFailed(error: Error): void {
    this.#starting?.reject(error);
    this.#starting = null;
  }

  #place(client: WaitingClient): void {
    const seat = this.#seatOf(this.#placement.place(client.conn));
    if (seat === undefined) this.#waiting.push(client);
    else seat.give(client);
  }

  #seatOf(worker: number | null): WorkerSeat | undefined {
    return this.#seats.find(({ number }) => number === worker);
  }

  #drop({ conn, handle }: WaitingClient): void {
    handle.close();
    this.#placement.release(conn);
  }

  /** A flush on any worker covers the writes of all workers, so no worker's flush may succeed any more. */
  #writesLost(from: WorkerSeat, { exportName, reason }: LostWrites): void {
    if (this.#lost.has(exportName)) return;
    this.#lost.set(exportName, { exportName, reason });
    // Draining workers hear it too: they may still have flushes. A starting worker hears it again when it is ready.
    for (const seat of this.#seats) {
      if (seat !== from) seat.send({ type: 'writesLost', exportName, reason });
    }
  }

  /**
   * The target may have restarted and lost its cache. A worker whose session goes on knows that it has not. A worker that
   * logs in from now on cannot know, and its flushes would confirm the earlier writes of other workers.
   */
  #diskLost({ exportName, reason }: LostWrites): void {
    this.#suspected.set(exportName, { exportName, reason });
  }

  get #lostForNewcomers(): readonly LostWrites[] {
    return [...new Map([...this.#suspected, ...this.#lost]).values()];
  }

  #noteStopped(): void {
    if (this.#seats.every(({ isStopped }) => isStopped)) this.#onAllStopped?.();
  }
}
