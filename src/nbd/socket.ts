import { chown, lstat, stat, unlink } from 'node:fs/promises';
import { Socket, connect, createServer } from 'node:net';
import type { Server } from 'node:net';
import { dirname } from 'node:path';
import type { HostAndPort } from '../common/address.js';
import type { SocketHandle } from '../socket/data-socket.js';
import { ConfigError, messageOf } from '../common/errors.js';
import { codeOf, listenFailure } from '../common/listen-failure.js';
import { openPlaces, planListening } from '../common/listen-plan.js';
import type { ListenPlace } from '../common/listen-plan.js';

/** An address of the server: a TCP address, where port 0 means any free port, or the path of a Unix socket. */
export type NbdAddress =
  { readonly host: string; readonly port: number } | { readonly path: string };

/** A Unix socket to make. The permission bits and the owner of its file decide who may connect. */
export interface UnixSocketAddress {
  readonly path: string;
  /** Permission bits; null for those that the umask leaves. */
  readonly mode?: number | null;
  readonly owner?: SocketOwner | null;
}

/** Numeric ids; -1 leaves an id unchanged. */
export interface SocketOwner {
  readonly uid: number;
  readonly gid: number;
}

/** A listening socket that another program has opened and passed to this process (socket activation). */
export interface InheritedSocket {
  readonly fd: number;
  /** The name of a socket that is not a TCP socket. */
  readonly path: string;
}

export type ListenAddress = HostAndPort | UnixSocketAddress | InheritedSocket;

/** A client that has connected. `address` is its IP address, null for a Unix socket. */
export interface AcceptedSocket {
  readonly socket: Socket;
  readonly address: string | null;
}

/** A client, accepted by this process or (as a handle) by another one. */
export interface Client {
  readonly socket: Socket | SocketHandle;
  readonly address: string | null;
}

/** Closes the connection of a client that has not been served. */
export function closeClient({ socket }: Client): void {
  if (socket instanceof Socket) socket.destroy();
  else socket.close();
}

/** Linux's `sun_path` without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** An open listening socket. */
export interface NbdListener {
  /** The address as it was bound, with the real port. */
  readonly address: NbdAddress;
  /** Accepts no more, and removes a Unix socket's file. */
  close(): Promise<void>;
}

export interface ListenerHandler {
  /** A client has connected. Nothing has been read from it; {@link DataSocket.adopt} takes it. */
  onAccept(accepted: AcceptedSocket): void;
  /** Accepting failed; the listener goes on. */
  onError(error: Error): void;
}

/**
 * Listens on all addresses, or on none: inherited sockets first, then TCP addresses (see {@link planListening}), then
 * Unix sockets.
 *
 * @throws ConfigError when the server cannot listen on one of them
 */
export async function openListeners(
  addresses: readonly ListenAddress[],
  handler: ListenerHandler,
): Promise<readonly NbdListener[]> {
  const listeners: NbdListener[] = [];
  const openAll = async (some: readonly (UnixSocketAddress | InheritedSocket)[]): Promise<void> => {
    for (const address of some) listeners.push(await openListener(address, handler));
  };
  try {
    await openAll(addresses.filter((address) => 'fd' in address));
    const tcp = await openPlaces(
      await planListening(addresses.filter((address) => 'host' in address)),
      (place) => openTcp(place, handler),
      ({ listener }) => listener.close(),
    );
    listeners.push(...tcp.map(({ listener }) => listener));
    await openAll(addresses.filter(isUnix));
    return listeners;
  } catch (error) {
    for (const listener of listeners) await listener.close();
    throw error;
  }
}

async function openTcp(
  place: ListenPlace,
  handler: ListenerHandler,
): Promise<{ readonly port: number; readonly listener: NbdListener }> {
  const listener = await openListener(place, handler);
  const { address } = listener;
  return { port: 'port' in address ? address.port : place.port, listener };
}

/**
 * Listens on one address. The file of a Unix socket that no program serves any more is replaced.
 *
 * @throws ConfigError when the server cannot listen on the address
 */
async function openListener(
  address: ListenPlace | UnixSocketAddress | InheritedSocket,
  handler: ListenerHandler,
): Promise<NbdListener> {
  if (isUnix(address)) await checkPath(address.path);
  let server = newServer();
  try {
    await listening(server, address);
  } catch (error) {
    if (!isUnix(address) || codeOf(error) !== 'EADDRINUSE') throw asConfigError(error, address);
    await removeStale(address.path);
    server = newServer();
    try {
      await listening(server, address);
    } catch (again) {
      throw asConfigError(again, address);
    }
  }
  const bound = boundAddress(server, address);
  serve(server, 'path' in bound, handler);
  if (isUnix(address)) await giveAway(address, server);
  return { address: bound, close: () => closed(server) };
}

function isUnix(address: ListenAddress): address is UnixSocketAddress {
  return 'path' in address && !('fd' in address);
}

function newServer(): Server {
  return createServer({ pauseOnConnect: true, allowHalfOpen: true });
}

function serve(server: Server, isLocal: boolean, handler: ListenerHandler): void {
  server.on('connection', (socket) => {
    // A TCP client that is already gone has no address any more. It must not be taken for a local client.
    handler.onAccept({ socket, address: isLocal ? null : (socket.remoteAddress ?? '') });
  });
  server.on('error', (error) => handler.onError(error));
}

function listening(
  server: Server,
  address: ListenPlace | UnixSocketAddress | InheritedSocket,
): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const done = (): void => {
      server.off('error', reject);
      resolve();
    };
    if ('fd' in address) server.listen({ fd: address.fd }, done);
    else if ('host' in address) {
      const { host, port, ipv6Only = false } = address;
      server.listen({ host, port, ipv6Only }, done);
    } else listenOnPath(server, address, done);
  });
}

/** Makes the file with its permission bits. If they were set afterwards, anybody could connect in between. */
function listenOnPath(
  server: Server,
  { path, mode = null }: UnixSocketAddress,
  done: () => void,
): void {
  if (mode === null) {
    server.listen({ path }, done);
    return;
  }
  const usual = process.umask(0o777 & ~mode);
  try {
    // Binding happens inside the call.
    server.listen({ path }, done);
  } finally {
    process.umask(usual);
  }
}

/** Changes the owner of the socket's file. */
async function giveAway({ path, owner = null }: UnixSocketAddress, server: Server): Promise<void> {
  if (owner === null) return;
  try {
    await chown(path, owner.uid, owner.gid);
  } catch (error) {
    await closed(server);
    const why = codeOf(error) === 'EPERM' ? 'only root may do that' : messageOf(error);
    throw new ConfigError(
      'listen-owner',
      `cannot give ${path} to user ${owner.uid} and group ${owner.gid}: ${why}`,
      { path, ...owner },
      error,
    );
  }
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function boundAddress(server: Server, asked: ListenAddress): NbdAddress {
  const bound = server.address();
  const isTcp = bound !== null && typeof bound === 'object';
  if ('fd' in asked)
    return isTcp ? { host: bound.address, port: bound.port } : { path: asked.path };
  if ('path' in asked) return { path: asked.path };
  return { host: asked.host, port: isTcp ? bound.port : asked.port };
}

/** Removes the file of a socket that refuses connections. A killed server leaves such a file behind. */
async function removeStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => null);
  if (stats === null) return;
  if (!stats.isSocket()) {
    throw new ConfigError(
      'listen-path',
      `${path} exists and is not a socket; choose another path`,
      {
        path,
      },
    );
  }
  if (await answers(path)) {
    throw new ConfigError(
      'listen-in-use',
      `another program serves on ${path}; stop it, or choose another path`,
      { path },
    );
  }
  await unlink(path).catch(() => undefined);
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    // Any other error (a full queue, missing rights) means that a program serves the socket.
    probe.once('error', (error) => resolve(codeOf(error) !== 'ECONNREFUSED'));
  });
}

/**
 * Checks the path of a Unix socket. A path that is too long would be cut silently, and make another file. A missing
 * directory is found here because Node reports it as one without write permission.
 */
async function checkPath(path: string): Promise<void> {
  const refuse = (why: string): never => {
    throw new ConfigError('listen-path', `cannot listen on ${path}: ${why}`, { path });
  };
  const bytes = Buffer.byteLength(path);
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    refuse(`the path has ${bytes} bytes; a socket's path has at most ${SOCKET_PATH_BYTES_MAX}`);
  }
  const directory = dirname(path);
  try {
    if ((await stat(directory)).isDirectory()) return;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') refuse(`the directory ${directory} does not exist; make it`);
    if (codeOf(error) !== 'ENOTDIR') return;
  }
  refuse(`${directory} is not a directory`);
}

function asConfigError(error: unknown, address: ListenAddress): ConfigError {
  const code = codeOf(error);
  const kind = code === 'EADDRINUSE' ? 'listen-in-use' : 'listen';
  if ('host' in address) {
    const { host, port } = address;
    return new ConfigError(kind, listenFailure(address, error), { host, port }, error);
  }
  const { path } = address;
  const why =
    code === 'EADDRINUSE'
      ? `another program listens on ${path}; stop it, or choose another path`
      : `cannot listen on ${path}: ${PATH_REASONS[code] ?? messageOf(error)}`;
  return new ConfigError(kind, why, { path }, error);
}

const PATH_REASONS: Readonly<Partial<Record<string, string>>> = {
  EACCES: 'this user may not write to the directory',
  EPERM: 'this user may not write to the directory',
  EROFS: 'the directory is on a read-only file system',
};
