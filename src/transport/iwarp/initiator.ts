import type { Timer } from '../../common/clock.js';
import { DataSocket } from '../../socket/data-socket.js';
import type { DataSocketHandler } from '../../socket/data-socket.js';
import { messageOf } from '../../common/errors.js';
import type { ConnectionEvent, ConnectionParameters } from '../verbs.js';
import { FpduWriter } from './fpdu-writer.js';
import { STREAM_CLOSE_TIMEOUT_MS } from './limits.js';
import { MpaFrameReader, encodeMpaRequest, readMpaReply } from './mpa.js';
import type { MpaAgreement } from './mpa.js';
import type { IwarpSettings } from './settings.js';
import { TERMINATE_CONTROL_BYTES, encodeTerminate } from './terminate.js';
import type { TerminateCode } from './terminate.js';
import {
  FpduHeader,
  MpaFlag,
  QueueNumber,
  RdmapOpcode,
  UNTAGGED_HEADER_BYTES,
  UNTAGGED_PAYLOAD_OFFSET,
} from './wire.js';

/** Takes the bytes that follow the reply. */
export interface FollowingBytes {
  receive(buffer: Buffer, start: number, end: number): void;
}

export interface MpaInitiatorOptions {
  /** The addresses, in the order of the attempts. Not empty. */
  readonly addresses: readonly string[];
  readonly port: number;
  readonly peerName: string;
  readonly wanted: ConnectionParameters;
  readonly settings: IwarpSettings;
  /**
   * Both sides have agreed. The callee owns the socket from now on. Returns null when the connection is not wanted
   * any more.
   */
  readonly onAgreed: (socket: DataSocket, agreement: MpaAgreement) => FollowingBytes | null;
  /** The attempt has failed. */
  readonly onFailed: (event: ConnectionEvent) => void;
}

/**
 * The set-up of a connection on the active side: a TCP connection to one address after the other, then the MPA
 * request and reply. Calls either `onAgreed` or `onFailed`, once, unless {@link InitiatorSetup.cancel} is called
 * before.
 */
export class InitiatorSetup implements DataSocketHandler {
  readonly #options: MpaInitiatorOptions;
  readonly #reader = new MpaFrameReader('reply');
  #socket: DataSocket | null = null;
  #timer: Timer | null = null;
  #nextAddress = 0;
  #isUp = false;
  #isOver = false;
  #tcpFailure = 'no address to try';

  constructor(options: MpaInitiatorOptions) {
    this.#options = options;
  }

  start(): void {
    const { clock, tcpTimeoutMs } = this.#options.settings;
    this.#timer = clock.after(tcpTimeoutMs, () =>
      this.#unreachable(`${this.#options.peerName} did not answer within ${tcpTimeoutMs} ms`),
    );
    this.#tryNext();
  }

  cancel(): void {
    this.#finish();
    this.#socket?.destroy();
  }

  onConnect(): void {
    if (this.#isOver) return;
    const { settings, wanted } = this.#options;
    this.#isUp = true;
    this.#timer?.cancel();
    this.#timer = settings.clock.after(settings.replyTimeoutMs, () =>
      this.#notIwarp(`it sent no MPA reply within ${settings.replyTimeoutMs} ms`),
    );
    this.#socket?.write(encodeMpaRequest(wanted, settings.crc));
  }

  onBytes(buffer: Buffer, length: number): void {
    if (this.#isOver) return;
    const used = this.#reader.receive(buffer, 0, length);
    if (this.#reader.failure !== null) this.#notIwarp(this.#reader.failure);
    else if (this.#reader.isComplete) this.#replied(buffer, used, length);
  }

  onEnd(): void {
    this.#socket?.destroy();
  }

  onClose(error: Error | null): void {
    if (this.#isOver) {
      this.#timer?.cancel();
      return;
    }
    if (this.#isUp) {
      const how = error === null ? 'it closed the connection' : messageOf(error);
      const when = this.#reader.receivedBytes === 0 ? 'without' : 'in the middle of';
      this.#notIwarp(`${how} ${when} its MPA reply`);
      return;
    }
    this.#tcpFailure = error === null ? 'the connection was closed' : messageOf(error);
    this.#tryNext();
  }

  #tryNext(): void {
    const host = this.#options.addresses[this.#nextAddress++];
    if (host === undefined) {
      this.#unreachable(`${this.#options.peerName} cannot be reached: ${this.#tcpFailure}`);
      return;
    }
    this.#socket = DataSocket.connect({ host, port: this.#options.port }, this);
  }

  #replied(buffer: Buffer, used: number, length: number): void {
    const { wanted, settings, peerName } = this.#options;
    const outcome = readMpaReply(this.#reader, wanted, settings.crc);
    switch (outcome.type) {
      case 'accepted':
        this.#agreed(outcome.agreement, buffer, used, length);
        break;
      case 'rejected':
        this.#fail({
          type: 'rejected',
          reason: `${peerName} rejected the connection`,
          privateData: outcome.privateData,
        });
        break;
      case 'unusable':
        if (outcome.terminate !== null) this.#sendTerminate(outcome.terminate);
        this.#fail({ type: 'connectError', reason: `${peerName}: ${outcome.reason}` });
        break;
    }
  }

  #agreed(agreement: MpaAgreement, buffer: Buffer, used: number, length: number): void {
    const socket = this.#socket;
    if (socket === null) return;
    this.#finish();
    const next = this.#options.onAgreed(socket, agreement);
    if (next === null) socket.destroy();
    else if (used < length) next.receive(buffer, used, length);
  }

  /** RFC 6581 section 9.1: a Terminate tells the responder why its reply is unacceptable. */
  #sendTerminate(code: TerminateCode): void {
    const socket = this.#socket;
    if (socket === null) return;
    const payload = Buffer.alloc(TERMINATE_CONTROL_BYTES);
    encodeTerminate(payload, 0, code, null);
    const header = new FpduHeader();
    header.ulpduLength = UNTAGGED_HEADER_BYTES + payload.length;
    header.isLast = true;
    header.opcode = RdmapOpcode.terminate;
    header.queueNumber = QueueNumber.terminate;
    header.sequenceNumber = 1;
    const writer = new FpduWriter(socket, 64, ignore);
    const { crc } = this.#options.settings;
    writer.usesCrc = crc === 'on' || (this.#reader.frame.flags & MpaFlag.crc) !== 0;
    writer.begin(header, UNTAGGED_PAYLOAD_OFFSET, payload.length);
    writer.copy(payload, 0, payload.length);
    writer.finish();
    writer.flush(0);
  }

  #notIwarp(why: string): void {
    const { peerName } = this.#options;
    this.#fail({ type: 'connectError', reason: `${peerName} is not an iWARP peer: ${why}` });
  }

  #unreachable(reason: string): void {
    this.#fail({ type: 'unreachable', reason });
  }

  #fail(event: ConnectionEvent): void {
    if (this.#isOver) return;
    this.#finish();
    const socket = this.#socket;
    if (socket !== null && this.#isUp) {
      // The written bytes may leave, but a peer that does not read cannot delay the end.
      socket.endWriting();
      const { clock } = this.#options.settings;
      this.#timer = clock.after(STREAM_CLOSE_TIMEOUT_MS, () => socket.destroy());
    } else {
      socket?.destroy();
    }
    this.#options.onFailed(event);
  }

  #finish(): void {
    this.#isOver = true;
    this.#timer?.cancel();
  }
}

function ignore(): void {
  /* Only the end of the socket waits for the Terminate. */
}
