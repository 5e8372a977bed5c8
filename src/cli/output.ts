import { writeSync } from 'node:fs';
import { Priority, writeError, writeOutput } from '../observe/standard-streams.js';

const STANDARD_OUTPUT = 1;
const FULL_WAIT_MS = 10;

/**
 * Prints what a command is for, and waits for whoever reads it. When nobody does any more (`iser-nbd info … | head -1`), the
 * process ends as other tools do, by SIGPIPE and without a word.
 */
export function print(text: string): void {
  const bytes = Buffer.from(text);
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(STANDARD_OUTPUT, bytes, at);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === 'EAGAIN') {
        // Somebody else has made it O_NONBLOCK.
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_WAIT_MS);
        continue;
      }
      if (code === 'EPIPE') endByBrokenPipe();
      complain(`iser-nbd: cannot write to standard output: ${REASONS[code ?? ''] ?? message}\n`);
      process.exitCode = 1;
      return;
    }
  }
}

/** Prints what a server says when it is ready. It serves whether anybody reads that or not. */
export function announce(text: string): void {
  writeOutput(text);
}

/** Says why a command fails, on standard error. */
export function complain(text: string): void {
  writeError(text, Priority.error);
}

const REASONS: Readonly<Partial<Record<string, string>>> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the disk quota is used up',
};

function endByBrokenPipe(): never {
  // Node ignores the signal, until a handler of it has gone.
  const handler = (): void => undefined;
  process.on('SIGPIPE', handler);
  process.off('SIGPIPE', handler);
  process.kill(process.pid, 'SIGPIPE');
  // Not reached, unless the signal is blocked. What a shell shows of it:
  process.exit(128 + 13);
}
