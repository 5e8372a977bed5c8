import type { NbdProtocolError } from '../../src/nbd/errors.js';
import { NbdExport, fixedExports } from '../../src/nbd/export.js';
import type { ExportTerms } from '../../src/nbd/export.js';
import { DEFAULT_LIMITS } from '../../src/nbd/limits.js';
import { Negotiation } from '../../src/nbd/negotiation.js';
import { OPT, infoData, metaData, option, u32 } from '../support/nbd/client.js';
import { RamDevice } from '../support/nbd/device.js';
import { FuzzInput } from './fuzz-input.js';

const NAMES = ['disk', 'größe'];
const EXPORTS = NAMES.map((name, index) => {
  const device = new RamDevice(4096, { minimumBytes: index === 0 ? 1 : 512 });
  return new NbdExport({ name, description: index === 0 ? 'a disk' : '', device });
});
const LIMITS = { ...DEFAULT_LIMITS, optionsMax: 40, optionBytesMax: 600, optionSkipBytesMax: 2000 };
/** LIST of two exports is the longest reply to an option; with the messages of errors it stays below this. */
const REPLY_BYTES_MAX = 8 * 1024;
const [ACK, SERVER, INFO, META] = [1, 2, 3, 4];
const ERRORS = new Set([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].map((code) => 0x8000_0000 + code));
const QUERIES = ['base:', 'base:allocation', 'base:x', 'qemu:a', '', 'x-a:b'];
const [SEND_DF, STATUS_PAYLOAD] = [1 << 7, 1 << 12];

interface Reply {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

/**
 * A client that sends options, right and wrong ones and garbage, in any pieces. Every option must have exactly one
 * final reply, every reply must be of a form that proto.md gives it, and what the transmission phase begins with
 * must be what a second, simpler account of the handshake says.
 */
export function fuzzHandshake(bytes: Uint8Array): Promise<ReadonlySet<string>> {
  const run = new Run(new FuzzInput(bytes));
  run.run();
  return Promise.resolve(run.happened);
}

class Run {
  readonly happened = new Set<string>();
  readonly #input: FuzzInput;
  readonly #negotiation: Negotiation;
  #sent = Buffer.alloc(0);
  #optionCount = 0;
  #terms: ExportTerms | null = null;
  #end: NbdProtocolError | null | undefined = undefined;
  // The other account of what was agreed on.
  #style: 'simple' | 'structured' | 'extended' = 'simple';
  #contextsExport: string | null = null;
  #isShuttingDown = false;

  constructor(input: FuzzInput) {
    this.#input = input;
    this.#negotiation = new Negotiation({
      exports: fixedExports(EXPORTS),
      limits: LIMITS,
      payloadBytesMax: 1 << 25,
      handler: {
        send: (bytes) => (this.#sent = Buffer.concat([this.#sent, bytes])),
        refresh: (_item, done) => done(true),
        answered: () => undefined,
        startTls: () => undefined,
        chosen: (_item, terms) => (this.#terms = terms),
        ended: (error) => (this.#end = error),
      },
    });
  }

  get #isOver(): boolean {
    return this.#terms !== null || this.#end !== undefined;
  }

  run(): void {
    this.#negotiation.start();
    check(this.#sent.toString('latin1', 0, 16) === 'NBDMAGICIHAVEOPT', 'a greeting');
    this.#sent = Buffer.alloc(0);
    const flags = this.#input.below(8) === 0 ? this.#input.byte() : 3;
    this.#receive(u32(flags));
    check(this.#isOver === flags > 3, 'client flags');
    while (!this.#input.isEmpty && !this.#isOver) this.#step();
    if (this.#terms !== null) this.happened.add(`${this.#style}: begins transmission`);
    if (this.#end !== undefined) this.happened.add(`${this.#style}: ${this.#end?.code ?? 'abort'}`);
  }

  #step(): void {
    const input = this.#input;
    if (input.below(64) === 63) {
      this.#negotiation.shutDown();
      this.#isShuttingDown = true;
    }
    const choice = input.below(12);
    if (choice === 0) this.#garbage();
    else if (choice <= 2) this.#anyOption();
    else this.#goodOption(choice);
  }

  /** Bytes that are no option, most likely. Nothing is known of what they lead to but the form of the replies. */
  #garbage(): void {
    this.#receive(this.#input.bytes(this.#input.below(40)));
    // From here on the two are out of step: what remains is that nothing breaks.
    while (!this.#input.isEmpty && !this.#isOver) this.#receive(this.#input.bytes(16));
    if (!this.#isOver) return;
    this.#replies();
  }

  /** Any number and any data. */
  #anyOption(): void {
    const input = this.#input;
    const number = input.flip() ? input.below(14) : input.below(65_536);
    const length = input.below(8) === 0 ? input.pick([599, 600, 601, 2000, 2001]) : input.below(64);
    const data = length > 64 ? Buffer.alloc(length, input.byte()) : input.bytes(length);
    if (number === OPT.setMeta) this.#contextsExport = null;
    const before = this.#style;
    this.#send(number, data);
    if (length > LIMITS.optionSkipBytesMax)
      check(this.#end instanceof Error, 'a length unpunished');
    if (this.#end !== undefined) return;
    const replies = this.#replies();
    if (this.#terms !== null) return;
    check(replies.length > 0 && replies.every((reply) => reply.option === number), 'no reply');
    if (replies.at(-1)?.type !== ACK) return;
    if (number === OPT.structured) this.#style = before === 'simple' ? 'structured' : before;
    if (number === OPT.extended) this.#style = 'extended';
  }

  /** An option as it should be, whose effect is known. */
  #goodOption(choice: number): void {
    const input = this.#input;
    const name = input.below(6) === 0 ? 'nope' : input.pick(NAMES);
    const isKnown = NAMES.includes(name);
    switch (choice) {
      case 3:
        this.#ask(OPT.structured, Buffer.alloc(0), this.#style === 'extended' ? 'error' : 'ack');
        if (this.#style === 'simple' && !this.#isShuttingDown) this.#style = 'structured';
        return;
      case 4:
        this.#ask(OPT.extended, Buffer.alloc(0), 'ack');
        if (!this.#isShuttingDown) this.#style = 'extended';
        return;
      case 5:
      case 6:
        this.#meta(OPT.setMeta, name, isKnown);
        return;
      case 7:
        this.#meta(OPT.listMeta, name, isKnown);
        return;
      case 8:
        this.#ask(OPT.list, Buffer.alloc(0), 'ack');
        return;
      case 9:
        if (input.below(4) === 0) this.#go(name, isKnown);
        return;
      case 10:
        if (input.below(4) === 0) this.#exportName(name, isKnown);
        return;
      default:
        this.#info(name, isKnown);
    }
  }

  #meta(number: number, name: string, isKnown: boolean): void {
    const queries = Array.from({ length: this.#input.below(4) }, () => this.#input.pick(QUERIES));
    const isRight = isKnown && this.#style !== 'simple';
    const replies = this.#ask(number, metaData(name, queries), isRight ? 'ack' : 'error');
    if (replies === null) return;
    const found = replies.some(({ type }) => type === META);
    if (number === OPT.setMeta) {
      this.#contextsExport = found ? name : null;
      if (isRight && !this.#isShuttingDown) {
        check(found === queries.includes('base:allocation'), 'a selection');
      }
    } else if (isRight && !this.#isShuttingDown) {
      const expected =
        queries.length === 0 || queries.includes('base:') || queries.includes('base:allocation');
      check(found === expected, 'a list of contexts');
    }
  }

  #info(name: string, isKnown: boolean): void {
    const types = Array.from({ length: this.#input.below(6) }, () => this.#input.below(6));
    const replies = this.#ask(OPT.info, infoData(name, types), isKnown ? 'ack' : 'error');
    if (replies === null || !isKnown || this.#isShuttingDown) return;
    const main = replies.find(({ data }) => data.readUInt16BE(0) === 0);
    check(main?.data.readUInt16BE(10) === this.#flagsOf(name), 'flags');
  }

  #go(name: string, isKnown: boolean): void {
    const replies = this.#ask(OPT.go, infoData(name), isKnown ? 'ack' : 'error');
    if (replies !== null && isKnown && !this.#isShuttingDown) this.#checkTerms(name);
  }

  #exportName(name: string, isKnown: boolean): void {
    this.#send(OPT.exportName, Buffer.from(name));
    check(this.#isOver, 'EXPORT_NAME that ends nothing');
    if (this.#isOneTooMany) return;
    const isAllowed = isKnown && this.#style !== 'extended' && !this.#isShuttingDown;
    check((this.#terms !== null) === isAllowed, 'EXPORT_NAME');
    if (!isAllowed) check(this.#sent.length === 0, 'a reply where there is none');
    else {
      check(this.#sent.length === 10 || this.#sent.length === 134, 'the reply to EXPORT_NAME');
      check(this.#sent.readUInt16BE(8) === this.#flagsOf(name), 'flags');
      this.#checkTerms(name);
    }
  }

  #flagsOf(name: string): number {
    const always = 0b1101_0110_1101;
    if (this.#style === 'simple') return always;
    const hasPayload = this.#style === 'extended' && this.#contextsExport === name;
    return always | SEND_DF | (hasPayload ? STATUS_PAYLOAD : 0);
  }

  #checkTerms(name: string): void {
    check(this.#terms?.replyStyle === this.#style, 'another style than agreed on');
    const expected = this.#contextsExport === name ? 1 : 0;
    check(this.#terms?.contexts.length === expected, 'other contexts than agreed on');
  }

  /** That option was one more than a client may send: it has no reply and no effect. */
  get #isOneTooMany(): boolean {
    return this.#end?.code === 'nbd-too-many-options';
  }

  /** Returns the replies; null when the option was one too many. */
  #ask(number: number, data: Buffer, expected: 'ack' | 'error'): readonly Reply[] | null {
    // Whatever becomes of it, it replaces what was selected.
    if (number === OPT.setMeta) this.#contextsExport = null;
    this.#send(number, data);
    if (this.#end !== undefined) {
      check(this.#isOneTooMany, `an end for ${this.#end?.code}`);
      return null;
    }
    const replies = this.#replies();
    const last = replies.at(-1);
    check(last?.option === number, 'no reply');
    const isError = expected === 'error' || this.#isShuttingDown;
    check((last?.type !== ACK) === isError, `reply ${last?.type} to option ${number}`);
    return replies;
  }

  /** An option. A client may send only so many. */
  #send(number: number, data: Buffer): void {
    check(this.#optionCount <= LIMITS.optionsMax, 'a handshake without end');
    this.#optionCount++;
    this.#receive(option(number, data));
  }

  #receive(bytes: Buffer): void {
    for (const piece of this.#input.pieces(bytes)) {
      const copy = Buffer.from(piece);
      this.#negotiation.receive(copy, 0, copy.length);
      copy.fill(0xdd);
    }
    check(this.#sent.length <= REPLY_BYTES_MAX, 'replies without bound');
  }

  /** Decodes what was sent: whole replies, in a form that is theirs, the final one last. */
  #replies(): Reply[] {
    const bytes = this.#sent;
    this.#sent = Buffer.alloc(0);
    const replies: Reply[] = [];
    for (let at = 0; at < bytes.length;) {
      check(bytes.readBigUInt64BE(at) === 0x3e889045565a9n, 'the magic of a reply');
      const end = at + 20 + bytes.readUInt32BE(at + 16);
      check(end <= bytes.length, 'a reply that breaks off');
      const reply = {
        option: bytes.readUInt32BE(at + 8),
        type: bytes.readUInt32BE(at + 12),
        data: bytes.subarray(at + 20, end),
      };
      checkForm(reply);
      this.happened.add(`${this.#style}: option ${reply.option % 16}, reply ${reply.type}`);
      replies.push(reply);
      at = end;
    }
    return replies;
  }
}

function checkForm({ option: number, type, data }: Reply): void {
  if (ERRORS.has(type)) {
    check(!data.includes(0) && data.length <= 4096 + 64, 'the message of an error');
    return;
  }
  switch (type) {
    case ACK:
      check(data.length === 0, 'an acknowledgement with data');
      return;
    case SERVER:
      check(number === OPT.list, 'an export that nobody asked for');
      check(NAMES.includes(data.toString('utf8', 4, 4 + data.readUInt32BE(0))), 'a name');
      return;
    case INFO: {
      check(number === OPT.info || number === OPT.go, 'information that nobody asked for');
      const bytesOf: Readonly<Record<number, number>> = { 0: 12, 3: 14 };
      const information = data.readUInt16BE(0);
      const length = bytesOf[information] ?? data.length;
      check(information <= 3 && data.length === length, 'the length of information');
      return;
    }
    case META:
      check(number === OPT.listMeta || number === OPT.setMeta, 'a context unasked');
      check(data.readUInt32BE(0) === (number === OPT.setMeta ? 1 : 0), 'the id of a context');
      check(data.toString('utf8', 4) === 'base:allocation', 'the name of a context');
      return;
    default:
      throw new Error(`a reply of type ${type}`);
  }
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
