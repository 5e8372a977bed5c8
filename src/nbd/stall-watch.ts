import type { SlabShare } from '../common/slab-share.js';
import { STALL_WATCH_MS } from './limits.js';
import type { NbdLimits } from './limits.js';

/** What of a transmission shows whether its client goes on; see Transmission. */
export interface Watched {
  readonly progress: number;
  readonly awaitsPeer: boolean;
}

/**
 * Looks at a client again and again. One that stops in the middle of a message, or leaves its replies, is to be cut
 * off in the end: it holds buffers. One that was seen to go on, twice since it last stood still, has proven that it
 * gives its buffers back.
 */
export class StallWatch {
  readonly periodMs: number;
  readonly #limits: NbdLimits;
  readonly #watched: Watched;
  readonly #share: SlabShare;
  #progress: number;
  #movedCount = 0;
  #stalledMs = 0;

  constructor(watched: Watched, share: SlabShare, limits: NbdLimits) {
    this.#watched = watched;
    this.#share = share;
    this.#limits = limits;
    this.#progress = watched.progress;
    this.periodMs = Math.min(STALL_WATCH_MS, limits.stallMs, limits.contendedStallMs);
  }

  /** To be called every `periodMs`. How long the client has stood still when it is to be cut off for that, or null. */
  look(): number | null {
    const { progress, awaitsPeer } = this.#watched;
    if (progress !== this.#progress) {
      this.#progress = progress;
      this.#stalledMs = 0;
      this.#share.isProven ||= ++this.#movedCount > 1;
    } else if (awaitsPeer) {
      this.#stalledMs += this.periodMs;
      this.#movedCount = 0;
      this.#share.isProven = false;
    } else {
      this.#stalledMs = 0;
    }
    const { stallMs, contendedStallMs } = this.#limits;
    const isTooLong =
      this.#stalledMs >= stallMs || (this.#stalledMs >= contendedStallMs && this.#share.isWanted);
    return isTooLong ? this.#stalledMs : null;
  }
}
