import type { Clock, Timer } from '../common/clock.js';
import { DataSocket } from '../socket/data-socket.js';
import type { DataSocketHandler } from '../socket/data-socket.js';
import type { ExportTable } from './export.js';
import { DEFAULT_LIMITS, REFUSALS_MAX, REFUSAL_MS } from './limits.js';
import { Negotiation } from './negotiation.js';
import { closeClient } from './socket.js';
import type { Client } from './socket.js';

const NO_EXPORTS: ExportTable = { lookup: () => null, list: () => [] };

/**
 * Tells clients above the limit why they are not served: each gets a greeting, ERR_POLICY with a sentence for its
 * options, and soon the end of its connection. The number of such clients is limited; the connection of any further
 * client is closed at once, so that a flood of clients costs little.
 */
export class Refuser {
  readonly #clock: Clock;
  readonly #open = new Set<RefusedClient>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Refuses a client, and takes over its connection. */
  refuse(client: Client, message: string): void {
    if (this.#open.size >= REFUSALS_MAX) {
      closeClient(client);
      return;
    }
    const refused: RefusedClient = new RefusedClient(client, message, this.#clock, () =>
      this.#open.delete(refused),
    );
    this.#open.add(refused);
  }

  /** Closes the connections that are left. */
  close(): void {
    for (const refused of this.#open) refused.cut();
  }
}

class RefusedClient implements DataSocketHandler {
  readonly #socket: DataSocket;
  readonly #negotiation: Negotiation;
  readonly #deadline: Timer;
  readonly #onGone: () => void;

  constructor(client: Client, message: string, clock: Clock, onGone: () => void) {
    this.#onGone = onGone;
    this.#deadline = clock.after(REFUSAL_MS, () => this.cut());
    this.#socket = DataSocket.adopt(client.socket, this);
    this.#negotiation = new Negotiation({
      exports: NO_EXPORTS,
      limits: DEFAULT_LIMITS,
      payloadBytesMax: 0,
      refusal: message,
      handler: {
        send: (bytes) => this.#socket.write(bytes),
        refresh: (_item, done) => done(false),
        answered: () => undefined,
        chosen: () => undefined,
        startTls: () => undefined,
        ended: () => this.#socket.endWriting(),
      },
    });
    this.#negotiation.start();
  }

  cut(): void {
    this.#socket.destroy();
  }

  onBytes(buffer: Buffer, length: number): void {
    this.#negotiation.receive(buffer, 0, length);
  }

  onEnd(): void {
    this.#socket.endWriting();
  }

  onClose(): void {
    this.#deadline.cancel();
    this.#onGone();
  }
}
