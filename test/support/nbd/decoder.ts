/**
 * An independent decoder of what a server sends in the transmission phase: slow and obvious, written from proto.md,
 * with none of the server's code. It throws for everything that proto.md forbids.
 */

export type Style = 'simple' | 'structured' | 'extended';

/** What was asked for, by cookie. */
export interface Asked {
  readonly command: number;
  readonly offset: bigint;
  readonly length: bigint;
  readonly flags?: number;
  /** The contexts that a BLOCK_STATUS must be answered for. */
  readonly contexts?: readonly number[];
}

export interface Extent {
  readonly length: bigint;
  readonly flags: bigint;
}

export interface Chunk {
  readonly type: number;
  readonly offset: bigint;
  readonly length: bigint;
}

/** A reply as a whole: all chunks of it. */
export interface Answer {
  readonly cookie: bigint;
  readonly asked: Asked;
  /** 0, or the first error. */
  readonly error: number;
  readonly message: string;
  /** A successful READ's data, holes filled in. */
  readonly data: Buffer;
  readonly extents: readonly Extent[];
  /** The content and error chunks of a READ, in the order in which they came. */
  readonly chunks: readonly Chunk[];
}

const MAGIC = { simple: 0x67446698, structured: 0x668e33ef, extended: 0x6e8a278c };
const HEADER = { simple: 16, structured: 20, extended: 32 };
const ERRORS = new Set([1, 5, 12, 22, 28, 75, 95, 108]);
const [READ, BLOCK_STATUS, WRITE_ZEROES] = [0, 7, 6];
const DF = 4;
const REQ_ONE = 8;
const FAST_ZERO = 16;
const EXTENTS_MAX = 2 ** 20;

class Pending {
  error = 0;
  message = '';
  genericErrors = 0;
  readonly pieces: { at: bigint; bytes: Buffer }[] = [];
  readonly chunks: Chunk[] = [];
  readonly extents = new Map<number, Extent[]>();

  constructor(readonly asked: Asked) {}
}

export class ReplyDecoder {
  readonly answers: Answer[] = [];
  readonly #style: Style;
  readonly #payloadMax: number;
  readonly #pending = new Map<bigint, Pending>();
  #bytes = Buffer.alloc(0);

  constructor(style: Style, payloadMax = 32 * 1024 * 1024) {
    this.#style = style;
    this.#payloadMax = payloadMax;
  }

  /** Tells of a request that will be answered; its cookie must be free. */
  ask(cookie: bigint, asked: Asked): void {
    check(!this.#pending.has(cookie), 'the test used a cookie twice');
    this.#pending.set(cookie, new Pending(asked));
  }

  get pendingCount(): number {
    return this.#pending.size;
  }

  /** Bytes of a message that is not whole. */
  get restBytes(): number {
    return this.#bytes.length;
  }

  feed(bytes: Uint8Array): void {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    while (this.#bytes.length > 0) {
      const taken = this.#message(this.#bytes);
      if (taken === 0) return;
      this.#bytes = this.#bytes.subarray(taken);
    }
  }

  /** The answer to one request, when it is there; removes it. */
  take(cookie: bigint): Answer | undefined {
    const index = this.answers.findIndex((answer) => answer.cookie === cookie);
    return index < 0 ? undefined : this.answers.splice(index, 1)[0];
  }

  #message(bytes: Buffer): number {
    const headerBytes = HEADER[this.#style];
    if (bytes.length < headerBytes) return 0;
    check(bytes.readUInt32BE(0) === MAGIC[this.#style], `a reply that is not ${this.#style}`);
    const cookie = bytes.readBigUInt64BE(8);
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw new Error(`a reply to nobody: cookie ${cookie}`);
    if (this.#style === 'simple') return this.#simple(bytes, cookie, pending);
    const isExtended = this.#style === 'extended';
    const length = isExtended ? bytes.readBigUInt64BE(24) : BigInt(bytes.readUInt32BE(16));
    check(
      length <= BigInt(this.#payloadMax + 4096),
      'a chunk that is longer than the payload limit',
    );
    if (isExtended) {
      check(
        bytes.readBigUInt64BE(16) === pending.asked.offset,
        'an offset that is not the request’s',
      );
    }
    const end = headerBytes + Number(length);
    if (bytes.length < end) return 0;
    const flags = bytes.readUInt16BE(4);
    check((flags & ~1) === 0, 'an unknown reply flag');
    const type = bytes.readUInt16BE(6);
    if (type === 0)
      check(flags === 1 && length === 0n, 'a NONE that is not the last, or not empty');
    else this.#chunk(type, bytes.subarray(headerBytes, end), pending);
    if (flags === 1) this.#finish(cookie, pending);
    return end;
  }

  #simple(bytes: Buffer, cookie: bigint, pending: Pending): number {
    const { command, length, offset } = pending.asked;
    pending.error = bytes.readUInt32BE(4);
    const dataBytes = command === READ && pending.error === 0 ? Number(length) : 0;
    if (bytes.length < 16 + dataBytes) return 0;
    if (dataBytes > 0) {
      pending.pieces.push({ at: offset, bytes: bytes.subarray(16, 16 + dataBytes) });
    }
    this.#finish(cookie, pending);
    return 16 + dataBytes;
  }

  #chunk(type: number, payload: Buffer, pending: Pending): void {
    const { command, length } = pending.asked;
    switch (type) {
      case 1:
        check(
          command === READ && payload.length >= 9,
          'OFFSET_DATA without data, or not to a READ',
        );
        this.#content(type, payload.readBigUInt64BE(0), payload.subarray(8), pending);
        return;
      case 2: {
        check(command === READ && payload.length === 12, 'OFFSET_HOLE of a wrong length');
        const holeBytes = payload.readUInt32BE(8);
        check(holeBytes > 0 && BigInt(holeBytes) <= length, 'a hole that is empty or too long');
        this.#content(type, payload.readBigUInt64BE(0), Buffer.alloc(holeBytes), pending);
        return;
      }
      case 5:
      case 6:
        check(command === BLOCK_STATUS, 'extents that nobody asked for');
        check((type === 6) === (this.#style === 'extended'), 'extents in the other style');
        this.#extents(payload, pending);
        return;
      case 0x8001:
      case 0x8002:
        this.#error(type, payload, pending);
        return;
      default:
        throw new Error(`a chunk of type ${type}`);
    }
  }

  #content(type: number, at: bigint, bytes: Buffer, pending: Pending): void {
    const { offset, length, flags = 0 } = pending.asked;
    const end = at + BigInt(bytes.length);
    check(at >= offset && end <= offset + length, 'content outside the request');
    check(
      (flags & DF) === 0 || pending.pieces.length === 0,
      'a second content chunk in spite of DF',
    );
    for (const chunk of pending.chunks) {
      const overlaps = at < chunk.offset + chunk.length && chunk.offset < end;
      check(!overlaps, 'a content chunk that overlaps an earlier chunk');
    }
    pending.pieces.push({ at, bytes });
    pending.chunks.push({ type, offset: at, length: BigInt(bytes.length) });
  }

  #error(type: number, payload: Buffer, pending: Pending): void {
    const fixedBytes = type === 0x8001 ? 6 : 14;
    check(payload.length >= fixedBytes, 'an error chunk that is too short');
    const messageBytes = payload.readUInt16BE(4);
    check(messageBytes <= 4096 && messageBytes === payload.length - fixedBytes, 'a message length');
    const error = payload.readUInt32BE(0);
    check(error !== 0, 'an error chunk without an error');
    if (type === 0x8001) check(++pending.genericErrors === 1, 'two errors without offset');
    else {
      check(pending.genericErrors === 0, 'errors with offset mixed with one without');
      const at = payload.readBigUInt64BE(6 + messageBytes);
      const { offset, length } = pending.asked;
      check(at >= offset && at < offset + length, 'an error outside the request');
      check(!pending.chunks.some((c) => c.type === type && c.offset === at), 'an offset twice');
      pending.chunks.push({ type, offset: at, length: 0n });
    }
    if (pending.error === 0) pending.error = error;
    pending.message = payload.toString('utf8', 6, 6 + messageBytes);
    check(!pending.message.includes('\0'), 'a NUL in a message');
  }

  #extents(payload: Buffer, pending: Pending): void {
    const isExtended = this.#style === 'extended';
    const [startBytes, eachBytes] = isExtended ? [8, 16] : [4, 8];
    const count = (payload.length - startBytes) / eachBytes;
    check(Number.isInteger(count) && count >= 1 && count <= EXTENTS_MAX, 'a number of extents');
    if (isExtended) check(payload.readUInt32BE(4) === count, 'another number of extents than said');
    const id = payload.readUInt32BE(0);
    const { contexts = [], length, flags = 0 } = pending.asked;
    check(contexts.includes(id), 'a context that was not asked for');
    check(!pending.extents.has(id), 'a context twice');
    const extents: Extent[] = [];
    for (let at = startBytes; at < payload.length; at += eachBytes) {
      extents.push(
        isExtended
          ? { length: payload.readBigUInt64BE(at), flags: payload.readBigUInt64BE(at + 8) }
          : {
              length: BigInt(payload.readUInt32BE(at)),
              flags: BigInt(payload.readUInt32BE(at + 4)),
            },
      );
    }
    let sum = 0n;
    for (const [index, extent] of extents.entries()) {
      check(extent.length > 0n, 'an extent without length');
      check((extent.flags & ~3n) === 0n, 'reserved state flags');
      check(extent.flags !== extents[index - 1]?.flags, 'neighbours in one state');
      check(sum < length, 'an extent beyond the request');
      sum += extent.length;
    }
    if ((flags & REQ_ONE) !== 0) {
      check(extents.length === 1 && sum <= length, 'more than REQ_ONE asks for');
    }
    pending.extents.set(id, extents);
  }

  #finish(cookie: bigint, pending: Pending): void {
    this.#pending.delete(cookie);
    const { asked, error, message, chunks } = pending;
    const { command, offset, length, contexts = [], flags = 0 } = asked;
    check(error === 0 || ERRORS.has(error), `error ${error}, which proto.md does not have`);
    if (error === 95) {
      check(command === WRITE_ZEROES && (flags & FAST_ZERO) !== 0, 'ENOTSUP where it is forbidden');
    }
    let data = Buffer.alloc(0);
    if (command === READ && error === 0) {
      data = Buffer.alloc(Number(length));
      let covered = 0n;
      for (const { at, bytes } of pending.pieces) {
        bytes.copy(data, Number(at - offset));
        covered += BigInt(bytes.length);
      }
      check(covered === length, 'a successful READ that lacks data');
    }
    if (command === BLOCK_STATUS && error === 0) {
      check(pending.extents.size === contexts.length, 'a context without an answer');
    }
    const extents = [...pending.extents.values()][0] ?? [];
    this.answers.push({ cookie, asked, error, message, data, extents, chunks });
  }
}

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`the server broke the protocol: ${what}`);
}
