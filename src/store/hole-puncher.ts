import { nextTurn } from '../common/later.js';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { messageOf } from '../common/errors.js';
import { PUNCH_PROCESSES_MAX } from './limits.js';

/** A range to punch, and its callback. */
export interface PunchRange {
  readonly offset: number;
  readonly lengthBytes: number;
  /** Called once, in a later turn. `error` is null when the range is a hole. */
  readonly done: (error: string | null) => void;
}

/**
 * Punches holes into an open file. Node has no fallocate(2), so util-linux's `fallocate` punches on an inherited
 * descriptor (/proc/self/fd, which is valid even after a rename). A process takes milliseconds, so adjacent waiting
 * ranges are joined, and few processes run at the same time.
 */
export class HolePuncher {
  readonly #fd: number;
  readonly #waiting: PunchRange[] = [];
  #running = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  punch(range: PunchRange): void {
    this.#waiting.push(range);
    if (this.#running < PUNCH_PROCESSES_MAX) this.#runNext();
  }

  #runNext(): void {
    const joined = takeJoined(this.#waiting);
    if (joined.length === 0) return;
    const offset = joined[0]?.offset ?? 0;
    const lengthBytes = joined.reduce((sum, range) => sum + range.lengthBytes, 0);
    this.#running += 1;
    punchHole(this.#fd, offset, lengthBytes, (error) => {
      this.#running -= 1;
      for (const range of joined) range.done(error);
      this.#runNext();
    });
  }
}

/**
 * Checks that the file system supports punching and that the tool exists. Punches after the end of the file, where no
 * data can be lost. Resolves with null, or with the reason for a failure.
 */
export function probePunching(fd: number, sizeBytes: number): Promise<string | null> {
  const pageBytes = 4096;
  const offset = Math.ceil(sizeBytes / pageBytes) * pageBytes;
  return new Promise((resolve) => punchHole(fd, offset, pageBytes, resolve));
}

/** Removes the lowest waiting range and all ranges that continue it without a gap, in order of position. */
function takeJoined(waiting: PunchRange[]): PunchRange[] {
  waiting.sort((a, b) => a.offset - b.offset);
  let count = 0;
  let end = waiting[0]?.offset ?? 0;
  for (const range of waiting) {
    if (range.offset !== end) break;
    end += range.lengthBytes;
    count += 1;
  }
  return waiting.splice(0, count);
}

function punchHole(
  fd: number,
  offset: number,
  lengthBytes: number,
  done: (error: string | null) => void,
): void {
  const range = ['--offset', String(offset), '--length', String(lengthBytes)];
  let child: ChildProcess;
  try {
    child = spawn('fallocate', ['--punch-hole', ...range, '/proc/self/fd/3'], {
      stdio: ['ignore', 'ignore', 'pipe', fd],
    });
  } catch (error) {
    // Node throws when the system has no memory for another process (ENOMEM). Other failures are events.
    nextTurn(() => done(messageOf(error)));
    return;
  }
  let complaint = '';
  let startError: string | null = null;
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    if (complaint.length < 200) complaint += text;
  });
  child.on('error', (error) => {
    startError ??= error.message;
    // A process that did not start has no close event.
    if (child.pid === undefined) done(startError);
  });
  child.on('close', (code) => {
    if (child.pid === undefined) return;
    done(code === 0 ? null : complaint.trim() || `fallocate ended with ${code ?? 'a signal'}`);
  });
}
