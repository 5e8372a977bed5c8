/** The log takes this many lines of one message at once, and then this many a second: enough to see what happens. */
const BURST_LINES = 50;
const LINES_PER_SECOND = 5;
/** The same for all messages together: a peer can cause many messages, and some contain the peer's own words. */
const ALL_BURST_LINES = 400;
const ALL_LINES_PER_SECOND = 40;
/** The number of messages with a limit of their own. Further messages share the limit of all messages. */
const MESSAGES_MAX = 256;

/** How many lines of one kind were left out. */
export interface LeftOut {
  readonly message: string;
  readonly lines: number;
}

interface Bucket {
  /** Lines that may be written now. */
  lines: number;
  filledMs: number;
  leftOut: number;
}

/**
 * Limits the log lines that a peer can cause as often as it wants. Each kind of line has an allowance, which fills up
 * again slowly. Lines above it are counted. Lines with the same message are of one kind, whatever facts they carry.
 */
export class LineLimit {
  readonly #nowMs: () => number;
  readonly #kinds = new Map<string, Bucket>();
  readonly #all: Bucket;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#all = { lines: ALL_BURST_LINES, filledMs: nowMs(), leftOut: 0 };
  }

  /** True when the line may be written; otherwise it is counted. `isGrave`: the limit of all messages does not apply. */
  admits(message: string, isGrave: boolean): boolean {
    const now = this.#nowMs();
    const kind = this.#kindOf(message, now);
    fill(this.#all, now, ALL_LINES_PER_SECOND, ALL_BURST_LINES);
    if (kind !== this.#all) fill(kind, now, LINES_PER_SECOND, BURST_LINES);
    if (kind.lines < 1 || (!isGrave && this.#all.lines < 1)) {
      kind.leftOut += 1;
      return false;
    }
    kind.lines -= 1;
    if (kind !== this.#all) this.#all.lines = Math.max(0, this.#all.lines - 1);
    return true;
  }

  /** The lines that were left out since the last call. Forgets kinds that have not come for a long time. */
  takeLeftOut(): readonly LeftOut[] {
    const now = this.#nowMs();
    const all: LeftOut[] = [];
    for (const [message, kind] of this.#kinds) {
      if (kind.leftOut > 0) all.push({ message, lines: kind.leftOut });
      kind.leftOut = 0;
      fill(kind, now, LINES_PER_SECOND, BURST_LINES);
      if (kind.lines >= BURST_LINES) this.#kinds.delete(message);
    }
    if (this.#all.leftOut > 0) all.push({ message: 'others', lines: this.#all.leftOut });
    this.#all.leftOut = 0;
    return all;
  }

  #kindOf(message: string, now: number): Bucket {
    const known = this.#kinds.get(message);
    if (known !== undefined) return known;
    if (this.#kinds.size >= MESSAGES_MAX) return this.#all;
    const kind = { lines: BURST_LINES, filledMs: now, leftOut: 0 };
    this.#kinds.set(message, kind);
    return kind;
  }
}

function fill(bucket: Bucket, nowMs: number, linesPerSecond: number, linesMax: number): void {
  const gained = ((nowMs - bucket.filledMs) / 1000) * linesPerSecond;
  bucket.lines = Math.min(linesMax, bucket.lines + gained);
  bucket.filledMs = nowMs;
}
