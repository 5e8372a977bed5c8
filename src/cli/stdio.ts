/**
 * The program loads this file first. A mere look at process.stdout or process.stderr makes Node set O_NONBLOCK on its
 * descriptor, when that is a pipe or a socket. yargs and node:assert look at them when they are loaded. But other
 * programs share the descriptor: a shell, or the program that started this one, would suddenly get EAGAIN when it
 * writes. So the two are replaced by streams that do not change the descriptor.
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
