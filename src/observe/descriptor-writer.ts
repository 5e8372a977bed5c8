import { constants, fstatSync, openSync, write, writeSync } from 'node:fs';
import { isatty } from 'node:tty';

/** The most that waits while a reader does not read: some thousand lines of a log. */
const QUEUE_BYTES_MAX = 256 * 1024;
/** The time between two tries to write to a full pipe, and to a full disk. */
const FULL_RETRY_MS = 50;
const FAILED_RETRY_MS = 5000;
/** A write in a thread that takes longer than this waits for a slow reader. */
const STALLED_MS = 250;
/** How long the end of the process waits for a slow reader, and the time between two tries. */
const EXIT_WAIT_MS = 500;
const EXIT_RETRY_MS = 10;

/** Returns a line that says how many lines were lost, and why; an empty string to say nothing. */
export type LossNotice = (lines: number, reason: string) => string;

/** Bytes that are written together, and how many lines are lost when they cannot be written. */
interface Piece {
  bytes: Buffer;
  lines: number;
  isBegun: boolean;
}

/**
 * Writes lines to a descriptor that other programs share (standard error), and never waits. Lines that cannot be written
 * are dropped and counted. When writing works again, their number is written.
 *
 * O_NONBLOCK belongs to the open file, so it would change the descriptor of the other programs too. A pipe or terminal is
 * opened anew instead, through /proc, which gives an open file of our own. That is not possible for a socket, nor for a
 * pipe of another user: there, a thread of Node's pool writes and waits, while the main thread goes on.
 */
export class DescriptorWriter {
  readonly #fd: number;
  readonly #inThread: boolean;
  readonly #notice: LossNotice;
  readonly #queue: Piece[] = [];
  readonly #waiters = new Set<() => void>();
  #queuedBytes = 0;
  #lostLines = 0;
  #lossReason = '';
  /** A line was lost after its beginning had been written: the next piece begins on a new line. */
  #isTorn = false;
  /** Set while a pipe is full. */
  #fullRetry: NodeJS.Timeout | null = null;
  /** Set while a notice of lost lines waits to be written. */
  #lossRetry: NodeJS.Timeout | null = null;
  /** When the write began that a thread does now; null while no thread writes. */
  #writingSince: number | null = null;
  #isExiting = false;

  constructor(fd: number, notice: LossNotice = () => '') {
    this.#notice = notice;
    const ours = reopened(fd);
    this.#fd = ours ?? fd;
    this.#inThread = ours === null && mayBlock(fd);
  }

  /** Writes one or several whole lines. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    const lines = text.split('\n').length - 1;
    if (this.#queuedBytes + bytes.length > QUEUE_BYTES_MAX) {
      this.#lose(lines, 'the reader is too slow');
      return;
    }
    this.#add(bytes, lines);
    if (this.#isExiting || this.#fullRetry === null) this.#pump();
  }

  /** Resolves when everything is written, or after `withinMs`. */
  drain(withinMs: number): Promise<void> {
    if (this.#isIdle) return Promise.resolve();
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        this.#waiters.delete(done);
        resolve();
      };
      const timer = setTimeout(done, withinMs);
      this.#waiters.add(done);
    });
  }

  /**
   * For the end of the process: writes as much as possible within half a second. False when a thread hangs in a write; an
   * ordinary exit would wait for that thread.
   */
  finish(): boolean {
    this.#isExiting = true;
    if (this.isStalled) return false;
    const until = performance.now() + EXIT_WAIT_MS;
    this.#pump();
    while (this.#queue.length > 0 && performance.now() < until) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, EXIT_RETRY_MS);
      this.#pump();
    }
    return true;
  }

  /** A thread hangs in a write. */
  get isStalled(): boolean {
    return this.#writingSince !== null && performance.now() - this.#writingSince > STALLED_MS;
  }

  get #isIdle(): boolean {
    return this.#queue.length === 0 && this.#writingSince === null;
  }

  #add(bytes: Buffer, lines: number): void {
    this.#queue.push({ bytes, lines, isBegun: false });
    this.#queuedBytes += bytes.length;
  }

  #pump(): void {
    if (this.#inThread && !this.#isExiting) this.#writeInThread();
    else this.#writeHere();
    if (this.#isIdle) for (const waiter of [...this.#waiters]) waiter();
  }

  #writeHere(): void {
    for (let piece = this.#next(); piece !== null; piece = this.#next()) {
      try {
        this.#written(piece, writeSync(this.#fd, piece.bytes));
      } catch (error) {
        if (!this.#failed(piece, error)) return;
      }
    }
  }

  #writeInThread(): void {
    if (this.#writingSince !== null) return;
    const piece = this.#next();
    if (piece === null) return;
    // The piece leaves the queue, so that the end of the process does not write it again.
    this.#queue.shift();
    this.#writingSince = performance.now();
    write(this.#fd, piece.bytes, (error, count) => {
      this.#writingSince = null;
      this.#queue.unshift(piece);
      if (error === null) this.#written(piece, count);
      else if (!this.#failed(piece, error)) return;
      this.#pump();
    });
  }

  /** The first piece; after a torn line, with a line end before it. */
  #next(): Piece | null {
    const piece = this.#queue[0];
    if (piece === undefined) return null;
    if (this.#isTorn && !piece.isBegun) {
      this.#isTorn = false;
      this.#queuedBytes += 1;
      piece.bytes = Buffer.from(`\n${piece.bytes.toString()}`);
    }
    return piece;
  }

  #written(piece: Piece, count: number): void {
    this.#queuedBytes -= count;
    piece.isBegun ||= count > 0;
    piece.bytes = piece.bytes.subarray(count);
    if (piece.bytes.length > 0) return;
    this.#queue.shift();
    if (this.#lostLines > 0) this.#addNotice();
  }

  /** False when the piece will be tried again later; true when it is lost. */
  #failed(piece: Piece, error: unknown): boolean {
    const { code = '', message } = error as NodeJS.ErrnoException;
    if (code === 'EAGAIN') {
      this.#fullRetry ??= this.#later(FULL_RETRY_MS, () => (this.#fullRetry = null));
      return false;
    }
    this.#queue.shift();
    this.#queuedBytes -= piece.bytes.length;
    this.#isTorn ||= piece.isBegun;
    this.#lose(piece.lines, REASONS[code] ?? message);
    return true;
  }

  #lose(lines: number, reason: string): void {
    this.#lostLines += lines;
    this.#lossReason = reason;
    this.#lossRetry ??= this.#later(FAILED_RETRY_MS, () => {
      this.#lossRetry = null;
      if (this.#isIdle && this.#lostLines > 0) this.#addNotice();
    });
  }

  /** The notice counts as many lines as it reports: when it is lost, they are reported again. */
  #addNotice(): void {
    this.#add(Buffer.from(this.#notice(this.#lostLines, this.#lossReason)), this.#lostLines);
    this.#lostLines = 0;
  }

  #later(afterMs: number, action: () => void): NodeJS.Timeout {
    return setTimeout(() => {
      action();
      this.#pump();
    }, afterMs).unref();
  }
}

const REASONS: Readonly<Partial<Record<string, string>>> = {
  EPIPE: 'the reader has gone',
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
  EIO: 'the terminal or disk is gone',
};

/** An open file of our own for the pipe or terminal `fd`; null when `fd` is something else or cannot be opened anew. */
function reopened(fd: number): number | null {
  try {
    if (!fstatSync(fd).isFIFO() && !isatty(fd)) return null;
    const flags = constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    return openSync(`/proc/self/fd/${fd}`, flags);
  } catch {
    return null;
  }
}

/** Files and most devices do not wait for a reader. */
function mayBlock(fd: number): boolean {
  try {
    const stats = fstatSync(fd);
    return stats.isFIFO() || stats.isSocket() || isatty(fd);
  } catch {
    return false;
  }
}
