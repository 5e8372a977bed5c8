import { readFileSync, readlinkSync } from 'node:fs';
import { ConfigError } from '../common/errors.js';
import type { InheritedSocket } from '../nbd/socket.js';

/** The first descriptor that systemd passes (sd_listen_fds(3)). */
const FIRST_FD = 3;
const FDS_MAX = 64;
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

/** The parts of the system that are read here. */
export interface ActivationSource {
  readonly pid: number;
  /** The variables are deleted from it: they have no meaning for processes that this one starts. */
  readonly environment: NodeJS.ProcessEnv;
  /** The link of an open descriptor in /proc, such as `socket:[12345]`. Throws when the descriptor is not open. */
  linkOf(fd: number): string;
  /** The table of Unix sockets, /proc/net/unix. */
  unixSockets(): string;
}

const SYSTEM: ActivationSource = {
  pid: process.pid,
  environment: process.env,
  linkOf: (fd) => readlinkSync(`/proc/self/fd/${fd}`),
  unixSockets: () => readFileSync('/proc/net/unix', 'utf8'),
};

/**
 * The listening sockets that systemd, or a program like it, has passed to this process: socket activation, as qemu-nbd
 * and nbdkit have it. Empty when the variables are not set, or are for another process.
 *
 * @throws ConfigError when the variables are wrong
 */
export function inheritedSockets(source: ActivationSource = SYSTEM): readonly InheritedSocket[] {
  const { LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = '' } = source.environment;
  if (LISTEN_PID === undefined || LISTEN_FDS === undefined) return [];
  if (Number(LISTEN_PID) !== source.pid) return [];
  for (const name of VARIABLES) Reflect.deleteProperty(source.environment, name);
  const count = /^\d+$/.test(LISTEN_FDS) ? Number(LISTEN_FDS) : NaN;
  if (!(count <= FDS_MAX)) {
    throw new ConfigError(
      'activation',
      `LISTEN_FDS is ${JSON.stringify(LISTEN_FDS)}; expected a number of sockets from 0 to ${FDS_MAX}`,
    );
  }
  const names = LISTEN_FDNAMES.split(':');
  return Array.from({ length: count }, (_, index) => {
    const fd = FIRST_FD + index;
    return { fd, path: pathOf(fd, source) ?? `${names[index] ?? ''}#${fd}` };
  });
}

/** The path of a Unix socket; null for a socket without a path, or of another kind. */
function pathOf(fd: number, source: ActivationSource): string | null {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(fd, source))?.[1];
  if (inode === undefined) {
    const message = `LISTEN_FDS includes descriptor ${fd}, which is not a socket`;
    throw new ConfigError('activation', message, { fd });
  }
  for (const line of source.unixSockets().split('\n')) {
    const match = /^(?:\S+\s+){6}(\d+)\s+(.+)$/.exec(line);
    if (match?.[1] === inode) return match[2] ?? null;
  }
  return null;
}

function linkOf(fd: number, source: ActivationSource): string {
  try {
    return source.linkOf(fd);
  } catch {
    return '';
  }
}
