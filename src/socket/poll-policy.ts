/**
 * When to poll for the next bytes rather than sleep until they come. Sleeping costs nothing, but waking up is slow. So
 * polling pays for a short while, and only where more bytes are likely to follow at once. The policy is a pure state
 * machine: its caller passes in the events and the time.
 */

/** Even a source whose windows always pass without a hit opens a window at one of this many arrivals. */
const STRIDE_MAX = 64;
/** An event loop that only polls has shorter turns than this. A longer turn means that another program had our core. */
export const INTERRUPTED_MS = 0.1;
/**
 * Bytes that come this long after the last turn (plus the time to read them) come from a sender that got our core in the
 * meantime. Sleeping would have given the sender the core at once, at less cost.
 */
export const POLL_HANDOVER_MS = 0.007;
const READ_BYTES_PER_MS = 1e6;
/** How long polling stops after an interruption. The pause doubles each time another interruption follows soon. */
const PAUSE_MS_MIN = 0.25;
const PAUSE_MS_MAX = 128;
/**
 * "Soon" is within this many times the pause. A program that always wants the core takes it again at once. Occasional
 * interruptions (measured: 150 a second) must not stop polling for long.
 */
const PAUSE_MEMORY = 2;

/**
 * How often polling after an arrival from one source was successful: whether bytes came within the window. Each source
 * has its own record. After a request, the next bytes may take long (or their sender may wait for the core that polls),
 * while after an answer they come at once.
 */
export class PollRecord {
  /** One of this many arrivals opens a window. The number doubles with each window that passes without a hit. */
  #stride = 1;
  #skipped = 0;

  get stride(): number {
    return this.#stride;
  }

  /** Bytes have come from the source. Returns whether to poll for the next ones. */
  arrived(): boolean {
    this.#skipped++;
    if (this.#skipped < this.#stride) return false;
    this.#skipped = 0;
    return true;
  }

  /** Bytes came within the window, from any source. */
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
  /** The source whose arrival opened the window; null while asleep. */
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

  /** Bytes have come from a source. `nowMs` is used only while polling. Returns whether to poll now. */
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

  /** This turn of the event loop has no more bytes to read. Returns whether to go on polling. */
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
