import { BlockStatus } from '../../src/block/device.js';
import { extendedRequest, request } from '../support/nbd/client.js';
import { ReplyDecoder } from '../support/nbd/decoder.js';
import type { Style } from '../support/nbd/decoder.js';
import { SIZE, TransmissionBed } from '../support/nbd/transmission-bed.js';
import { FuzzInput } from './fuzz-input.js';
import { turn } from '../support/waiting.js';

const KIB = 1024;
const WRITE = 1;
const DISC = 2;
const CHANGES = new Set([1, 4, 6]);
const PAYLOAD_LEN = 32;
const DRAIN_MAX = 12 * KIB;
const LIMITS = {
  inFlightMax: 4,
  queuedBytesMax: 24 * KIB,
  readChunkBytes: 4 * KIB,
  readChunksMax: 3,
  readHoleBytesMin: 2 * KIB,
  extentsMax: 20,
  drainBytesMax: DRAIN_MAX,
};
const SLOT_BYTES = 16 * KIB;
const CLASSES = [
  { slotBytes: 4 * KIB, slotsMax: 4, slotsPerSlab: 2 },
  { slotBytes: SLOT_BYTES, slotsMax: 3, slotsPerSlab: 1 },
];
const POOL_BYTES_MAX = 72 * KIB;
/** The queue's limit is looked at before a reply: what is under way then still comes. */
const QUEUED_BYTES_MAX = LIMITS.queuedBytesMax + 7 * (SLOT_BYTES + 64);
const OFFSETS = [0n, 1n, 511n, 4096n, BigInt(SIZE - 1), BigInt(SIZE), 1n << 53n, (1n << 64n) - 1n];
const LENGTHS = [0n, 1n, 512n, 4097n, 40_000n, BigInt(SIZE), 0xffff_ffffn, (1n << 64n) - 1n];

/**
 * A client that sends any request in any style, and garbage, in any pieces; over a device that completes in any
 * order with any status; on a socket that flushes when it likes and may go away. What is sent back must be
 * decodable by a decoder that shares nothing with the server, every request must be answered, and in the end
 * every buffer must be back.
 */
export async function fuzzTransmission(bytes: Uint8Array): Promise<ReadonlySet<string>> {
  const run = new Run(new FuzzInput(bytes));
  await run.run();
  return run.happened;
}

class Run {
  readonly happened = new Set<string>();
  readonly #input: FuzzInput;
  readonly #style: Style;
  readonly #bed: TransmissionBed;
  readonly #decoder: ReplyDecoder;
  #cookie = 1n;
  /** Nothing has happened that lets the server leave requests unanswered. */
  #isClean = true;
  #isGone = false;
  /** Nothing was asked for that changes the disk. */
  #isStill = true;

  constructor(input: FuzzInput) {
    this.#input = input;
    this.#style = input.pick(['simple', 'structured', 'extended'] as const);
    const contexts = this.#style !== 'simple' && input.flip() ? [1] : [];
    this.#bed = new TransmissionBed({
      agreed: { replyStyle: this.#style, contexts },
      limits: LIMITS,
      classes: CLASSES,
      info: {
        canFindZeroes: input.flip(),
        minimumBytes: input.pick([1, 512]),
        readOnly: input.below(8) === 7,
        trimBytesMax: input.pick([SIZE, 8 * KIB]),
      },
    });
    this.#bed.device.bytes.fill(0, 16 * KIB, 80 * KIB);
    this.#decoder = new ReplyDecoder(this.#style, SLOT_BYTES);
  }

  async run(): Promise<void> {
    while (!this.#input.isEmpty && !this.#isGone) {
      this.#step();
      if (this.#input.below(4) === 0) await microtasks();
      this.#checkBounds();
    }
    if (!this.#isGone && this.#input.flip()) this.#bed.transmission.peerEnded();
    await this.#settle();
    this.#checkEnd();
  }

  #step(): void {
    const { device, transmission } = this.#bed;
    switch (this.#input.below(12)) {
      case 0:
      case 1:
        this.#complete();
        return;
      case 2:
        this.#flush(1 + this.#input.below(4));
        return;
      case 3:
        device.extentsMax = this.#input.pick([Infinity, 0, 1, 3, 9]);
        return;
      case 4:
        device.status = this.#input.pick([BlockStatus.ok, BlockStatus.ok, BlockStatus.ioError]);
        return;
      case 5:
        if (this.#input.below(8) === 0) this.#garbage();
        return;
      case 6:
        if (this.#input.below(8) !== 0) return;
        this.#isClean = false;
        transmission.drain();
        return;
      case 7:
        if (this.#input.below(8) === 0) this.#vanish();
        return;
      default:
        this.#request();
    }
  }

  #request(): void {
    // What a socket would do: nothing is read from a client that is held back, or that sends no more.
    if (this.#bed.isPaused || this.#bed.violation !== null) return;
    const input = this.#input;
    const command = input.below(16) === 0 ? input.below(256) : input.below(9);
    const isExtended = this.#style === 'extended';
    let flags = input.below(3) === 0 ? input.pick([1, 2, 4, 8, 16, 32, 64, 0x8000, 3, 9, 24]) : 0;
    if (isExtended && command === WRITE && input.below(8) !== 0) flags |= PAYLOAD_LEN;
    const offset = input.flip() ? BigInt(input.below(65_536)) * 4n : input.pick(OFFSETS);
    let length = input.flip() ? BigInt(input.below(65_536)) : input.pick(LENGTHS);
    const hasPayload = command === WRITE || (isExtended && (flags & PAYLOAD_LEN) !== 0);
    let effectLength = length;
    let data: Buffer = Buffer.alloc(0);
    if (hasPayload) {
      data = this.#payload(command);
      length = BigInt(data.length);
      effectLength = length;
      if (command === 7 && data.length >= 8) effectLength = data.readBigUInt64BE(0);
    }
    if (!isExtended) length &= 0xffff_ffffn;
    if (!hasPayload) effectLength = length;
    if (CHANGES.has(command)) this.#isStill = false;
    const cookie = this.#cookie++;
    if (command === DISC) this.#isClean = false;
    else {
      const contexts = this.#bed.contexts;
      this.#decoder.ask(cookie, { command, offset, length: effectLength, flags, contexts });
    }
    const encode = isExtended ? extendedRequest : request;
    for (const piece of input.pieces(encode({ command, flags, cookie, offset, length, data }))) {
      // A paused socket keeps the rest of what it has read; the transmission carries it.
      this.#bed.receive(piece);
    }
  }

  #payload(command: number): Buffer {
    const input = this.#input;
    if (command === 7) {
      const ids = input.pick([[1], [1], [2], [1, 1], []]);
      const bytes = Buffer.alloc(8 + 4 * ids.length + (input.below(8) === 0 ? 1 : 0));
      bytes.writeBigUInt64BE(input.pick([512n, 4096n, BigInt(SIZE), 0n, 1n << 60n]), 0);
      ids.forEach((id, index) => bytes.writeUInt32BE(id, 8 + 4 * index));
      return bytes;
    }
    const bytes = Buffer.alloc(input.pick([1, 512, 4096, DRAIN_MAX, DRAIN_MAX + 1, SLOT_BYTES]));
    return bytes.fill(input.byte());
  }

  #complete(): void {
    const { held } = this.#bed.device;
    if (held.length === 0) return;
    const statuses = Object.values(BlockStatus);
    const status = this.#input.below(4) === 0 ? this.#input.pick(statuses) : BlockStatus.ok;
    this.#bed.device.complete(this.#input.below(held.length), status);
  }

  #garbage(): void {
    if (this.#bed.isPaused) return;
    this.#isClean = false;
    this.#bed.receive(this.#input.bytes(this.#input.below(64)));
  }

  #vanish(): void {
    this.#isClean = false;
    this.#isGone = true;
    this.#bed.transmission.abort();
  }

  #flush(count?: number): void {
    this.#bed.flush(count);
    if (!this.#isGone) this.#decoder.feed(this.#bed.output);
    this.#bed.output = Buffer.alloc(0);
    for (const { asked, error, chunks, extents, data } of this.#decoder.answers.splice(0)) {
      if (this.#isStill && asked.command === 0 && error === 0) {
        const start = Number(asked.offset);
        const expected = this.#bed.device.bytes.subarray(start, start + data.length);
        check(data.equals(expected), 'a READ of something else');
      }
      const types = new Set(chunks.map(({ type }) => type));
      const pieces = `${[...types].sort().join('+')} x${Math.min(chunks.length, 2)}`;
      const end = `${asked.command} ended with ${error}, ${pieces}, ${Math.min(extents.length, 2)}`;
      this.happened.add(`${this.#style}: ${end}`);
    }
  }

  async #settle(): Promise<void> {
    const { device, sent } = this.#bed;
    device.status = BlockStatus.ok;
    for (let idle = 0; idle < 4; idle++) {
      await turn();
      if (device.held.length === 0 && sent.length === 0) continue;
      idle = 0;
      device.completeAll();
      this.#flush();
    }
  }

  #checkBounds(): void {
    const { pool, sent } = this.#bed;
    check(pool.allocatedBytes <= POOL_BYTES_MAX, 'the pool has grown');
    const queuedBytes = sent.reduce((sum, { bytes }) => sum + bytes.length, 0);
    check(queuedBytes <= QUEUED_BYTES_MAX, 'too much is queued');
    check(sent.length <= LIMITS.inFlightMax + LIMITS.readChunksMax, 'too many replies are queued');
  }

  #checkEnd(): void {
    const { pool, transmission, violation, idleCount } = this.#bed;
    if (violation !== null) {
      this.#isClean = false;
      this.happened.add(`${this.#style}: ${violation.code}`);
    }
    if (this.#isClean) check(this.#decoder.pendingCount === 0, 'a request without an answer');
    if (!this.#isGone) check(this.#decoder.restBytes === 0, 'a reply that breaks off');
    if (this.#isClean && !transmission.awaitsPeer) {
      check(pool.usedCount === 0, 'a buffer that does not come back');
      check(transmission.inFlightCount === 0, 'a request that does not end');
    }
    check(idleCount <= 1, 'idle twice');
    if (!this.#isGone) transmission.abort();
    check(pool.usedCount === 0, 'a buffer that is lost');
    check(this.#bed.idleCount === 1, 'never idle');
  }
}

/** Lets promises go on that are due, and what they start. */
async function microtasks(): Promise<void> {
  for (let count = 0; count < 8; count++) await Promise.resolve();
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(what);
}
