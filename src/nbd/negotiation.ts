import type { Edges } from '../common/state-machine.js';
import { StateMachine } from '../common/state-machine.js';
import { Agreement } from './agreement.js';
import { NbdProtocolError } from './errors.js';
import { termsOf } from './export.js';
import type { ExportTable, ExportTerms, NbdExport } from './export.js';
import type { NbdLimits } from './limits.js';
import { OPTIONS } from './options.js';
import type { OptionEntry } from './options.js';
import type { OptionContext, TlsStance } from './option-context.js';
import {
  CLIENT_FLAGS_BYTES,
  EXPORT_NAME_REPLY_BYTES,
  EXPORT_NAME_ZEROES_BYTES,
  GREETING_BYTES,
  HandshakeFlag,
  NbdOption,
  OPTION_HEADER_BYTES,
  OPTION_REPLY_HEADER_BYTES,
  OptionReply,
  encodeGreeting,
  encodeOptionReply,
  isOptionMagic,
  optionName,
} from './wire.js';
import { writeSafeU64 } from '../common/u64.js';

/** Receives the results of a {@link Negotiation}. */
export interface NegotiationHandler {
  /** Sends `bytes` to the client. The negotiation does not change them any more. */
  send(bytes: Buffer): void;
  /** An option other than EXPORT_NAME has had its final reply. For logs. */
  answered(option: number, reply: OptionReply): void;
  /**
   * Refreshes an export's device, and calls `done`, now or later, with whether the device can be used. Until then the
   * negotiation takes no bytes: the handler passes those that {@link Negotiation.receive} left to it again afterwards.
   */
  refresh(item: NbdExport, done: (isUsable: boolean) => void): void;
  /** The client has entered the transmission phase. Bytes that {@link Negotiation.receive} left belong to it. */
  chosen(item: NbdExport, terms: ExportTerms): void;
  /**
   * STARTTLS is acknowledged: this handshake is over, and its agreement is void. Bytes that {@link Negotiation.receive}
   * left came behind STARTTLS in plain text, and must not be used.
   */
  startTls(): void;
  /** The handler must close the connection: the client aborted (null), or broke a rule. */
  ended(error: NbdProtocolError | null): void;
}

export interface NegotiationOptions {
  readonly exports: ExportTable;
  readonly limits: NbdLimits;
  /** The longest payload of a request that the server takes. */
  readonly payloadBytesMax: number;
  readonly handler: NegotiationHandler;
  readonly tls?: TlsStance;
  /** A sentence that says why this client is not served; null for a client that is. */
  readonly refusal?: string | null;
}

type State = 'clientFlags' | 'optionHeader' | 'optionData' | 'refreshing' | 'skip' | 'over';

const EDGES: Edges<State> = {
  clientFlags: ['optionHeader', 'over'],
  optionHeader: ['optionData', 'skip', 'over'],
  optionData: ['optionHeader', 'refreshing', 'over'],
  refreshing: ['optionHeader', 'over'],
  skip: ['optionHeader', 'over'],
  over: [],
};

/** The handshake flags that the server offers. The client may set only these. */
const OFFERED_FLAGS = HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES;

/**
 * The server's half of the fixed newstyle handshake, without its socket:
 *
 *     clientFlags ──> optionHeader ──> optionData ──────> (answer) ──┐      every state ──> over
 *                        ^    │            └─> refreshing ──^        │
 *                        │    └──────> skip ────────────> (refuse) ──┤
 *                        └───────────────────────────────────────────┘
 *
 * Options are answered one at a time, in order. A client that did not set FIXED_NEWSTYLE gets answers as well; proto.md
 * allows that.
 */
export class Negotiation implements OptionContext {
  readonly exports: ExportTable;
  readonly tls: TlsStance;
  readonly agreement = new Agreement();
  readonly metaQueriesMax: number;
  readonly #limits: NbdLimits;
  readonly #handler: NegotiationHandler;
  readonly #payloadBytesMax: number;
  readonly #refusal: string | null;
  readonly #machine = new StateMachine('a negotiation', EDGES, 'clientFlags');
  #noZeroes = false;
  #shuttingDown = false;
  #optionCount = 0;
  #option = 0;
  /** The item that is being gathered: client flags, an option's header or its data. */
  #item: Buffer = Buffer.alloc(CLIENT_FLAGS_BYTES);
  #itemFill = 0;
  #skipBytes = 0;

  constructor(options: NegotiationOptions) {
    const { exports, limits, payloadBytesMax, handler, tls = 'off', refusal = null } = options;
    this.exports = exports;
    this.tls = tls;
    this.#refusal = refusal;
    this.#limits = limits;
    this.metaQueriesMax = limits.metaQueriesMax;
    this.#payloadBytesMax = payloadBytesMax;
    this.#handler = handler;
  }

  get isOver(): boolean {
    return this.#machine.state === 'over';
  }

  /** The negotiation waits for the refresh of a device, and takes no bytes. */
  get isRefreshing(): boolean {
    return this.#machine.state === 'refreshing';
  }

  /** Sends the greeting. Called once, before the first bytes arrive. */
  start(): void {
    const greeting = Buffer.alloc(GREETING_BYTES);
    encodeGreeting(viewOf(greeting), 0, OFFERED_FLAGS);
    this.#handler.send(greeting);
  }

  /**
   * Continues after a handshake in plain text that ended with STARTTLS; called instead of {@link start}. Only the client
   * flags stay valid from that handshake, as the client does not send them again.
   */
  continueSecured(plain: Negotiation): void {
    this.#noZeroes = plain.#noZeroes;
    this.#shuttingDown = plain.#shuttingDown;
    this.#expectOption();
  }

  /** From now on, options get ERR_SHUTDOWN, and the client must disconnect by itself. */
  shutDown(): void {
    this.#shuttingDown = true;
  }

  /**
   * Takes `bytes[start .. end)`, borrowed until the call returns. Returns where it stopped: at `end`, or earlier when the
   * handshake is over or {@link isRefreshing}.
   */
  receive(bytes: Buffer, start: number, end: number): number {
    let position = start;
    while (
      position < end &&
      this.#machine.state !== 'over' &&
      this.#machine.state !== 'refreshing'
    ) {
      if (this.#machine.state === 'skip') {
        const skipped = Math.min(this.#skipBytes, end - position);
        this.#skipBytes -= skipped;
        position += skipped;
        if (this.#skipBytes === 0) this.#refuseSkipped();
        continue;
      }
      const taken = Math.min(this.#item.length - this.#itemFill, end - position);
      bytes.copy(this.#item, this.#itemFill, position, position + taken);
      this.#itemFill += taken;
      position += taken;
      if (this.#itemFill === this.#item.length) this.#gathered(this.#item);
    }
    return position;
  }

  // OptionContext, for the option handlers.

  reply(type: OptionReply, data: Uint8Array = EMPTY): void {
    const message = Buffer.alloc(OPTION_REPLY_HEADER_BYTES + data.length);
    const header = { option: this.#option, type, dataBytes: data.length };
    encodeOptionReply(viewOf(message), 0, header);
    message.set(data, OPTION_REPLY_HEADER_BYTES);
    this.#handler.send(message);
    const isFinal = type === OptionReply.ACK || type >= OptionReply.ERR_UNSUP;
    if (isFinal) this.#handler.answered(this.#option, type);
  }

  refuse(type: OptionReply, message: string): void {
    this.reply(type, Buffer.from(message));
  }

  refresh(item: NbdExport, next: (isUsable: boolean) => void): void {
    this.#machine.enter('refreshing');
    this.#handler.refresh(item, (isUsable) => {
      if (this.#machine.state !== 'refreshing') return;
      if (this.#shuttingDown) this.#refuseShutDown();
      else next(isUsable);
      if (!this.isOver) this.#expectOption();
    });
  }

  termsOf(item: NbdExport, name: string): ExportTerms {
    const { agreement } = this;
    return termsOf(item, this.#payloadBytesMax, {
      replyStyle: agreement.replyStyle,
      contexts: agreement.contextsFor(name),
    });
  }

  sendExportNameReply(terms: ExportTerms): void {
    const zeroes = this.#noZeroes ? 0 : EXPORT_NAME_ZEROES_BYTES;
    const message = Buffer.alloc(EXPORT_NAME_REPLY_BYTES + zeroes);
    const view = viewOf(message);
    writeSafeU64(view, 0, terms.sizeBytes);
    view.setUint16(8, terms.flags);
    this.#handler.send(message);
  }

  choose(item: NbdExport, terms: ExportTerms): void {
    this.#machine.enter('over');
    this.#handler.chosen(item, terms);
  }

  startTls(): void {
    this.reply(OptionReply.ACK);
    this.#machine.enter('over');
    this.#handler.startTls();
  }

  end(error: NbdProtocolError | null): void {
    this.#machine.enter('over');
    this.#handler.ended(error);
  }

  // The handshake's course.

  #gathered(item: Buffer): void {
    if (this.#machine.state === 'clientFlags') this.#clientFlags(viewOf(item).getUint32(0));
    else if (this.#machine.state === 'optionHeader') this.#optionHeader(viewOf(item));
    else this.#optionData(item);
  }

  #clientFlags(flags: number): void {
    if ((flags & ~OFFERED_FLAGS) !== 0) {
      this.end(
        new NbdProtocolError(
          'nbd-client-flags',
          'the client set handshake flags that do not exist',
          {
            flags: `0x${flags.toString(16)}`,
          },
        ),
      );
      return;
    }
    this.#noZeroes = (flags & HandshakeFlag.NO_ZEROES) !== 0;
    this.#expectOption();
  }

  #optionHeader(header: DataView): void {
    if (!isOptionMagic(header, 0)) {
      this.end(
        new NbdProtocolError(
          'nbd-option-magic',
          'an option does not begin with IHAVEOPT; the peer is no NBD client, or is out of step',
        ),
      );
      return;
    }
    this.#option = header.getUint32(8);
    const dataBytes = header.getUint32(12);
    const facts = { option: optionName(this.#option), dataBytes };
    this.#optionCount++;
    // "Issuing this command replaces all previously-set metadata contexts (including when this command fails)".
    if (this.#option === NbdOption.SET_META_CONTEXT) this.agreement.dropContexts();
    if (this.#optionCount > this.#limits.optionsMax) {
      const message = 'the client sent too many options in its handshake';
      this.end(new NbdProtocolError('nbd-too-many-options', message, facts));
    } else if (dataBytes > this.#limits.optionSkipBytesMax) {
      this.end(new NbdProtocolError('nbd-option-length', 'the option data is too long', facts));
    } else if (dataBytes > this.#limits.optionBytesMax) {
      this.#skipBytes = dataBytes;
      this.#machine.enter('skip');
    } else {
      this.#machine.enter('optionData');
      this.#gather(dataBytes);
      if (dataBytes === 0) this.#optionData(EMPTY);
    }
  }

  #optionData(data: Buffer): void {
    if (this.#refusedUnseen()) return;
    const { handle } = OPTIONS[this.#option] ?? UNKNOWN_OPTION;
    if (!this.#shuttingDown || this.#option === NbdOption.ABORT) handle(this, data);
    else this.#refuseShutDown();
    this.#answered();
  }

  #refuseShutDown(): void {
    if (this.#option === NbdOption.EXPORT_NAME) this.end(null);
    else this.refuse(OptionReply.ERR_SHUTDOWN, 'the server is shutting down');
  }

  /** Goes on with the next option, unless the last one is not answered yet. */
  #answered(): void {
    if (this.#machine.state === 'optionData' || this.#machine.state === 'skip')
      this.#expectOption();
  }

  /** Refuses any option without reading its data, when the client may not use it now. True when it was refused. */
  #refusedUnseen(): boolean {
    if (this.#option === NbdOption.ABORT) return false;
    if (this.#refusal !== null) {
      this.#refuseForPolicy(this.#refusal);
      return true;
    }
    if (this.tls !== 'required' || this.#option === NbdOption.STARTTLS) return false;
    this.#refuseWithoutTls();
    return true;
  }

  /** Refuses an option of a client that is not served. Closing the connection now could lose the answer. */
  #refuseForPolicy(why: string): void {
    // EXPORT_NAME has no error reply.
    if (this.#option === NbdOption.EXPORT_NAME) {
      this.end(null);
    } else {
      this.refuse(OptionReply.ERR_POLICY, why);
      this.#expectOption();
    }
  }

  /** FORCEDTLS: to any option before STARTTLS except ABORT, the server "MUST reply with NBD_REP_ERR_TLS_REQD". */
  #refuseWithoutTls(): void {
    if (this.#option === NbdOption.EXPORT_NAME) {
      this.end(
        new NbdProtocolError('nbd-tls-required', 'the client asked for an export without TLS'),
      );
    } else {
      this.refuse(OptionReply.ERR_TLS_REQD, 'this server requires TLS');
      this.#expectOption();
    }
  }

  #refuseSkipped(): void {
    if (this.#refusedUnseen()) return;
    const entry = OPTIONS[this.#option];
    if (entry === undefined) UNKNOWN_OPTION.handle(this, EMPTY);
    else if (entry.tooLong === 'end') {
      this.end(new NbdProtocolError('nbd-option-length', 'the export name is too long'));
    } else if (entry.tooLong === 'ignore') entry.handle(this, EMPTY);
    else this.refuse(OptionReply.ERR_TOO_BIG, 'the option data is too long');
    this.#answered();
  }

  #expectOption(): void {
    this.#machine.enter('optionHeader');
    this.#gather(OPTION_HEADER_BYTES);
  }

  #gather(bytes: number): void {
    this.#item = bytes === 0 ? EMPTY : Buffer.allocUnsafeSlow(bytes);
    this.#itemFill = 0;
  }
}

const EMPTY = Buffer.alloc(0);

const UNKNOWN_OPTION: OptionEntry = {
  handle: (context) => {
    context.refuse(OptionReply.ERR_UNSUP, 'this server does not know the option');
  },
  tooLong: 'refuse',
};

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
