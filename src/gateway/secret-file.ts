import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { ConfigError, messageOf } from '../common/errors.js';
import { CHAP_SECRET_BYTES_MAX } from '../iscsi/limits.js';
import type { Logger } from '../observe/log.js';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** Enough to tell a secret that is too long: its limit, a line end, and one byte. */
const READ_BYTES_MAX = CHAP_SECRET_BYTES_MAX + 3;
/** The permission bit that lets everybody read. */
const OTHERS_MAY_READ = 0o004;

/**
 * The files that CHAP secrets are in. Each is read once, so that a pipe will do and a warning comes once. Its bytes are
 * taken as they are, without the line end that editors and `echo` put behind.
 */
export class SecretFiles {
  readonly #log: Logger;
  readonly #known = new Map<string, Uint8Array>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @throws ConfigError for a file that cannot be read, or that begins with a byte order mark */
  read(path: string, user: string | null): Uint8Array {
    const known = this.#known.get(path);
    if (known !== undefined) return known;
    const what = user === null ? 'the CHAP secret' : `the CHAP secret of ${user}`;
    const { bytes, stats } = contentsOf(path, what);
    if (bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)) {
      throw new ConfigError(
        'chap-secret',
        `${path} begins with a byte order mark, which would be part of ${what}; save it without one`,
      );
    }
    warnOfReaders(path, { what, stats, log: this.#log });
    const secret = withoutLineEnd(bytes);
    if (secret.at(-1) === NEWLINE) {
      this.#log.warn(
        `${path} has more than one line end at its end; ${what} is all but the last of them`,
      );
    }
    this.#known.set(path, secret);
    return secret;
  }
}

/** Warns when a file with a secret can be read by everybody. One that cannot be looked at is its reader's matter. */
export function warnOfReaders(
  path: string,
  {
    what,
    stats = statSync(path, { throwIfNoEntry: false }),
    log,
  }: { readonly what: string; readonly stats?: Stats | undefined; readonly log: Logger },
): void {
  // The permissions of a pipe or a device say nothing of who reads what comes out.
  if (stats?.isFile() !== true || (stats.mode & OTHERS_MAY_READ) === 0) return;
  log.warn(`every user of this machine can read ${what} in ${path}; run chmod o= ${path}`);
}

function contentsOf(path: string, what: string): { bytes: Buffer; stats: Stats } {
  try {
    const file = openSync(path, 'r');
    try {
      const bytes = Buffer.alloc(READ_BYTES_MAX);
      let length = 0;
      for (;;) {
        const count = readSync(file, bytes, length, READ_BYTES_MAX - length, null);
        length += count;
        if (count === 0 || length === READ_BYTES_MAX) break;
      }
      return { bytes: bytes.subarray(0, length), stats: fstatSync(file) };
    } finally {
      closeSync(file);
    }
  } catch (error) {
    throw new ConfigError('chap-secret', `cannot read ${what}: ${messageOf(error)}`, { path });
  }
}

function withoutLineEnd(bytes: Buffer): Buffer {
  if (bytes.at(-1) !== NEWLINE) return bytes;
  return bytes.subarray(0, bytes.at(-2) === CARRIAGE_RETURN ? -2 : -1);
}
