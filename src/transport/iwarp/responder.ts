import type { Edges } from '../../common/state-machine.js';
import { StateMachine } from '../../common/state-machine.js';
import type { Timer } from '../../common/clock.js';
import type { DataSocket, DataSocketHandler } from '../../socket/data-socket.js';
import type { ConnectionParameters } from '../verbs.js';
import { STREAM_CLOSE_TIMEOUT_MS } from './limits.js';
import { MpaFrameReader, encodeMpaReject, encodeMpaReply, readMpaRequest } from './mpa.js';
import type { MpaAcceptance } from './mpa.js';
import type { IwarpSettings } from './settings.js';

/** The owner of a caller: first its listener, later its connection id. */
export interface CallerOwner {
  /** The request is complete. The owner accepts or rejects it. */
  onRequest(caller: Caller, parameters: ConnectionParameters): void;
  /**
   * The attempt has failed: before the request because of the peer's behaviour, after the request because the peer
   * left.
   */
  onGone(caller: Caller, reason: string): void;
}

const EDGES: Edges<'reading' | 'requested' | 'over'> = {
  reading: ['requested', 'over'],
  requested: ['over'],
  over: [],
};

/**
 * The set-up of a connection on the passive side: an incoming TCP connection, and its MPA request and reply.
 *
 *     reading -- whole request --> requested -- accept --> (the connection's)
 *        |                            |
 *        +-- not MPA, too slow --+    +-- reject, peer left, early bytes --+
 *                                v                                         v
 *                              over                                      over
 */
export class Caller implements DataSocketHandler {
  readonly peerName: string;
  /** The peer's address without its port. */
  readonly peerHost: string;
  readonly #socket: DataSocket;
  readonly #settings: IwarpSettings;
  readonly #reader = new MpaFrameReader('request');
  #owner: CallerOwner;
  readonly #machine = new StateMachine('an MPA responder', EDGES, 'reading');
  #parameters: ConnectionParameters | null = null;
  #timer: Timer;

  /** `open` makes the data socket with this caller as its handler. */
  constructor(
    open: (handler: DataSocketHandler) => DataSocket,
    peerHost: string,
    settings: IwarpSettings,
    owner: CallerOwner,
  ) {
    this.peerHost = peerHost;
    this.#settings = settings;
    this.#owner = owner;
    const { clock, requestTimeoutMs } = settings;
    this.#timer = clock.after(requestTimeoutMs, () =>
      this.#drop(`no MPA request came within ${requestTimeoutMs} ms`),
    );
    this.#socket = open(this);
    this.peerName = this.#socket.remoteName;
  }

  /** The peer's parameters; null before the request is complete. */
  get parameters(): ConnectionParameters | null {
    return this.#parameters;
  }

  set owner(owner: CallerOwner) {
    this.#owner = owner;
  }

  /** Makes the reply for {@link reply}. Null when the peer has left. */
  prepareReply(ours: ConnectionParameters): MpaAcceptance | null {
    const peer = this.#parameters;
    if (this.#machine.state !== 'requested' || peer === null) return null;
    return encodeMpaReply(this.#reader, peer, ours, this.#settings.crc);
  }

  /** Sends the reply. The connection owns the socket from now on. */
  reply(acceptance: MpaAcceptance): void {
    this.#finish();
    this.#socket.write(acceptance.bytes);
  }

  get socket(): DataSocket {
    return this.#socket;
  }

  reject(privateData: Uint8Array): void {
    if (this.#machine.state === 'over') return;
    this.#finish();
    this.#socket.write(encodeMpaReject(this.#reader, privateData));
    this.#endSocket();
  }

  /** Closes without an answer, and reports `reason` to the owner. */
  turnAway(reason: string): void {
    this.#drop(reason);
  }

  /** Closes without an answer. */
  destroy(): void {
    this.#finish();
    this.#socket.destroy();
  }

  onBytes(buffer: Buffer, length: number): void {
    if (this.#machine.state === 'requested') this.#drop('it sent more before the MPA reply');
    if (this.#machine.state !== 'reading') return;
    const reader = this.#reader;
    const used = reader.receive(buffer, 0, length);
    if (reader.failure !== null) this.#drop(`it is not an iWARP peer: ${reader.failure}`);
    else if (!reader.isComplete) return;
    else if (used < length) this.#drop('it sent more before the MPA reply');
    else this.#requested();
  }

  onEnd(): void {
    this.#drop('it closed the connection before the MPA reply');
  }

  onClose(error: Error | null): void {
    this.#timer.cancel();
    this.#drop(error === null ? 'the connection closed' : error.message);
  }

  #requested(): void {
    const outcome = readMpaRequest(this.#reader);
    if (outcome.type === 'refused') {
      if (outcome.reply !== null) this.#socket.write(outcome.reply);
      this.#finish();
      this.#endSocket();
      this.#owner.onGone(this, outcome.reason);
      return;
    }
    this.#timer.cancel();
    this.#machine.enter('requested');
    this.#parameters = outcome.peer;
    this.#owner.onRequest(this, outcome.peer);
  }

  #drop(reason: string): void {
    if (this.#machine.state === 'over') return;
    this.#finish();
    this.#socket.destroy();
    this.#owner.onGone(this, reason);
  }

  #endSocket(): void {
    this.#socket.endWriting();
    this.#timer = this.#settings.clock.after(STREAM_CLOSE_TIMEOUT_MS, () => this.#socket.destroy());
  }

  #finish(): void {
    if (!this.#machine.is('over')) this.#machine.enter('over');
    this.#timer.cancel();
  }
}
