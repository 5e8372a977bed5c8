import type { Clock, Timer } from '../../common/clock.js';
import { WATCHDOG_GIVE_UP_TICKS, WATCHDOG_PING_TICKS, WATCHDOG_TICK_MS } from './limits.js';

/** The session that a watchdog observes. */
export interface WatchdogSubject {
  /** A number that changes with every sign of life of the peer. */
  activity(): number;
  ping(): void;
  giveUp(): void;
}

/**
 * Detects a dead peer, with or without waiting commands: the watchdog pings after a time of silence, and ends the
 * session after the same time again. One timer per session, none per command.
 */
export class Watchdog {
  readonly #clock: Clock;
  readonly #subject: WatchdogSubject;
  #timer: Timer;
  #lastActivity = 0;
  #silentTicks = 0;

  constructor(clock: Clock, subject: WatchdogSubject) {
    this.#clock = clock;
    this.#subject = subject;
    this.#timer = this.#arm();
  }

  stop(): void {
    this.#timer.cancel();
  }

  #arm(): Timer {
    return this.#clock.after(WATCHDOG_TICK_MS, () => this.#tick());
  }

  #tick(): void {
    const activity = this.#subject.activity();
    this.#silentTicks = activity === this.#lastActivity ? this.#silentTicks + 1 : 0;
    this.#lastActivity = activity;
    if (this.#silentTicks >= WATCHDOG_GIVE_UP_TICKS) {
      this.#subject.giveUp();
      return;
    }
    if (this.#silentTicks === WATCHDOG_PING_TICKS) this.#subject.ping();
    this.#timer = this.#arm();
  }
}
