/**
 * After every request, refused or not, the server and its client agree on where the next one begins; or the connection
 * ends before another byte is interpreted. What is sent as payload here are requests: a server out of step obeys them.
 */
import { describe, expect, it } from 'vitest';
import { BlockOp } from '../../src/block/device.js';
import { CMD, PAYLOAD_LEN, extendedRequest, request } from '../support/nbd/client.js';
import { ReplyDecoder } from '../support/nbd/decoder.js';
import type { Style } from '../support/nbd/decoder.js';
import { SIZE, TransmissionBed } from '../support/nbd/transmission-bed.js';
import type { TransmissionBedOptions } from '../support/nbd/transmission-bed.js';

const KIB = 1024;
/** The longest refused payload that is skipped. */
const DRAIN_BYTES_MAX = KIB;
/** What the READ behind it asks for. */
const CANARY_BYTES = 512;
const COMMANDS = [...Object.values(CMD), 8, 9, 0x00ff, 0xffff];
/** Every set of the flags that exist, and two that do not. */
const FLAGS = [...Array.from({ length: 64 }, (_, flags) => flags), 0x40, 0x8000];
const STYLES: readonly Style[] = ['simple', 'structured', 'extended'];

/** What the payload asks for when it is taken for a request: the whole disk is zeroed. */
const POISON_COOKIE = 0xbadn;
const POISON = { command: CMD.writeZeroes, offset: 0, length: SIZE, cookie: POISON_COOKIE };

interface Message {
  readonly command: number;
  readonly flags: number;
  readonly offset: bigint;
  readonly length: bigint;
}

const encodeFor = (style: Style) => (style === 'extended' ? extendedRequest : request);

/** The model: how many bytes belong to a request behind its header, by proto.md and by what QEMU's client sends. */
function payloadBytes(style: Style, { command, flags, length }: Message): number {
  const hasPayload = command === CMD.write || (style === 'extended' && (flags & PAYLOAD_LEN) !== 0);
  return hasPayload ? Number(length) : 0;
}

/** Of a payload that is longer than any that is taken, no more is sent. */
const SENT_BYTES_MAX = 128 * KIB;

/** A client of one connection for as long as that lasts, and of a new one then. */
class Client {
  readonly #style: Style;
  readonly #options: TransmissionBedOptions;
  #bed: TransmissionBed;
  #decoder: ReplyDecoder;
  #cookie = 0n;
  /** Connections that had to end. */
  endings = 0;

  constructor(style: Style, options: Omit<TransmissionBedOptions, 'agreed'> = {}) {
    this.#style = style;
    const contexts = style === 'simple' ? [] : [1];
    const limits = { drainBytesMax: DRAIN_BYTES_MAX, ...options.limits };
    this.#options = { ...options, limits, agreed: { replyStyle: style, contexts } };
    this.#bed = new TransmissionBed(this.#options);
    this.#decoder = new ReplyDecoder(style, this.#bed.pool.requestBytesMax);
  }

  /**
   * Sends a request, its payload and a READ behind it, in pieces; then judges. `lead` is sent before, and is held by
   * the device until all has been sent.
   */
  async try(message: Message, pieces: (bytes: Buffer) => Iterable<Buffer>, lead = false) {
    const { command, flags, offset, length } = message;
    const encode = encodeFor(this.#style);
    const poison = encode(POISON);
    const dataBytes = Math.min(payloadBytes(this.#style, message), SENT_BYTES_MAX);
    const data = Buffer.alloc(dataBytes, poison);
    const cookie = ++this.#cookie;
    const canary = ++this.#cookie;
    const canaryAt = CANARY_BYTES * Number(canary % BigInt(SIZE / CANARY_BYTES));
    if (command !== CMD.disc) this.#expect(cookie, message, data);
    this.#expect(canary, {
      command: CMD.read,
      flags: 0,
      offset: BigInt(canaryAt),
      length: BigInt(CANARY_BYTES),
    });
    const bytes = Buffer.concat([
      encode({ command, flags, offset, length, cookie, data }),
      encode({ command: CMD.read, offset: canaryAt, length: CANARY_BYTES, cookie: canary }),
    ]);
    const { device } = this.#bed;
    device.seen.length = 0;
    if (lead) {
      const first = ++this.#cookie;
      this.#expect(first, { command: CMD.flush, flags: 0, offset: 0n, length: 0n });
      this.#bed.receive(encode({ command: CMD.flush, cookie: first }));
    }
    for (const piece of pieces(bytes)) this.#bed.receive(piece);
    await this.#settle();
    this.#judge(message, canary, canaryAt);
  }

  #expect(cookie: bigint, { command, flags, offset, length }: Message, data = Buffer.alloc(0)) {
    const contexts = this.#bed.contexts;
    let asked = length;
    if (command === CMD.blockStatus && data.length >= 8) asked = data.readBigUInt64BE(0);
    this.#decoder.ask(cookie, { command, offset, length: asked, flags, contexts });
  }

  #judge(message: Message, canary: bigint, canaryAt: number): void {
    const { device, violation, idleCount } = this.#bed;
    const isPoison = device.seen.some(
      ({ op, length }) => op === BlockOp.writeZeroes && length === SIZE,
    );
    const asksForIt = message.command === CMD.writeZeroes && message.length === BigInt(SIZE);
    if (isPoison && !asksForIt) throw new Error('the payload was taken for a request');
    const answer = this.#decoder.take(canary);
    if (idleCount > 0) {
      this.endings++;
      const mayEnd =
        message.command === CMD.disc || payloadBytes(this.#style, message) > DRAIN_BYTES_MAX;
      if (!mayEnd) throw new Error(`it need not have ended: ${violation?.message}`);
      if (answer !== undefined) throw new Error('a request behind the end was answered');
      this.#bed = new TransmissionBed(this.#options);
      this.#decoder = new ReplyDecoder(this.#style, this.#bed.pool.requestBytesMax);
      return;
    }
    if (this.#decoder.pendingCount > 0) throw new Error('a request without an answer');
    if (answer?.error !== 0) throw new Error('the request behind it failed');
    const last = device.seen.at(-1);
    if (last?.op !== BlockOp.read || last.offset !== canaryAt) {
      throw new Error('the request behind it is not the last');
    }
    this.#decoder.answers.length = 0;
  }

  async #settle(): Promise<void> {
    const { device } = this.#bed;
    for (let quiet = 0; quiet < 2; quiet++) {
      // A BLOCK_STATUS is answered by promises.
      for (let count = 0; count < 8; count++) await Promise.resolve();
      if (device.held.length === 0 && this.#bed.sent.length === 0) continue;
      quiet = -1;
      device.completeAll();
      this.#bed.flush();
      this.#decoder.feed(this.#bed.output);
      this.#bed.output = Buffer.alloc(0);
    }
  }
}

const whole = (bytes: Buffer): Buffer[] => [bytes];

function* byteByByte(bytes: Buffer): Iterable<Buffer> {
  for (let at = 0; at < bytes.length; at++) yield bytes.subarray(at, at + 1);
}

const cutAt = (at: number) => (bytes: Buffer) => [bytes.subarray(0, at), bytes.subarray(at)];

const HUGE: readonly Range[] = [1n << 32n, 1n << 53n, 1n << 63n, (1n << 64n) - 1n].map((length) => [
  0n,
  length,
]);

type Range = readonly [offset: bigint, length: bigint];

/** Every command with every set of flags on every range. */
function* messages(ranges: readonly Range[]): Iterable<Message> {
  for (const command of COMMANDS) {
    for (const flags of FLAGS) {
      for (const [offset, length] of ranges) yield { command, flags, offset, length };
    }
  }
}

const EXPORTS: readonly (readonly [string, TransmissionBedOptions])[] = [
  ['that does everything', {}],
  ['that is read-only', { info: { readOnly: true } }],
  ['in blocks of 512 bytes', { info: { minimumBytes: 512 } }],
  [
    'that only reads and writes',
    {
      info: {
        canFlush: false,
        canForceUnitAccess: false,
        canTrim: false,
        canWriteZeroes: false,
        canCache: false,
      },
    },
  ],
];

describe.each(STYLES)('with %s replies, client and server stay in step or part', (style) => {
  const headerBytes = encodeFor(style)({ command: CMD.read }).length;
  const oneRequest: Range = [0n, BigInt(headerBytes)];
  const oneSector: Range = [0n, 512n];
  const ranges: readonly Range[] = [
    [0n, 0n],
    oneRequest,
    oneSector,
    // Past the end, just so and by far.
    [BigInt(SIZE) - 4n, 512n],
    [(1n << 64n) - 512n, 512n],
    // Too long to be skipped where it is refused, and too long to be written.
    [0n, BigInt(2 * DRAIN_BYTES_MAX)],
    [0n, 66n * 1024n],
    // Too long for the request's own field, of 32 bits, or for a Number.
    ...(style === 'extended' ? HUGE : []),
  ];

  it.each(EXPORTS)(
    'on an export %s, after every request with any flags',
    async (_what, options) => {
      const client = new Client(style, options);
      for (const message of messages(ranges)) await client.try(message, whole);
      expect(client.endings).toBeGreaterThan(0);
    },
  );

  it('in single bytes', async () => {
    const client = new Client(style, { info: { readOnly: true } });
    for (const message of messages([oneRequest, oneSector])) {
      await client.try(message, byteByByte);
    }
  });

  it('cut anywhere', async () => {
    const client = new Client(style, { info: { minimumBytes: 512 } });
    for (const message of messages([oneRequest])) {
      const bytes = 2 * headerBytes + payloadBytes(style, message);
      for (let at = 1; at < bytes; at++) await client.try(message, cutAt(at));
    }
  });

  it('when all of it has to wait', async () => {
    const client = new Client(style, { info: { readOnly: true }, limits: { inFlightMax: 1 } });
    for (const message of messages([[0n, 0n], oneRequest, oneSector])) {
      await client.try(message, whole, true);
    }
  });
});
