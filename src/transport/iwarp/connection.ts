import { atTurnEnd, nextTurn } from '../../common/later.js';
import type { Timer } from '../../common/clock.js';
import type { DataSocket, DataSocketHandler } from '../../socket/data-socket.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import { STREAM_CLOSE_TIMEOUT_MS } from './limits.js';
import type { MpaAgreement } from './mpa.js';
import type { IwarpSettings } from './settings.js';
import { IwarpStream } from './stream.js';
import type { Scheduler } from './stream.js';

const scheduler: Scheduler = {
  afterFlush: (action) => atTurnEnd(action),
  nextTurn: (action) => nextTurn(action),
};

export interface IwarpConnectionOptions {
  readonly socket: DataSocket;
  readonly settings: IwarpSettings;
  readonly queuePair: SoftQueuePair;
  readonly sendRequestsMax: number;
  readonly agreement: MpaAgreement;
  readonly isResponder: boolean;
  readonly expectsSendRtr: boolean;
  /** Called once, when the socket has closed. `reason` is null for an orderly end. */
  readonly onDown: (reason: string | null) => void;
}

/**
 * A connection after its MPA set-up: the socket and its stream. After the end of the stream, its last bytes (such as
 * a Terminate) have a limited time to leave.
 */
export class IwarpConnection implements DataSocketHandler {
  readonly #options: IwarpConnectionOptions;
  readonly #socket: DataSocket;
  readonly #stream: IwarpStream;
  #isOver = false;
  #isClosed = false;
  #reason: string | null = null;
  #closeTimer: Timer | null = null;

  constructor(options: IwarpConnectionOptions) {
    const { socket, settings } = options;
    this.#options = options;
    this.#socket = socket;
    this.#stream = new IwarpStream({
      queuePair: options.queuePair,
      sendRequestsMax: options.sendRequestsMax,
      agreement: options.agreement,
      isResponder: options.isResponder,
      expectsSendRtr: options.expectsSendRtr,
      fpduBytes: settings.fpduBytes,
      sink: socket,
      scheduler,
      clock: settings.clock,
      log: settings.log.child({ conn: socket.remoteName }),
      onOver: (reason) => this.#streamOver(reason),
    });
  }

  /** Takes over the socket. False, without any effect, when the queue pair is already in the error state. */
  start(): boolean {
    if (!this.#stream.start()) return false;
    this.#socket.handler = this;
    return true;
  }

  /** Takes bytes that arrived together with the end of the set-up. */
  receive(buffer: Buffer, start: number, end: number): void {
    this.#stream.receive(buffer, start, end);
  }

  /** Starts the orderly end. */
  close(): void {
    this.#stream.close();
  }

  /**
   * The owner releases the connection. An orderly end that has started finishes within the close timeout. Otherwise
   * the connection is cut off.
   */
  destroy(): void {
    if (this.#isOver) return;
    this.#stream.lost(null);
    this.#socket.destroy();
  }

  onBytes(buffer: Buffer, length: number): void {
    this.#stream.receive(buffer, 0, length);
  }

  onEnd(): void {
    this.#stream.peerFinished();
    // Like Linux soft-iWARP, we support no half-open connection: a peer that has ended does not read either.
    this.#socket.destroy();
  }

  onClose(error: Error | null): void {
    this.#isClosed = true;
    this.#closeTimer?.cancel();
    this.#stream.lost(
      error === null ? 'the TCP connection closed' : `the TCP connection broke: ${error.message}`,
    );
    this.#options.onDown(this.#reason);
  }

  #streamOver(reason: string | null): void {
    this.#isOver = true;
    this.#reason = reason;
    if (this.#isClosed) return;
    // We read until the peer ends, too. Otherwise TCP could send a reset before the peer has read our last bytes.
    this.#socket.endWriting();
    this.#closeTimer = this.#options.settings.clock.after(STREAM_CLOSE_TIMEOUT_MS, () =>
      this.#socket.destroy(),
    );
  }
}
