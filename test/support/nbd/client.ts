import { connect } from 'node:net';
import type { NetConnectOpts, Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { ConnectionOptions } from 'node:tls';

/**
 * A slow and obvious NBD client for tests. It knows the protocol from proto.md by itself, and shares nothing with
 * the server's codec: numbers here are written out on purpose.
 */

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: bigint | number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export function hex(text: string): Buffer {
  return Buffer.from(text.replace(/[\s|]/g, ''), 'hex');
}

export const CMD = {
  read: 0,
  write: 1,
  disc: 2,
  flush: 3,
  trim: 4,
  cache: 5,
  writeZeroes: 6,
  blockStatus: 7,
};
export const OPT = {
  exportName: 1,
  abort: 2,
  list: 3,
  startTls: 5,
  info: 6,
  go: 7,
  structured: 8,
  listMeta: 9,
  setMeta: 10,
  extended: 11,
};
export const FUA = 1;
export const NO_HOLE = 2;
export const DF = 4;
export const REQ_ONE = 8;
export const FAST_ZERO = 16;
export const PAYLOAD_LEN = 32;

export function option(number: number, data: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from('IHAVEOPT'), u32(number), u32(data.length), data]);
}

export function infoData(name: string, types: readonly number[] = []): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([u32(bytes.length), bytes, u16(types.length), ...types.map(u16)]);
}

export function metaData(exportName: string, queries: readonly string[] = []): Buffer {
  const name = Buffer.from(exportName);
  const strings = queries.map((query) => Buffer.from(query));
  return Buffer.concat([
    u32(name.length),
    name,
    u32(queries.length),
    ...strings.flatMap((query) => [u32(query.length), query]),
  ]);
}

export interface RequestFields {
  readonly command: number;
  readonly offset?: number | bigint;
  readonly length?: number | bigint;
  readonly cookie?: bigint;
  readonly flags?: number;
  readonly data?: Uint8Array;
}

export function request(fields: RequestFields): Buffer {
  const { command, offset = 0, flags = 0, cookie = 0n, data = Buffer.alloc(0) } = fields;
  const length = fields.length ?? data.length;
  const head = [u32(0x25609513), u16(flags), u16(command), u64(cookie), u64(offset)];
  return Buffer.concat([...head, u32(Number(length)), data]);
}

/** With an extended header; a write says PAYLOAD_LEN unless its flags are given. */
export function extendedRequest(fields: RequestFields): Buffer {
  const { command, offset = 0, cookie = 0n, data = Buffer.alloc(0) } = fields;
  const { flags = command === CMD.write ? PAYLOAD_LEN : 0, length = data.length } = fields;
  const head = [u32(0x21e41c71), u16(flags), u16(command), u64(cookie), u64(offset), u64(length)];
  return Buffer.concat([...head, data]);
}

export interface OptionReplyMessage {
  readonly option: number;
  readonly type: number;
  readonly data: Buffer;
}

export interface SimpleReply {
  readonly error: number;
  readonly cookie: bigint;
}

/** Parses a byte string of option replies to its end. */
export function parseOptionReplies(bytes: Buffer): OptionReplyMessage[] {
  const replies: OptionReplyMessage[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (bytes.readBigUInt64BE(at) !== 0x3e889045565a9n) throw new Error('option reply magic');
    const length = bytes.readUInt32BE(at + 16);
    replies.push({
      option: bytes.readUInt32BE(at + 8),
      type: bytes.readUInt32BE(at + 12),
      data: bytes.subarray(at + 20, at + 20 + length),
    });
    at += 20 + length;
  }
  return replies;
}

export function parseSimpleReply(bytes: Buffer, at = 0): SimpleReply {
  if (bytes.readUInt32BE(at) !== 0x67446698) throw new Error('simple reply magic');
  return { error: bytes.readUInt32BE(at + 4), cookie: bytes.readBigUInt64BE(at + 8) };
}

/** A raw connection: send what you like, read exactly what you ask for. */
export class NbdTestClient {
  readonly socket: Socket;
  #chunks: Buffer[] = [];
  #length = 0;
  #wanted: { bytes: number; resolve: (bytes: Buffer) => void; reject: (e: Error) => void } | null =
    null;
  #error: Error | null = null;
  /** The server has closed its side, or all of it. */
  readonly ended: Promise<void>;
  readonly closed: Promise<void>;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.ended = new Promise((resolve) => {
      socket.once('end', resolve);
      socket.once('close', () => resolve());
    });
    this.closed = new Promise((resolve) => socket.once('close', () => resolve()));
    socket.on('data', (bytes) => {
      this.#chunks.push(bytes);
      this.#length += bytes.length;
      this.#satisfy();
    });
    socket.on('error', () => undefined);
    void this.ended.then(() => {
      this.#error = new Error('the server has closed the connection');
      this.#satisfy();
    });
  }

  static async connect(address: NetConnectOpts): Promise<NbdTestClient> {
    const socket = connect({ ...address, allowHalfOpen: true });
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return new NbdTestClient(socket);
  }

  /** Connects and enters the transmission phase of an export with GO. */
  static async attach(address: NetConnectOpts, exportName = ''): Promise<NbdTestClient> {
    const client = await NbdTestClient.connect(address);
    await client.greet();
    client.send(option(OPT.go, infoData(exportName)));
    const last = (await client.optionReplies()).at(-1);
    if (last?.type !== 1) throw new Error(`GO was refused: ${last?.data.toString() ?? ''}`);
    return client;
  }

  /** The client's half of a TLS handshake, on a connection whose STARTTLS was acknowledged. */
  async secure(options: ConnectionOptions): Promise<NbdTestClient> {
    this.socket.removeAllListeners('data');
    const secured = connectTls({ ...options, socket: this.socket });
    await new Promise<void>((resolve, reject) => {
      secured.once('secureConnect', resolve);
      secured.once('error', reject);
      secured.once('close', () => reject(new Error('closed during the TLS handshake')));
    });
    return new NbdTestClient(secured);
  }

  /** Bytes that have come and were not read. */
  get restBytes(): number {
    return this.#length;
  }

  send(...parts: Uint8Array[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** Resolves when the operating system has taken everything. */
  async sendAll(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => this.socket.write(bytes, () => resolve()));
  }

  read(bytes: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#wanted = { bytes, resolve, reject };
      this.#satisfy();
    });
  }

  /** Reads the greeting and answers it with both client flags. */
  async greet(flags = 3): Promise<Buffer> {
    const greeting = await this.read(18);
    this.send(u32(flags));
    return greeting;
  }

  /** Reads the replies to one option, up to its ACK or error. */
  async optionReplies(): Promise<OptionReplyMessage[]> {
    const replies: OptionReplyMessage[] = [];
    for (;;) {
      const head = await this.read(20);
      const data = await this.read(head.readUInt32BE(16));
      const [reply] = parseOptionReplies(Buffer.concat([head, data]));
      if (reply === undefined) throw new Error('no reply');
      replies.push(reply);
      if (reply.type === 1 || reply.type >= 0x80000000) return replies;
    }
  }

  async simpleReply(): Promise<SimpleReply> {
    return parseSimpleReply(await this.read(16));
  }

  /** Sends one request and reads its reply; `data` is what a successful READ returns. */
  async call(fields: RequestFields): Promise<{ readonly error: number; readonly data: Buffer }> {
    this.send(request(fields));
    const { error } = await this.simpleReply();
    const bytes = fields.command === CMD.read && error === 0 ? Number(fields.length ?? 0) : 0;
    return { error, data: await this.read(bytes) };
  }

  close(): Promise<void> {
    this.socket.destroy();
    return this.closed;
  }

  #satisfy(): void {
    const wanted = this.#wanted;
    if (wanted === null) return;
    if (this.#length >= wanted.bytes) {
      this.#wanted = null;
      const all = Buffer.concat(this.#chunks);
      const rest = all.subarray(wanted.bytes);
      this.#chunks = rest.length > 0 ? [rest] : [];
      this.#length = rest.length;
      wanted.resolve(all.subarray(0, wanted.bytes));
    } else if (this.#error !== null) {
      this.#wanted = null;
      wanted.reject(this.#error);
    }
  }
}
