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
  /** What was queued has left, after {@link DataSocket.queuedBytes} had been above zero at the end of a batch. */
  onDrain?(): void;
  /** The peer has sent its last byte; it may still read. Without this method, the socket ends as well. */
  onEnd?(): void;
  /** Called once, and nothing after it. `error` is null for an orderly end by either side. */
  onClose(error: Error | null): void;
}

/** Something that waits for its bytes to have left, such as a buffer slot's reply or a work request. */
export interface Flushable {
  /** The bytes are with the operating system, or the socket is gone: nobody reads the buffer any more. */
  flushed(): void;
}

/** One read buffer is enough: bytes are parsed before the next read (measured: 256 KiB is the best size). */
const RECEIVE_BUFFER_BYTES = 256 * 1024;

const BATCHES_KEPT_MAX = 8;

/**
 * The silence after which the kernel asks a peer for a sign of life, where nothing sooner does: sessions ping, and
 * whoever serves clients sets its own. With libuv's ten probes a second apart, a peer that is gone is noticed in 70 s.
 */
const KEEP_ALIVE_IDLE_MS = 60_000;

/** What leaves in one writev. */
class Batch {
  /** They are told when it has left. */
  readonly owners: Flushable[] = [];
  /** The memory of its packed writes. */
  area: Buffer | null = null;
}

/** What is behind a connected Socket. Without the Socket, it can be passed to another process, or be adopted. */
export interface SocketHandle {
  readonly reading?: boolean;
  /** Lets go of it here; a connection that another process has as well stays open. */
  close(): void;
}

/** The fields of node:net's Socket that the server side of onread needs, which its types do not show. */
interface SocketWithHandle {
  _handle: (SocketHandle & { readonly fd?: number }) | null;
}

/**
 * A TCP or Unix stream socket arranged for throughput:
 *
 * - it reads into one reusable buffer (`onread`). Node offers that to outgoing sockets only; an accepted one is
 *   rebuilt around its handle, and where a Node version does not let us, 'data' events do the same more slowly;
 * - what is written during one turn of the event loop leaves in one writev (auto-cork), short writes that follow each
 *   other as one buffer of it;
 * - a {@link Flushable} given with a write is told when its bytes have really left, never before: reusing the
 *   buffer after `write()` returned would corrupt data whenever the kernel's buffer is full. On a TLS stream, too:
 *   its write is called back when the last encrypted byte has left, long after it took the plain ones.
 */
export class DataSocket {
  #socket: Socket;
  /** What the stream on top of it, if there is one, is made of. */
  readonly #plain: Socket;
  #handler: DataSocketHandler;
  /** The write of this batch that was not yet handed down: the last one carries the batch's callback. */
  #held: Uint8Array | null = null;
  #batch = new Batch();
  readonly #batchesInFlight: Batch[] = [];
  readonly #freeBatches: Batch[] = [];
  readonly #packed = new PackedWrites();
  #remoteName: string | null = null;
  readonly #pollRecord = new PollRecord();
  #flushScheduled = false;
  #wantsDrain = false;
  /** Between the plain stream and the one on top of it. */
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

  /** Opens a connection; `onConnect` or `onClose` tells how it went. */
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

  /** Replaces the handler, for a connection that passes from one phase's owner to the next. */
  set handler(handler: DataSocketHandler) {
    this.#handler = handler;
  }

  /** `host:port` of the peer as it was when first asked for, `unix` for a Unix socket. */
  get remoteName(): string {
    const { remoteAddress, remotePort } = this.#socket;
    if (remoteAddress === undefined) return this.#remoteName ?? 'unix';
    this.#remoteName = formatAddress({ host: remoteAddress, port: remotePort ?? 0 });
    return this.#remoteName;
  }

  /** The inode of an open socket, by which the kernel's tables have it; null where that is not to be had. */
  get inode(): number | null {
    const fd = (this.#plain as unknown as SocketWithHandle)._handle?.fd ?? -1;
    try {
      const match = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`));
      return match === null ? null : Number(match[1]);
    } catch {
      return null;
    }
  }

  /** After so much silence from now on, the kernel asks a TCP peer for a sign of life. Whole seconds. */
  keepAlive(idleMs: number): void {
    this.#plain.setKeepAlive(true, idleMs);
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Bytes that were written and have not left yet. */
  get queuedBytes(): number {
    return this.#socket.writableLength + (this.#held?.length ?? 0) + this.#packed.runBytes;
  }

  /**
   * Queues `bytes` behind what was written before; everything queued leaves at the end of this turn. The bytes
   * must not change until `owner` is told that they have left (or for ever, without an owner).
   */
  write(bytes: Uint8Array, owner: Flushable | null = null): void {
    if (this.#closed || this.#ended) {
      if (owner !== null) atTurnEnd(() => owner.flushed());
      return;
    }
    assert(!this.#isUpgrading, 'written in plain text what was meant to be encrypted');
    if (!this.#flushScheduled) {
      this.#flushScheduled = true;
      this.#socket.cork();
      atTurnEnd(this.#flush);
    }
    if (owner !== null) this.#batch.owners.push(owner);
    if (bytes.length > PACKED_BYTES_MAX || !this.#pack(bytes)) this.#hold(bytes);
  }

  /** Stops reading; the peer is held back by TCP. */
  pause(): void {
    if (!this.#closed && !this.#isUpgrading) this.#socket.pause();
  }

  resume(): void {
    if (!this.#closed && !this.#isUpgrading) this.#socket.resume();
  }

  /**
   * Puts a stream on top of this one, TLS: everything from now on goes through it. Reading stops at once; bytes that
   * arrived already are the handler's. When what was written has left, `wrap` gets the plain socket, and calls
   * `secured` when the stream is ready; if it never will be, it destroys the socket. Nothing may be written between.
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

  /** Sends what is queued, then closes in both directions. */
  end(): void {
    if (this.#ended || this.#closed) return;
    this.#flushBatch();
    this.#ended = true;
    this.#socket.end(() => this.#socket.destroy());
  }

  /**
   * Sends what is queued, then says that no more will follow. The socket goes on receiving, and closes by itself
   * once the peer has ended too: closing with unread bytes would reset the connection under the peer's nose.
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
    // The stream decrypts into buffers of its own, so that one buffer for all is not to be had.
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

  /** Puts short bytes behind short ones. What is short and alone stays where it is. */
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
 * Separates a socket that a server with `pauseOnConnect` accepted from its handle, which is the caller's then. Nothing
 * was read from it yet. Null where this Node's sockets are not built that way; the socket is as it was then.
 */
export function detachHandle(accepted: Socket): SocketHandle | null {
  const handle = takeHandle(accepted);
  // What is left of the accepted socket has to go too: the listening server counts it until then.
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
