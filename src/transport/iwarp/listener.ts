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

/** Receives a caller with a complete request. The handler owns the caller from now on. */
export type RequestHandler = (caller: Caller, parameters: ConnectionParameters) => void;

/**
 * A listening TCP socket. Callers without a complete request are limited in time and number; at the limit, a new
 * caller displaces the one that has been silent longest. Callers that wait for an answer are limited in number: each
 * counts against the backlog until {@link answered}.
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

  /**
   * Starts to listen.
   * @throws VerbsError when the address cannot be bound
   */
  open(address: ListenPlace): Promise<PortalAddress> {
    // DataSocket.adopt needs both options.
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

  /** Stops listening, and closes the callers without a complete request. */
  close(): void {
    this.#server?.close();
    this.#server = null;
    for (const caller of [...this.#halfOpen]) {
      caller.destroy();
      this.#halfOpen.leave(caller);
    }
  }

  /** Call when a caller that the handler received has its answer. */
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
