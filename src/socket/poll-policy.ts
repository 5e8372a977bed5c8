/**
 * When to poll for the next bytes rather than sleep until they come. Sleeping costs nothing and waking up is slow; so
 * it pays to poll for a short while where bytes are likely to follow at once, and nowhere else. All of it is a pure
 * state machine: whoever drives it hands in what happened and the time.
 */

/** Of so many arrivals in a row one still opens a window, however often windows have passed without a hit. */
const STRIDE_MAX = 64;
/** Two turns of an event loop that only polls are further apart than this when something else has had our core. */
export const INTERRUPTED_MS = 0.1;
/**
 * Bytes that come so long after the turn before (and what reading them takes) were sent by somebody who was given our
 * core meanwhile. Sleeping would have given it to him at once, and with less ado.
 */
export const POLL_HANDOVER_MS = 0.007;
const READ_BYTES_PER_MS = 1e6;
/** How long polling stops after an interruption; twice as long each time, when it happens again soon after. */
const PAUSE_MS_MIN = 0.25;
const PAUSE_MS_MAX = 128;
/**
 * "Soon after": within so many times the pause. Who wants the core all the time takes it again at once; the odd interruption
 * (measured: 150 in a second) must not stop polling for long.
 */
const PAUSE_MEMORY = 2;

/**
 * How well polling after an arrival from one source has done: whether anything came within the window. Each source has
 * its own: behind a request, the bytes that follow may be long in coming (or wait for the very core that we poll on),
 * while behind the answer they are there at once.
 */
export class PollRecord {
  /** One of so many arrivals opens a window: 1, 2, 4 … as windows pass in vain. */
  #stride = 1;
  #skipped = 0;

  get stride(): number {
    return this.#stride;
  }

  /** Bytes have come from the source: whether to poll for what follows. */
  arrived(): boolean {
    this.#skipped++;
    if (this.#skipped < this.#stride) return false;
    this.#skipped = 0;
    return true;
  }

  /** Something came within the window, from elsewhere. */
  hit(): void {
    this.#stride = 1;
  }

  missed(): void {
    this.#stride = Math.min(this.#stride * 2, STRIDE_MAX);
  }
}

/**
 *      asleep ── arrived, and the source's record is good ──> polling ── the window has passed: missed ──> asleep
 *        ^                                                     │  ^ └── arrived: hit, and a new window, or asleep
 *        └──── something else had the core: a pause first ─────┘  └ turn
 */
export class PollPolicy {
  readonly #windowMs: number;
  /** Whose arrival has opened the window; null while asleep. */
  #opener: PollRecord | null = null;
  /** The window has been opened, or opened anew, since the last turn. */
  #isFresh = false;
  #windowEndMs = 0;
  #lastTurnMs = 0;
  #pauseMs = PAUSE_MS_MIN;
  #pauseEndMs = -Infinity;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get isPolling(): boolean {
    return this.#opener !== null;
  }

  /** So many bytes have come from a source; the time counts while polling only. Returns whether to poll now. */
  arrived(source: PollRecord, bytes: number, nowMs: number): boolean {
    if (this.#opener !== null) {
      const sinceMs = this.#isFresh ? 0 : nowMs - this.#lastTurnMs;
      if (sinceMs > POLL_HANDOVER_MS + bytes / READ_BYTES_PER_MS) this.#opener.missed();
      else this.#opener.hit();
    }
    this.#opener = source.arrived() ? source : null;
    this.#isFresh = true;
    return this.#opener !== null;
  }

  /** Nothing more is to be read in this turn of the event loop. Returns whether to go on polling. */
  turn(nowMs: number): boolean {
    if (this.#opener === null) return false;
    if (this.#isFresh) this.#open(nowMs);
    else if (nowMs - this.#lastTurnMs > INTERRUPTED_MS) this.#pause(nowMs);
    else if (nowMs >= this.#windowEndMs) this.#miss();
    this.#lastTurnMs = nowMs;
    return this.isPolling;
  }

  #open(nowMs: number): void {
    this.#isFresh = false;
    this.#windowEndMs = nowMs + this.#windowMs;
    if (nowMs < this.#pauseEndMs) this.#opener = null;
  }

  #miss(): void {
    this.#opener?.missed();
    this.#opener = null;
  }

  #pause(nowMs: number): void {
    this.#opener = null;
    const isAgain = nowMs - this.#pauseEndMs < PAUSE_MEMORY * this.#pauseMs;
    this.#pauseMs = isAgain ? Math.min(this.#pauseMs * 2, PAUSE_MS_MAX) : PAUSE_MS_MIN;
    this.#pauseEndMs = nowMs + this.#pauseMs;
  }
}
