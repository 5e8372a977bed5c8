import { readFileSync } from 'node:fs';
import { UsageError } from '../common/errors.js';
import type { SocketOwner, UnixSocketAddress } from '../nbd/socket.js';

/** A Unix socket in options and configuration. */
export interface UnixSocketOptions {
  readonly path: string;
  /** Permission bits in octal, `0660`. */
  readonly mode?: string | undefined;
  /** `USER`, `USER:GROUP` or `:GROUP`, each a name or a number. */
  readonly owner?: string | undefined;
}

/** The files in which names are looked up. There is no other look-up: a user of a directory service needs a number. */
export interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

const ACCOUNT_FILES: AccountFiles = { passwd: '/etc/passwd', group: '/etc/group' };
/** Leaves the id as it is (chown(2)). */
const UNCHANGED = -1;
const ID_MAX = 0xffff_fffe;

/** @throws UsageError for a wrong mode, or an owner that does not exist */
export function unixSocketAddress(
  { path, mode, owner }: UnixSocketOptions,
  files: AccountFiles = ACCOUNT_FILES,
): UnixSocketAddress {
  return {
    path,
    mode: mode === undefined ? null : parseMode(mode),
    owner: owner === undefined ? null : parseOwner(owner, files),
  };
}

function parseMode(text: string): number {
  if (!/^0?[0-7]{3}$/.test(text)) {
    throw new UsageError(
      'unix-mode',
      `${JSON.stringify(text)} is not the mode of a socket; write it in octal, as in 0660`,
    );
  }
  return parseInt(text, 8);
}

function parseOwner(text: string, files: AccountFiles): SocketOwner {
  const [user = '', group = '', ...rest] = text.split(':');
  if (rest.length > 0 || user + group === '') {
    throw new UsageError(
      'unix-owner',
      `${JSON.stringify(text)} is not an owner; write USER, USER:GROUP or :GROUP`,
    );
  }
  return {
    uid: user === '' ? UNCHANGED : idOf('user', user, files.passwd),
    gid: group === '' ? UNCHANGED : idOf('group', group, files.group),
  };
}

/** Looks up an id. In both files, the first column is the name and the third is the id. */
function idOf(what: string, name: string, path: string): number {
  if (/^\d+$/.test(name) && Number(name) <= ID_MAX) return Number(name);
  for (const line of linesOf(path)) {
    const [found, , id] = line.split(':');
    if (found === name && id !== undefined && /^\d+$/.test(id)) return Number(id);
  }
  throw new UsageError('unix-owner', `there is no ${what} ${name} in ${path}; give its number`);
}

/** None where the file is not there: a container need not have one. */
function linesOf(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').split('\n');
  } catch {
    return [];
  }
}
