import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';

/** JSON messages, one per line, over a stream that QEMU holds the other end of. */
export class LineChannel {
  readonly #stream: Duplex;

  constructor(stream: Duplex, onMessage: (message: unknown) => void) {
    this.#stream = stream;
    // The end of QEMU is reported by its process; a reset here says nothing more.
    stream.on('error', () => undefined);
    const lines = createInterface({ input: stream, crlfDelay: Infinity });
    lines.on('line', (line) => onMessage(JSON.parse(line)));
  }

  send(message: object): void {
    this.#stream.write(`${JSON.stringify(message)}\n`);
  }
}
