import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Server, Socket } from 'node:net';

/** The other end of a TCP connection, driven byte by byte by a test. */
export class RawPeer {
  readonly socket: Socket;
  hasEnded = false;
  #received = Buffer.alloc(0);
  #changed: () => void = () => undefined;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (bytes) => {
      this.#received = Buffer.concat([this.#received, bytes]);
      this.#changed();
    });
    const ended = (): void => {
      this.hasEnded = true;
      this.#changed();
    };
    socket.on('end', ended);
    socket.on('close', ended);
    socket.on('error', ended);
  }

  static async connect(port: number, localAddress = '127.0.0.1'): Promise<RawPeer> {
    const socket = connect({ host: '127.0.0.1', port, localAddress });
    socket.setNoDelay(true);
    const peer = new RawPeer(socket);
    await once(socket, 'connect');
    return peer;
  }

  get received(): Buffer {
    return this.#received;
  }

  write(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  /** Waits for `length` bytes and takes them. */
  async read(length: number): Promise<Buffer> {
    await this.#until(() => this.#received.length >= length || this.hasEnded);
    if (this.#received.length < length) {
      throw new Error(`the peer ended after ${this.#received.length} of ${length} bytes`);
    }
    const taken = this.#received.subarray(0, length);
    this.#received = this.#received.subarray(length);
    return taken;
  }

  /** Waits for the end, and takes everything that came before it. */
  async readToEnd(): Promise<Buffer> {
    await this.#until(() => this.hasEnded);
    const taken = this.#received;
    this.#received = Buffer.alloc(0);
    return taken;
  }

  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => (this.#changed = resolve));
  }
}

/** A TCP server whose connections the test drives. */
export class RawServer {
  readonly #server: Server;
  readonly #peers: RawPeer[] = [];
  #waiting: ((peer: RawPeer) => void)[] = [];
  #unclaimed: RawPeer[] = [];

  private constructor(server: Server) {
    this.#server = server;
    server.on('connection', (socket) => {
      const peer = new RawPeer(socket);
      this.#peers.push(peer);
      const waiting = this.#waiting.shift();
      if (waiting === undefined) this.#unclaimed.push(peer);
      else waiting(peer);
    });
  }

  static async open(): Promise<RawServer> {
    const server = createServer();
    const raw = new RawServer(server);
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return raw;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  accepted(): Promise<RawPeer> {
    const peer = this.#unclaimed.shift();
    if (peer !== undefined) return Promise.resolve(peer);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  close(): void {
    this.#server.close();
    for (const peer of this.#peers) peer.socket.destroy();
  }
}
