import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer } from 'node:net';
import type { Server, Socket } from 'node:net';
import { ConfigError, messageOf } from '../common/errors.js';

/** Where NBD is served: a TCP address, whose port 0 means any free one, or the path of a Unix socket. */
export type NbdAddress =
  { readonly host: string; readonly port: number } | { readonly path: string };

/** Linux's `sun_path` without its NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

/** An open listening socket. */
export interface Listener {
  /** As it was bound: with the real port. */
  readonly address: NbdAddress;
  /** Accepts no more, and removes a Unix socket's file. */
  close(): Promise<void>;
}

export interface ListenerHandler {
  /** A client, not read from yet; for {@link DataSocket.adopt}. */
  onAccept(socket: Socket): void;
  /** Accepting failed; the listener goes on. */
  onError(error: Error): void;
}

/**
 * Listens. A Unix socket's file that nobody serves any more is replaced.
 * @throws ConfigError when the address is taken or cannot be had.
 */
export async function openListener(
  address: NbdAddress,
  handler: ListenerHandler,
): Promise<Listener> {
  if ('path' in address) checkPath(address.path);
  let server = serverFor(handler);
  try {
    await listening(server, address);
  } catch (error) {
    if (!('path' in address) || codeOf(error) !== 'EADDRINUSE') throw asConfigError(error, address);
    await removeStale(address.path);
    server = serverFor(handler);
    try {
      await listening(server, address);
    } catch (again) {
      throw asConfigError(again, address);
    }
  }
  server.on('error', (error) => handler.onError(error));
  return { address: boundAddress(server, address), close: () => closed(server) };
}

function serverFor(handler: ListenerHandler): Server {
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true });
  server.on('connection', (socket) => handler.onAccept(socket));
  return server;
}

function listening(server: Server, address: NbdAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(address, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

function boundAddress(server: Server, asked: NbdAddress): NbdAddress {
  if ('path' in asked) return asked;
  const bound = server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : asked.port;
  return { host: asked.host, port };
}

/** Removes the file of a socket that refuses connections, which a killed server leaves behind. */
async function removeStale(path: string): Promise<void> {
  const stats = await lstat(path).catch(() => null);
  if (stats === null) return;
  if (!stats.isSocket()) {
    throw new ConfigError('listen-path', `${path} exists and is no socket; choose another path`, {
      path,
    });
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
    // Anything but a refusal (a full queue, missing rights) means that somebody is there.
    probe.once('error', (error) => resolve(codeOf(error) !== 'ECONNREFUSED'));
  });
}

/** A longer path would be cut short without a word, and another file made. */
function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes <= SOCKET_PATH_BYTES_MAX) return;
  throw new ConfigError(
    'listen-path',
    `cannot listen on ${path}: the path has ${bytes} bytes, and a socket's at most ${SOCKET_PATH_BYTES_MAX}`,
    { path },
  );
}

function asConfigError(error: unknown, address: NbdAddress): ConfigError {
  const where = 'path' in address ? address.path : `${address.host}:${address.port}`;
  const code = codeOf(error);
  if (code === 'EADDRINUSE') {
    return new ConfigError(
      'listen-in-use',
      `another program listens on ${where}; stop it, or choose another address`,
      { ...address },
      error,
    );
  }
  const reason = REASONS[code] ?? messageOf(error);
  return new ConfigError('listen', `cannot listen on ${where}: ${reason}`, { ...address }, error);
}

const REASONS: Readonly<Partial<Record<string, string>>> = {
  EACCES: 'this user may not; choose a port from 1024 up, or a directory that you can write to',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no host of that name',
  ENOENT: 'the directory does not exist',
  EINVAL: 'the address is not valid',
};

function codeOf(error: unknown): string {
  const code = error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
  return code ?? '';
}
