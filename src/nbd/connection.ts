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
import { CARRY_BYTES_MAX } from './limits.js';
import type { NbdLimits } from './limits.js';
import { Negotiation } from './negotiation.js';
import type { NegotiationHandler } from './negotiation.js';
import type { TlsStance } from './option-context.js';
import type { ProbedPeer } from './peer-probe.js';
import { StallWatch } from './stall-watch.js';
import type { TransmissionTrace } from './reply-queue.js';
import type { TlsGate, TlsIdentity } from './tls.js';
import { Transmission } from './transmission.js';
import type { TransmissionSink } from './transmission.js';
import { commandName, errnoName, optionName, optionReplyName } from './wire.js';
import type { OptionReply } from './wire.js';

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
  /** The connection's socket has closed; then, or later, no request of it is with a device any more. */
  connectionChanged(connection: Connection): void;
}

/**
 *     handshake ──> transmission ──> ending ──> closed
 *       │ ^ └───────────────────────────^          (every state may close at once)
 *       v │
 *     securing                                     (STARTTLS is acknowledged, TLS not up)
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
 * One client: the shell around {@link Negotiation} and {@link Transmission}, which owns the socket, the timers and
 * the log. Whatever a client does, it ends its own connection at most.
 */
export class Connection
  implements DataSocketHandler, NegotiationHandler, TransmissionSink, ProbedPeer
{
  readonly #services: ConnectionServices;
  #log: Logger;
  #socket: DataSocket | null = null;
  #inode: number | null = null;
  readonly #machine = new StateMachine('an NBD connection', EDGES, 'handshake');
  /** What is known of the client; names come with TLS. */
  #peer: Peer;
  #negotiation: Negotiation;
  readonly #share: SlabShare;
  #transmission: Transmission | null = null;
  /** What came behind an option while its device was being looked at. */
  #carry = new Carry(CARRY_BYTES_MAX);
  /** The one wait for the peer that is on: the handshake's deadline, the stall watch, or the linger. */
  #timer: Timer | null = null;
  /** For a device that is being looked at. */
  #refreshTimer: Timer | null = null;

  /** `address` is the client's IP address, null for a Unix socket; `share` is the connection's from now on. */
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

  /** Greets the client. Once; `socket` has this connection as its handler. */
  open(socket: DataSocket): void {
    this.#socket = socket;
    this.#inode = socket.inode;
    this.#log = this.#log.child({ remote: socket.remoteName });
    this.#log.debug('client connected');
    this.#negotiation.start();
    const { handshakeMs } = this.#services.limits;
    this.#arm(handshakeMs, () => {
      this.#log.warn({ handshakeMs }, 'client did not choose an export in time; cutting it off');
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

  /** The server stops: lets the client finish what is in flight, and ends. */
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
    this.#log.warn('the client’s host does not answer any more; giving it up');
    this.cut();
  }

  // DataSocketHandler

  onBytes(buffer: Buffer, length: number): void {
    this.#receive(buffer, 0, length);
  }

  /** Takes `buffer[start .. end)`: all of it, or as much as can be taken while a device is being looked at. */
  #receive(buffer: Buffer, start: number, end: number): void {
    let position = start;
    if (this.#machine.state === 'handshake')
      position = this.#negotiation.receive(buffer, start, end);
    if (this.#machine.state === 'handshake' && this.#negotiation.isRefreshing) {
      // A socket that is paused delivers nothing more, so that one receive buffer is all there is to carry.
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
    else if (state === 'securing') this.#log.warn(reason, 'TLS did not come about');
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
    // What was known before is told of a device that does not answer in time.
    const { clock, limits } = this.#services;
    this.#refreshTimer = clock.after(limits.refreshMs, () => answer(null));
    item.device.refresh().then(() => answer(null), answer);
  }

  /** Reads on, with what came while the device was being looked at. */
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
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  violated(error: NbdProtocolError): void {
    // What follows is garbage to us; it is read again, and dropped, when the connection ends.
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

  /** A handshake of its own follows, which knows nothing of the one before and sees exports with other eyes. */
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

  /** What came behind STARTTLS in plain text was put there by who knows whom (CVE-2021-3716). */
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

  /** Sends what is queued, says goodbye, and gives the client a moment to do the same. */
  #end(): void {
    if (this.#machine.state === 'ending' || this.#machine.state === 'closed') return;
    this.#machine.enter('ending');
    this.#socket?.endWriting();
    this.#socket?.resume();
    this.#arm(this.#services.limits.lingerMs, () => this.#socket?.destroy());
  }

  /** Cuts off a client that stops in the middle of a message, for it holds buffers that others wait for. */
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
          'the client stopped in the middle of a message; cutting it off',
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
