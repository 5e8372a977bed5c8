import { writeSync } from 'node:fs';
import { Priority, writeError, writeOutput } from '../observe/standard-streams.js';

const STANDARD_OUTPUT = 1;
const FULL_WAIT_MS = 10;

/**
 * Prints the result of a command, and waits for the reader. When the reader has gone (`iser-nbd info … | head -1`), the
 * process ends as other tools do: by SIGPIPE and without a message.
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
        // Another program has made the descriptor O_NONBLOCK.
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

/** Prints the lines of a server that is ready. The server goes on whether somebody reads them or not. */
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
  // Node ignores the signal. Adding and removing a handler restores the default action.
  const handler = (): void => undefined;
  process.on('SIGPIPE', handler);
  process.off('SIGPIPE', handler);
  process.kill(process.pid, 'SIGPIPE');
  // Reached only when the signal is blocked. A shell reports SIGPIPE with this status.
  process.exit(128 + 13);
}
