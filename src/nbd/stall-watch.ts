import type { SlabShare } from '../common/slab-share.js';
import { STALL_WATCH_MS } from './limits.js';
import type { NbdLimits } from './limits.js';

/** Shows whether the client of a transmission goes on; see Transmission. */
export interface Watched {
  readonly progress: number;
  readonly awaitsPeer: boolean;
}

/**
 * Looks at a client again and again. A client that stops in the middle of a message, or does not read its replies, holds
 * buffers, and must be cut off after some time. A client that went on at two looks since its last stop is proven: it
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

  /** Called every `periodMs`. Null, or, for a client that must be cut off, how long it has not moved. */
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
