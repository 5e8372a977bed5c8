import { atTurnEnd } from '../common/later.js';
import { readlinkSync } from 'node:fs';
import { Socket } from 'node:net';
import type { NetConnectOpts } from 'node:net';
import { formatAddress } from '../common/address.js';
import { assert } from '../common/assert.js';
import { busyPoller } from './busy-poll.js';
import { PACKED_BYTES_MAX, PackedWrites } from './packed-writes.js';
import { PollRecord } from './poll-policy.js';

/** Receives a {@link DataSocket}'s events. */
export interface DataSocketHandler {
  /** `buffer[0 .. length)` has arrived; borrowed until the call returns. */
  onBytes(buffer: Buffer, length: number): void;
  /** The outgoing connection is up. */
  onConnect?(): void;
  /** All queued bytes have left. Called after {@link DataSocket.queuedBytes} was above zero at the end of a batch. */
  onDrain?(): void;
  /** The peer has sent its last byte; it may still read. Without this method, the socket ends as well. */
  onEnd?(): void;
  /** Called once, as the last event. `error` is null for an orderly end by either side. */
  onClose(error: Error | null): void;
}

/** Something that waits until its bytes have left, such as the reply in a buffer slot, or a work request. */
export interface Flushable {
  /** The operating system has the bytes, or the socket is gone: the socket does not read the buffer any more. */
  flushed(): void;
}

/** One read buffer is enough, as bytes are parsed before the next read (measured: 256 KiB is the best size). */
const RECEIVE_BUFFER_BYTES = 256 * 1024;

const BATCHES_KEPT_MAX = 8;

/**
 * The silence after which the kernel probes a peer. It is a default: sessions send pings sooner, and an NBD server sets a
 * value of its own. libuv sends ten probes, a second apart, so a peer that is gone is noticed after 70 s.
 */
const KEEP_ALIVE_IDLE_MS = 60_000;

/** The writes that leave in one writev. */
class Batch {
  /** Called when the batch has left. */
  readonly owners: Flushable[] = [];
  /** The memory of the batch's packed writes. */
  area: Buffer | null = null;
}

/** The handle of a connected Socket. Without the Socket, it can be passed to another process, or be adopted. */
export interface SocketHandle {
  readonly reading?: boolean;
  /** Closes the handle in this process. The connection stays open in a process that has it as well. */
  close(): void;
}

/** The fields of node:net's Socket that `onread` on accepted sockets needs, and that Node's types do not have. */
interface SocketWithHandle {
  _handle: (SocketHandle & { readonly fd?: number }) | null;
}

/**
 * A TCP or Unix stream socket for high throughput:
 *
 * - The socket reads into one reusable buffer (`onread`). Node offers that to outgoing sockets only, so an accepted
 *   socket is rebuilt around its handle. Where a Node version does not allow that, 'data' events do the same more slowly.
 * - All writes of one turn of the event loop leave in one writev (auto-cork). Short writes that follow each other leave
 *   as one buffer.
 * - The {@link Flushable} of a write is called when its bytes have really left, never before. A caller that reused the
 *   buffer after `write()` returned would corrupt data whenever the kernel's buffer is full. The same holds for a TLS
 *   stream: it calls back when the last encrypted byte has left, long after it took the plain bytes.
 */
export class DataSocket {
  #socket: Socket;
  /** The socket itself; `#socket` may be a TLS stream on top of it. */
  readonly #plain: Socket;
  #handler: DataSocketHandler;
  /** The last write of this batch, which is not handed to Node yet: the last write carries the batch's callback. */
  #held: Uint8Array | null = null;
  #batch = new Batch();
  readonly #batchesInFlight: Batch[] = [];
  readonly #freeBatches: Batch[] = [];
  readonly #packed = new PackedWrites();
  #remoteName: string | null = null;
  readonly #pollRecord = new PollRecord();
  #flushScheduled = false;
  #wantsDrain = false;
  /** Between {@link upgrade} and the first use of the stream on top. */
  #isUpgrading = false;
  #ended = false;
  #closed = false;
  #error: Error | null = null;
  readonly #flush = (): void => this.#flushBatch();
  readonly #left = (): void => this.#batchLeft();
  readonly #receivedByEvent = (bytes: Buffer): void => this.#received(bytes, bytes.length);

  private constructor(socket: Socket, handler: DataSocketHandler, receivesByEvent: boolean) {
    this.#socket = this.#plain = socket;
    this.#handler = handler;
    socket.setNoDelay(true);
    socket.setKeepAlive(true, KEEP_ALIVE_IDLE_MS);
    if (receivesByEvent) socket.on('data', this.#receivedByEvent);
    this.#listen(socket);
  }

  /** Opens a connection. `onConnect` reports success, `onClose` failure. */
  static connect(address: NetConnectOpts, handler: DataSocketHandler): DataSocket {
    const socket = new Socket({
      allowHalfOpen: true,
      ...onreadOption((buffer, length) => self.#received(buffer, length)),
    });
    const self: DataSocket = new DataSocket(socket, handler, false);
    socket.once('connect', () => self.#handler.onConnect?.());
    socket.connect(address);
    return self;
  }

  /**
   * Takes over a socket that a server with `pauseOnConnect` and `allowHalfOpen` accepted, here or (as a handle) in
   * another process, and starts to read.
   */
  static adopt(accepted: Socket | SocketHandle, handler: DataSocketHandler): DataSocket {
    if (!(accepted instanceof Socket)) return DataSocket.#adoptHandle(accepted, handler);
    const handle = detachHandle(accepted);
    if (handle !== null) return DataSocket.#adoptHandle(handle, handler);
    const self = new DataSocket(accepted, handler, true);
    accepted.resume();
    return self;
  }

  static #adoptHandle(handle: SocketHandle, handler: DataSocketHandler): DataSocket {
    const options = {
      handle,
      allowHalfOpen: true,
      ...onreadOption((buffer, length) => self.#received(buffer, length)),
    };
    const socket = new Socket(options);
    const self: DataSocket = new DataSocket(socket, handler, false);
    socket.resume();
    return self;
  }

  /** Replaces the handler, when another owner takes over the connection for its next phase. */
  set handler(handler: DataSocketHandler) {
    this.#handler = handler;
  }

  /** `host:port` of the peer; `unix` for a Unix socket, or when it was never asked for before the socket closed. */
  get remoteName(): string {
    const { remoteAddress, remotePort } = this.#socket;
    if (remoteAddress === undefined) return this.#remoteName ?? 'unix';
    this.#remoteName = formatAddress({ host: remoteAddress, port: remotePort ?? 0 });
    return this.#remoteName;
  }

  /** The inode of an open socket, which identifies it in the kernel's tables; null when it is not known. */
  get inode(): number | null {
    const fd = (this.#plain as unknown as SocketWithHandle)._handle?.fd ?? -1;
    try {
      const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`));
      return match === null ? null : Number(match[1]);
    } catch {
      return null;
    }
  }

  /** Sets the silence after which the kernel probes a TCP peer. Whole seconds, in milliseconds. */
  keepAlive(idleMs: number): void {
    this.#plain.setKeepAlive(true, idleMs);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** The socket is of no use any more. `onClose` follows, or was called. */
  get isDestroyed(): boolean {
    return this.#socket.destroyed;
  }

  /** Bytes that were written here and have not left yet. */
  get queuedBytes(): number {
    return this.#socket.writableLength + (this.#held?.length ?? 0) + this.#packed.runBytes;
  }

  /**
   * Queues `bytes`. All queued bytes leave at the end of this turn. The bytes must not change until `owner` is told that
   * they have left. Without an owner, they must never change.
   */
  write(bytes: Uint8Array, owner: Flushable | null = null): void {
    if (this.#closed || this.#ended) {
      if (owner !== null) atTurnEnd(() => owner.flushed());
      return;
    }
    assert(!this.#isUpgrading, 'a write during the change to TLS');
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      this.#socket.cork();
      atTurnEnd(this.#flush);
    }
    if (owner !== null) this.#batch.owners.push(owner);
    if (bytes.length > PACKED_BYTES_MAX || !this.#pack(bytes)) this.#hold(bytes);
  }

  /** Stops reading, so that TCP holds the peer back. */
  pause(): void {
    if (!this.#closed && !this.#isUpgrading) this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed && !this.#isUpgrading) this.#socket.resume();
  }

  /**
   * Puts a TLS stream on top of this socket. All bytes from now on go through it. Reading stops at once; bytes that have
   * already arrived belong to the handler. When the queued bytes have left, `wrap` gets the plain socket. `wrap` calls
   * `secured` when the stream is ready, or destroys the socket when TLS fails. Until then, nothing may be written.
   */
  upgrade(wrap: (plain: Socket, secured: (stream: Socket) => void) => void): void {
    const plain = this.#socket;
    this.#flushBatch();
    plain.pause();
    this.#isUpgrading = true;
    const start = (): void => {
      if (this.#closed || plain.destroyed) return;
      plain.off('data', this.#receivedByEvent);
      wrap(plain, (stream) => {
        this.#goOnWith(stream);
      });
    };
    const last = this.#batchesInFlight.at(-1);
    if (last === undefined) atTurnEnd(start);
    else last.owners.push({ flushed: start });
  }

  /** Sends the queued bytes, then closes both directions. */
  end(): void {
    if (this.#ended || this.#closed) return;
    this.#flushBatch();
    this.#ended = true;
    this.#socket.end(() => this.#socket.destroy());
  }

  /**
   * Sends the queued bytes, then closes the sending direction. The socket goes on receiving, and closes by itself when
   * the peer has ended too. Closing it with unread bytes would reset the connection, and the peer could lose our last
   * bytes.
   */
  endWriting(): void {
    if (this.#ended || this.#closed) return;
    this.#flushBatch();
    this.#ended = true;
    this.#socket.end();
  }

  /** Closes at once; queued bytes are lost. */
  destroy(error: Error | null = null): void {
    this.#error ??= error;
    this.#socket.destroy();
  }

  #goOnWith(stream: Socket): void {
    if (this.#closed) {
      stream.destroy();
      return;
    }
    this.#isUpgrading = false;
    this.#socket = stream;
    this.#listen(stream);
    // The stream decrypts into buffers of its own, so one reusable buffer is not possible.
    stream.on('data', this.#receivedByEvent);
  }

  #listen(socket: Socket): void {
    socket.on('error', (error) => {
      this.#error ??= error;
    });
    socket.on('end', () => {
      if (this.#handler.onEnd === undefined) this.end();
      else this.#handler.onEnd();
    });
    socket.on('close', () => this.#closedDown());
  }

  #received(buffer: Buffer, length: number): void {
    if (this.#closed || this.#socket.destroyed) return;
    busyPoller.arrived(this.#pollRecord, length);
    this.#handler.onBytes(buffer, length);
  }

  /** Packs a short write behind short ones. A short write without such a neighbour is not copied. */
  #pack(bytes: Uint8Array): boolean {
    if (this.#packed.runBytes > 0) return this.#packed.append(bytes);
    const held = this.#held;
    if (held === null || held.length === 0 || held.length > PACKED_BYTES_MAX) return false;
    if (!this.#packed.begin(held, bytes)) return false;
    this.#held = null;
    return true;
  }

  #hold(bytes: Uint8Array): void {
    const before = this.#held ?? this.#packed.take();
    if (before !== null) this.#socket.write(before);
    this.#held = bytes;
  }

  #flushBatch(): void {
    if (!this.#flushScheduled) return;
    this.#flushScheduled = false;
    const last = this.#held ?? this.#packed.take();
    this.#held = null;
    if (last === null || this.#closed) return;
    const batch = this.#batch;
    const socket = this.#socket;
    batch.area = this.#packed.detach();
    this.#batchesInFlight.push(batch);
    this.#batch = this.#freeBatches.pop() ?? new Batch();
    socket.write(last, this.#left);
    socket.uncork();
    if (socket.writableLength > 0) this.#wantsDrain = true;
  }

  #batchLeft(): void {
    const batch = this.#batchesInFlight.shift();
    if (batch === undefined) return;
    const { owners, area } = batch;
    batch.area = null;
    if (area !== null) this.#packed.giveBack(area);
    for (const owner of owners) owner.flushed();
    owners.length = 0;
    if (this.#freeBatches.length < BATCHES_KEPT_MAX) this.#freeBatches.push(batch);
    if (this.#wantsDrain && this.queuedBytes === 0 && !this.#closed) {
      this.#wantsDrain = false;
      this.#handler.onDrain?.();
    }
  }

  #closedDown(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#held = null;
    this.#packed.detach();
    const left = [...this.#batchesInFlight.splice(0), this.#batch];
    this.#batch = new Batch();
    for (const { owners } of left) for (const owner of owners) owner.flushed();
    this.#handler.onClose(this.#error);
  }
}

function onreadOption(received: (buffer: Buffer, length: number) => void): object {
  const buffer = Buffer.allocUnsafeSlow(RECEIVE_BUFFER_BYTES);
  return {
    onread: {
      buffer,
      callback(length: number): boolean {
        received(buffer, length);
        return true;
      },
    },
  };
}

/**
 * Takes the handle out of a socket that a server with `pauseOnConnect` accepted. The handle is the caller's then; nothing
 * has been read from it. Null, with the socket unchanged, when this version of Node builds its sockets differently.
 */
export function detachHandle(accepted: Socket): SocketHandle | null {
  const handle = takeHandle(accepted);
  // The rest of the accepted socket must go too: the listening server counts it until then.
  if (handle !== null) accepted.destroy();
  return handle;
}

function takeHandle(accepted: Socket): SocketHandle | null {
  const inner = accepted as unknown as SocketWithHandle;
  const handle = inner._handle;
  if (handle === null || typeof handle !== 'object' || accepted.readableFlowing === true)
    return null;
  if (handle.reading === true) return null;
  inner._handle = null;
  return handle;
}
