/**
 * What the program loads first. Node makes the descriptor of standard output or error O_NONBLOCK when somebody merely looks
 * at process.stdout or process.stderr and it is a pipe or a socket, and yargs and node:assert look when they are loaded.
 * But the descriptor is not ours alone: a shell, or the program that started this one, would suddenly get EAGAIN
 * for what it writes. So they are replaced by streams that leave the descriptor as it is.
 */
import { Writable } from 'node:stream';
import { isatty } from 'node:tty';
import { complain, print } from './output.js';

for (const [name, fd, put] of [
  ['stdout', 1, print],
  ['stderr', 2, complain],
] as const) {
  const stream = Object.assign(
    new Writable({
      decodeStrings: false,
      write(chunk: unknown, _encoding, done) {
        put(String(chunk));
        done();
      },
    }),
    { fd, isTTY: isatty(fd) },
  );
  Object.defineProperty(process, name, { configurable: true, enumerable: true, value: stream });
}
