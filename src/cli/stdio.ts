/**
 * What the program loads first. Node makes the descriptor of standard output or error O_NONBLOCK when somebody merely looks
 * at process.stdout or process.stderr and it is a pipe or a socket, and yargs and node:assert look when they are loaded.
 * But the descriptor is not ours alone: a shell, or the program that started this one, would suddenly get EAGAIN
 * for what it writes. So they are replaced by streams that write to the descriptor as it is.
 */
import { writeSync } from 'node:fs';
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';

const FULL_WAIT_MS = 10;

for (const [name, fd] of [
  ['stdout', 1],
  ['stderr', 2],
] as const) {
  const stream = Object.assign(
    new Writable({
      decodeStrings: false,
      write(chunk: unknown, _encoding, done) {
        try {
          writeWhole(fd, String(chunk));
          done();
        } catch (error) {
          done(error instanceof Error ? error : new Error(String(error)));
        }
      },
    }),
    { fd, isTTY: isatty(fd) },
  );
  // Who prints by them has nobody to tell.
  stream.on('error', () => undefined);
  Object.defineProperty(process, name, { configurable: true, enumerable: true, value: stream });
}

/** Writes all of `text`, and waits for a reader that is slow. @throws the system's error. */
function writeWhole(fd: number, text: string): void {
  const bytes = Buffer.from(text);
  let at = 0;
  while (at < bytes.length) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      // Somebody else has made it O_NONBLOCK.
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, FULL_WAIT_MS);
    }
  }
}
