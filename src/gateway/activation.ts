import { readFileSync, readlinkSync } from 'node:fs';
import { ConfigError } from '../common/errors.js';
import type { InheritedSocket } from '../nbd/socket.js';

/** Where systemd's descriptors begin (sd_listen_fds(3)). */
const FIRST_FD = 3;
const FDS_MAX = 64;
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES'];

/** What is asked of the system. */
export interface ActivationSource {
  readonly pid: number;
  /** The variables are taken out of it, for they are of no use to anybody that this process starts. */
  readonly environment: NodeJS.ProcessEnv;
  /** What an open descriptor is, as /proc has it: `socket:[12345]`. Throws when it is not open. */
  linkOf(fd: number): string;
  /** The table of Unix sockets, as /proc/net/unix has it. */
  unixSockets(): string;
}

const SYSTEM: ActivationSource = {
  pid: process.pid,
  environment: process.env,
  linkOf: (fd) => readlinkSync(`/proc/self/fd/${fd}`),
  unixSockets: () => readFileSync('/proc/net/unix', 'utf8'),
};

/**
 * The listening sockets that systemd, or whoever does as it does, has handed to this process: socket activation as
 * qemu-nbd and nbdkit have it. Empty when the variables are not there, or meant for another process.
 * @throws ConfigError when they are there and say nothing that can be.
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
      `LISTEN_FDS is ${JSON.stringify(LISTEN_FDS)}; it should count 0 to ${FDS_MAX} sockets`,
    );
  }
  const names = LISTEN_FDNAMES.split(':');
  return Array.from({ length: count }, (_, index) => {
    const fd = FIRST_FD + index;
    return { fd, path: pathOf(fd, source) ?? `${names[index] ?? ''}#${fd}` };
  });
}

/** The path of a Unix socket; null when it has none, or is something else. */
function pathOf(fd: number, source: ActivationSource): string | null {
  const inode = /^socket:\[(\d+)\]$/.exec(linkOf(fd, source))?.[1];
  if (inode === undefined) {
    throw new ConfigError('activation', `LISTEN_FDS names descriptor ${fd}, which is no socket`, {
      fd,
    });
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
