/** A message may come this often at once, and then this often a second: enough to see what happens. */
const BURST_LINES = 50;
const LINES_PER_SECOND = 5;
/** The same for all messages together: there are many that a peer can cause, and some have its words in them. */
const ALL_BURST_LINES = 400;
const ALL_LINES_PER_SECOND = 40;
/** Messages that are told apart. Above that, new ones share what is left of all. */
const MESSAGES_MAX = 256;

/** So many lines of one kind were left out. */
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
 * How many lines a log gets of what a peer can cause as often as it wants: some of each kind, which fill up again slowly.
 * The rest is counted. What makes a kind is the message, without what follows it in a line.
 */
export class LineLimit {
  readonly #nowMs: () => number;
  readonly #kinds = new Map<string, Bucket>();
  readonly #all: Bucket;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#all = { lines: ALL_BURST_LINES, filledMs: nowMs(), leftOut: 0 };
  }

  /** True when the line may be written; otherwise it has been counted. `isGrave`: other kinds do not keep it out. */
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

  /** What was left out since it was asked last, and forgets kinds that have not come for long. */
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
