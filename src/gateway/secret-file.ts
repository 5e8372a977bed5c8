import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { ConfigError, messageOf } from '../common/errors.js';
import { CHAP_SECRET_BYTES_MAX } from '../iscsi/limits.js';
import type { Logger } from '../observe/log.js';

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);
/** Enough to detect a secret that is too long: the longest secret, a line end, and one more byte. */
const READ_BYTES_MAX = CHAP_SECRET_BYTES_MAX + 3;
/** The permission bit that lets every user read the file. */
const OTHERS_MAY_READ = 0o004;

/**
 * Reads the files with CHAP secrets. Each file is read once: so a pipe works too, and a warning comes once. The secret is
 * all bytes of the file, without the line end that editors and `echo` add.
 */
export class SecretFiles {
  readonly #log: Logger;
  readonly #known = new Map<string, Uint8Array>();

  constructor(log: Logger) {
    this.#log = log;
  }

  /** @throws ConfigError when the file cannot be read, or begins with a byte order mark */
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
        `${path} ends with more than one line end; ${what} includes all of them but the last`,
      );
    }
    this.#known.set(path, secret);
    return secret;
  }
}

/** Warns when every user can read a file with a secret. A file that cannot be found is reported when it is read. */
export function warnOfReaders(
  path: string,
  {
    what,
    stats = statSync(path, { throwIfNoEntry: false }),
    log,
  }: { readonly what: string; readonly stats?: Stats | undefined; readonly log: Logger },
): void {
  // The permissions of a pipe or a device do not show who can read the secret.
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
