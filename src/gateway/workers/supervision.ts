import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import type { Clock, Timer } from '../../common/clock.js';
import { RESTART_DELAY_MAX_MS, RESTART_DELAY_MIN_MS, STABLE_MS } from './limits.js';

export type SupervisionState = 'idle' | 'starting' | 'serving' | 'waiting' | 'stopping' | 'stopped';

const EDGES: Edges<SupervisionState> = {
  idle: ['starting', 'stopped'],
  starting: ['serving', 'waiting', 'stopping'],
  serving: ['waiting', 'stopping'],
  waiting: ['starting', 'stopped'],
  stopping: ['stopped'],
  stopped: [],
};

/**
 * Decides when the process of one worker is started: again after each end, until {@link stop}.
 *
 *     idle ──> starting ──ready──> serving
 *                 │  ^               │          stop, from everywhere:
 *               ended│delay          │ended       with a process:    stopping ──ended──> stopped
 *                 v  │               │            without a process: stopped
 *               waiting <────────────┘
 */
export class Supervision {
  readonly #clock: Clock;
  readonly #start: () => void;
  readonly #machine = new StateMachine('a worker', EDGES, 'idle');
  /** Processes in a row that ended early. */
  #endings = 0;
  #servingSinceMs = 0;
  #timer: Timer | null = null;

  /** `start` starts a process. */
  constructor(clock: Clock, start: () => void) {
    this.#clock = clock;
    this.#start = start;
  }

  get state(): SupervisionState {
    return this.#machine.state;
  }

  begin(): void {
    this.#machine.enter('starting');
    this.#start();
  }

  ready(): void {
    this.#machine.enter('serving');
    this.#servingSinceMs = this.#clock.nowMs();
  }

  /** The process has ended, or could not be started. Returns the delay until the next one; null for none. */
  ended(): number | null {
    if (this.#machine.state === 'stopping') {
      this.#machine.enter('stopped');
      return null;
    }
    const isStable =
      this.#machine.state === 'serving' && this.#clock.nowMs() - this.#servingSinceMs >= STABLE_MS;
    if (isStable) this.#endings = 0;
    const delayMs =
      this.#endings === 0
        ? 0
        : Math.min(RESTART_DELAY_MAX_MS, RESTART_DELAY_MIN_MS * 2 ** (this.#endings - 1));
    this.#endings++;
    this.#machine.enter('waiting');
    this.#timer = this.#clock.after(delayMs, () => this.begin());
    return delayMs;
  }

  /** Starts no more processes; true when a process still runs. */
  stop(): boolean {
    this.#timer?.cancel();
    const { state } = this;
    if (state === 'stopping' || state === 'stopped') return state === 'stopping';
    const isRunning = state === 'starting' || state === 'serving';
    this.#machine.enter(isRunning ? 'stopping' : 'stopped');
    return isRunning;
  }
}
