import { createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { DataSocket } from '../../socket/data-socket.js';
import type { DataSocketHandler } from '../../socket/data-socket.js';
import { codeOf, listenFailure } from '../../common/listen-failure.js';
import type { ListenPlace } from '../../common/listen-plan.js';
import { Places } from '../../common/places.js';
import type { ConnectionParameters, PortalAddress } from '../verbs.js';
import { VerbsError } from '../verbs.js';
import { LISTEN_BACKLOG_MAX } from '../limits.js';
import { HALF_OPEN_CONNECTIONS_MAX, HALF_OPEN_PER_HOST_MAX } from './limits.js';
import { Caller } from './responder.js';
import type { CallerOwner } from './responder.js';
import type { IwarpSettings } from './settings.js';

/** A caller with a whole request; the receiver is its owner from here on. */
export type RequestHandler = (caller: Caller, parameters: ConnectionParameters) => void;

/**
 * A listening TCP socket. Callers that have not sent a whole request are bounded in time and number, and when all
 * places are taken the one goes that has been silent longest. Those that wait for their answer are bounded in number:
 * they count against the backlog until {@link answered}.
 */
export class IwarpListener implements CallerOwner {
  readonly #settings: IwarpSettings;
  readonly #onRequest: RequestHandler;
  readonly #halfOpen = new Places<Caller>({
    placesMax: HALF_OPEN_CONNECTIONS_MAX,
    placesPerHostMax: HALF_OPEN_PER_HOST_MAX,
  });
  readonly #backlog: number;
  #waiting = 0;
  #server: Server | null = null;

  constructor(settings: IwarpSettings, backlog: number, onRequest: RequestHandler) {
    this.#settings = settings;
    this.#backlog = Math.max(1, Math.min(backlog, LISTEN_BACKLOG_MAX));
    this.#onRequest = onRequest;
  }

  /** @throws VerbsError when the address cannot be bound. */
  open(address: ListenPlace): Promise<PortalAddress> {
    // Both are what DataSocket.adopt needs.
    const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
    this.#server = server;
    server.on('connection', (socket) => this.#admit(socket));
    return new Promise((resolve, reject) => {
      server.once('error', (error) => reject(bindError(address, error)));
      const { host, port, ipv6Only = false } = address;
      server.listen({ host, port, ipv6Only }, () => {
        server.removeAllListeners('error');
        server.on('error', (error) => {
          this.#settings.log.error({ err: error }, 'the listening socket failed');
        });
        const bound = server.address();
        resolve({ host, port: bound !== null && typeof bound === 'object' ? bound.port : port });
      });
    });
  }

  /** Stops listening, and closes what has no whole request yet. */
  close(): void {
    this.#server?.close();
    this.#server = null;
    for (const caller of [...this.#halfOpen]) {
      caller.destroy();
      this.#halfOpen.leave(caller);
    }
  }

  /** A caller that was handed out has its answer. */
  answered(): void {
    this.#waiting--;
  }

  onRequest(caller: Caller, parameters: ConnectionParameters): void {
    this.#halfOpen.leave(caller);
    if (this.#waiting >= this.#backlog) {
      caller.destroy();
      this.onGone(caller, 'too many callers wait for their answer');
      return;
    }
    this.#waiting++;
    this.#onRequest(caller, parameters);
  }

  onGone(caller: Caller, reason: string): void {
    this.#halfOpen.leave(caller);
    this.#settings.log.warn({ conn: caller.peerName }, `caller turned away: ${reason}`);
  }

  #admit(socket: Socket): void {
    if (this.#server === null) {
      socket.destroy();
      return;
    }
    const peerHost = socket.remoteAddress ?? '';
    const open = (handler: DataSocketHandler): DataSocket => DataSocket.adopt(socket, handler);
    const displaced = this.#halfOpen.take(new Caller(open, peerHost, this.#settings, this));
    displaced?.turnAway('it has sent no request, and another caller needs its place');
  }
}

function bindError(address: PortalAddress, error: Error): VerbsError {
  const code = codeOf(error) === 'EADDRINUSE' ? 'address-in-use' : 'listen-failed';
  const { host, port } = address;
  return new VerbsError(code, listenFailure(address, error), { host, port }, error);
}
