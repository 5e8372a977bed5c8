import type { Edges } from '../common/state-machine.js';
import { StateMachine } from '../common/state-machine.js';
import { assert } from '../common/assert.js';
import type { Clock, Timer } from '../common/clock.js';
import type { DataSocket, DataSocketHandler, Flushable } from '../socket/data-socket.js';
import type { SlabShare } from '../common/slab-share.js';
import type { CounterSet } from '../observe/counters.js';
import type { Logger } from '../observe/log.js';
import { messageOf } from '../common/errors.js';
import { visibleExports } from './visible-exports.js';
import type { Peer } from './access.js';
import { Carry } from './carry.js';
import { ExportCounters } from './counters.js';
import type { ServerCounters } from './counters.js';
import { NbdProtocolError } from './errors.js';
import type { ExportTable, ExportTerms, NbdExport } from './export.js';
import { CARRY_BYTES_MAX, HELD_BACK_MS } from './limits.js';
import type { NbdLimits } from './limits.js';
import { Negotiation } from './negotiation.js';
import type { NegotiationHandler } from './negotiation.js';
import type { TlsStance } from './option-context.js';
import type { ProbedPeer } from './peer-probe.js';
import { StallWatch } from './stall-watch.js';
import type { TransmissionTrace } from './reply-queue.js';
import type { TlsGate, TlsIdentity } from './tls.js';
import { Transmission } from './transmission.js';
import type { TransmissionSink } from './transmission-sink.js';
import { commandName, errnoName, optionName, optionReplyName } from './wire.js';
import type { OptionReply } from './wire.js';
import { nextTurn } from '../common/later.js';
import { isEstablished } from '../socket/tcp-table.js';

/** What every connection of a server shares. */
export interface ConnectionServices {
  readonly exports: ExportTable;
  readonly limits: NbdLimits;
  readonly payloadBytesMax: number;
  readonly clock: Clock;
  readonly counters: CounterSet;
  readonly serverCounters: ServerCounters;
  /** Null for a server without TLS. */
  readonly tls: TlsGate | null;
  /** Called when the connection's socket has closed, and again when no device has a request of it any more. */
  connectionChanged(connection: Connection): void;
}

/**
 *     handshake ──> transmission ──> ending ──> closed
 *       │ ^ └───────────────────────────^          (every state may close at once)
 *       v │
 *     securing                                     (STARTTLS is acknowledged, the TLS handshake is going on)
 */
type State = 'handshake' | 'securing' | 'transmission' | 'ending' | 'closed';

const EDGES: Edges<State> = {
  handshake: ['securing', 'transmission', 'ending', 'closed'],
  securing: ['handshake', 'ending', 'closed'],
  transmission: ['ending', 'closed'],
  ending: ['closed'],
  closed: [],
};

/**
 * One client. The connection owns the socket, the timers and the log, and drives {@link Negotiation} and
 * {@link Transmission}. A client can at most end its own connection.
 */
export class Connection
  implements DataSocketHandler, NegotiationHandler, TransmissionSink, ProbedPeer
{
  readonly #services: ConnectionServices;
  #log: Logger;
  #socket: DataSocket | null = null;
  #inode: number | null = null;
  /** When the client was last held back, or found to be there since; null while it is not held back. */
  #heldBackSinceMs: number | null = null;
  readonly #machine = new StateMachine('an NBD connection', EDGES, 'handshake');
  /** What is known about the client. Names come with TLS. */
  #peer: Peer;
  #negotiation: Negotiation;
  readonly #share: SlabShare;
  #transmission: Transmission | null = null;
  /** Bytes that came behind an option while its device was being refreshed. */
  #carry = new Carry(CARRY_BYTES_MAX);
  /** The present wait for the peer: the handshake's deadline, the stall watch, or the linger. */
  #timer: Timer | null = null;
  /** The deadline for a device that is being refreshed. */
  #refreshTimer: Timer | null = null;

  /** `address` is the client's IP address, null for a Unix socket. `share` belongs to the connection from now on. */
  constructor(
    services: ConnectionServices,
    { address, share, log }: { address: string | null; share: SlabShare; log: Logger },
  ) {
    this.#services = services;
    this.#log = log;
    this.#peer = { address, certificateNames: [], pskIdentity: null };
    this.#share = share;
    const { tls } = services;
    this.#negotiation = this.#negotiationWith(
      tls === null ? 'off' : tls.isRequired ? 'required' : 'offered',
    );
  }

  /** Greets the client. Called once; `socket` has this connection as its handler. */
  open(socket: DataSocket): void {
    this.#socket = socket;
    this.#inode = socket.inode;
    this.#log = this.#log.child({ remote: socket.remoteName });
    this.#log.debug('client connected');
    this.#negotiation.start();
    const { handshakeMs } = this.#services.limits;
    this.#arm(handshakeMs, () => {
      const message = 'the client did not choose an export in time; closing the connection';
      this.#log.warn({ handshakeMs }, message);
      this.#socket?.destroy();
    });
  }

  /** The client's IP address, null for a Unix socket. */
  get address(): string | null {
    return this.#peer.address;
  }

  /** The socket is closed. */
  get isClosed(): boolean {
    return this.#machine.state === 'closed';
  }

  /** The socket is closed, and no device has a request of this connection. */
  get isReleased(): boolean {
    return this.isClosed && (this.#transmission?.inFlightCount ?? 0) === 0;
  }

  /** The server stops: ends the connection after the requests in flight. */
  drain(): void {
    if (this.#machine.state === 'transmission') this.#transmitting.drain();
    else if (this.#machine.state === 'handshake' || this.#machine.state === 'securing') {
      this.#negotiation.shutDown();
      this.#arm(this.#services.limits.handshakeDrainMs, () => this.#socket?.destroy());
    }
  }

  /** Closes at once. */
  cut(): void {
    this.#socket?.destroy();
  }

  // ProbedPeer

  get inode(): number | null {
    return this.#inode;
  }

  keepAlive(idleMs: number): void {
    this.#socket?.keepAlive(idleMs);
  }

  vanished(): void {
    this.#log.warn("the client's host does not answer any more; closing the connection");
    this.cut();
  }

  // DataSocketHandler

  onBytes(buffer: Buffer, length: number): void {
    this.#receive(buffer, 0, length);
  }

  /** Takes `buffer[start .. end)`. While a device is being refreshed, the bytes behind the option are carried. */
  #receive(buffer: Buffer, start: number, end: number): void {
    let position = start;
    if (this.#machine.state === 'handshake')
      position = this.#negotiation.receive(buffer, start, end);
    if (this.#machine.state === 'handshake' && this.#negotiation.isRefreshing) {
      // A paused socket delivers nothing more, so the carry needs room for one receive buffer only.
      const fits = this.#carry.append(buffer, position, end);
      assert(fits, 'a paused socket delivered more than a receive buffer');
      return;
    }
    if (position === end) return;
    // The handshake may have ended in these bytes, and the transmission begun.
    if (this.#machine.state === 'transmission') this.#transmitting.receive(buffer, position, end);
    else if (this.#machine.state === 'securing') this.#injected(end - position);
  }

  get #transmitting(): Transmission {
    assert(this.#transmission !== null, 'transmission without its state');
    return this.#transmission;
  }

  onEnd(): void {
    if (this.#machine.state === 'transmission') this.#transmitting.peerEnded();
    else this.#end();
  }

  onClose(error: Error | null): void {
    const state = this.#machine.state;
    this.#machine.enter('closed');
    this.#timer?.cancel();
    this.#refreshTimer?.cancel();
    const { handshakesFailed } = this.#services.serverCounters;
    if (state === 'handshake' || state === 'securing') handshakesFailed.add();
    const reason = error === null ? {} : { reason: error.message };
    if (state === 'transmission') this.#log.warn(reason, 'connection lost');
    else if (state === 'securing') this.#log.warn(reason, 'TLS handshake failed');
    else this.#log.debug(reason, 'connection closed');
    this.#transmission?.abort();
    this.#share.close();
    this.#services.connectionChanged(this);
  }

  // NegotiationHandler

  answered(option: number, reply: OptionReply): void {
    this.#log.debug({ option: optionName(option), reply: optionReplyName(reply) }, 'option');
  }

  refresh(item: NbdExport, done: (isUsable: boolean) => void): void {
    this.#socket?.pause();
    let isAnswered = false;
    const answer = (error: unknown): void => {
      if (isAnswered) return;
      isAnswered = true;
      this.#refreshTimer?.cancel();
      if (this.#machine.state !== 'handshake') return;
      if (error !== null) {
        this.#log.warn({ export: item.name, reason: messageOf(error) }, 'export cannot be used');
      }
      done(error === null);
      this.#refreshed();
    };
    // A device that does not answer in time is described as it was known before.
    const { clock, limits } = this.#services;
    this.#refreshTimer = clock.after(limits.refreshMs, () => answer(null));
    item.device.refresh().then(() => answer(null), answer);
  }

  /** Goes on with the bytes that came while the device was being refreshed. */
  #refreshed(): void {
    const carry = this.#carry;
    this.#carry = new Carry(CARRY_BYTES_MAX);
    this.#socket?.resume();
    carry.consume((bytes, _view, start, end) => {
      this.#receive(bytes, start, end);
      return end;
    });
  }

  chosen(item: NbdExport, terms: ExportTerms): void {
    const { limits, counters } = this.#services;
    this.#log = this.#log.child({ export: item.name });
    this.#machine.enter('transmission');
    this.#share.serve(item.device, !item.device.info.readsAreVerified);
    this.#transmission = new Transmission({
      device: item.device,
      terms,
      limits,
      pool: this.#share,
      counters: new ExportCounters(counters, item.name),
      sink: this,
      trace: this.#log.isLevelEnabled('trace') ? traceTo(this.#log) : null,
    });
    this.#log.info({ sizeBytes: terms.sizeBytes }, 'client attached');
    this.#watch(new StallWatch(this.#transmission, this.#share, limits));
  }

  startTls(): void {
    const { tls } = this.#services;
    this.#machine.enter('securing');
    this.#socket?.upgrade((plain, secured) =>
      tls?.secure(plain, (stream, identity) => {
        if (this.#machine.state !== 'securing') {
          stream.destroy();
          return;
        }
        this.#secured(identity);
        secured(stream);
      }),
    );
  }

  ended(error: NbdProtocolError | null): void {
    if (error !== null) {
      this.#services.serverCounters.handshakesFailed.add();
      this.violated(error);
    }
    this.#end();
  }

  // TransmissionSink; `send` is NegotiationHandler's as well.

  send(bytes: Buffer, owner: Flushable | null = null): void {
    assert(this.#socket !== null, 'a reply without a connection');
    this.#socket.write(bytes, owner);
  }

  pause(): void {
    this.#heldBackSinceMs ??= this.#services.clock.nowMs();
    this.#socket?.pause();
  }

  resume(): void {
    this.#heldBackSinceMs = null;
    this.#socket?.resume();
  }

  mayBeGone(): boolean {
    const sinceMs = this.#heldBackSinceMs;
    if (sinceMs === null || this.#services.clock.nowMs() - sinceMs < HELD_BACK_MS) return false;
    void this.#findPeer();
    return true;
  }

  /** Finds out whether a client that was held back for long is still there. */
  async #findPeer(): Promise<void> {
    // The replies that are ready leave first. A Unix socket whose client is gone tells so now.
    await new Promise<void>((resolve) => nextTurn(resolve));
    const inode = this.#peer.address === null ? null : this.#inode;
    const isThere = inode === null || (await isEstablished(inode));
    if (this.#socket?.isDestroyed !== false) return;
    if (isThere) {
      if (this.#heldBackSinceMs !== null) this.#heldBackSinceMs = this.#services.clock.nowMs();
      this.#transmission?.goOn();
      return;
    }
    this.#log.warn(
      'the client left while it was held back; what it sent and was not begun is dropped',
    );
    this.#socket?.destroy();
  }

  violated(error: NbdProtocolError): void {
    // The bytes that follow have no meaning to us. When the connection ends, they are read and dropped.
    this.#socket?.pause();
    this.#services.serverCounters.protocolErrors.add();
    this.#log.warn({ code: error.code, ...error.facts }, error.message);
  }

  idle(): void {
    if (this.#machine.state === 'closed') this.#services.connectionChanged(this);
    else {
      this.#log.info('client detached');
      this.#end();
    }
  }

  // TLS.

  /** After TLS a new handshake follows. It keeps nothing of the first one, and may see other exports. */
  #secured(identity: TlsIdentity): void {
    this.#peer = { ...this.#peer, ...identity };
    const client = identity.pskIdentity ?? identity.certificateNames[0];
    if (client !== undefined) this.#log = this.#log.child({ client });
    this.#log.debug('TLS is up');
    this.#services.serverCounters.secured.add();
    const plain = this.#negotiation;
    this.#machine.enter('handshake');
    this.#negotiation = this.#negotiationWith('secured');
    this.#negotiation.continueSecured(plain);
  }

  /** Plain text behind STARTTLS may come from an attacker (CVE-2021-3716). */
  #injected(bytes: number): void {
    this.violated(
      new NbdProtocolError(
        'nbd-starttls-injection',
        'plain text follows NBD_OPT_STARTTLS; the connection is closed',
        { bytes },
      ),
    );
    this.#socket?.destroy();
  }

  #negotiationWith(tls: TlsStance): Negotiation {
    const { exports, limits, payloadBytesMax } = this.#services;
    return new Negotiation({
      exports: visibleExports(exports, this.#peer, tls),
      limits,
      payloadBytesMax,
      tls,
      handler: this,
    });
  }

  // The end and the timers.

  /** Sends the queued bytes, closes the sending direction, and gives the client a moment to do the same. */
  #end(): void {
    if (this.#machine.state === 'ending' || this.#machine.state === 'closed') return;
    this.#machine.enter('ending');
    this.#socket?.endWriting();
    this.#socket?.resume();
    this.#arm(this.#services.limits.lingerMs, () => this.#socket?.destroy());
  }

  /** Cuts off a client that stops in the middle of a message: it holds buffers that others wait for. */
  #watch(watch: StallWatch): void {
    this.#arm(watch.periodMs, () => {
      const stalledMs = watch.look();
      if (stalledMs === null) {
        this.#watch(watch);
        return;
      }
      this.violated(
        new NbdProtocolError(
          'nbd-stalled',
          'the client stopped in the middle of a message; the connection is closed',
          { stalledMs },
        ),
      );
      this.#socket?.destroy();
    });
  }

  #arm(delayMs: number, action: () => void): void {
    this.#timer?.cancel();
    this.#timer = this.#services.clock.after(delayMs, action);
  }
}

function traceTo(log: Logger): TransmissionTrace {
  return {
    requested({ command, offset, length, flags }) {
      log.trace({ command: commandName(command), offset, length, flags }, 'request');
    },
    replied({ command, offset }, errno) {
      log.trace({ command: commandName(command), offset, error: errnoName(errno) }, 'reply');
    },
  };
}
