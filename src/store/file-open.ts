import { close, constants, fstat, ftruncate, open } from 'node:fs';
import type { BigIntStats } from 'node:fs';
import { realpath } from 'node:fs/promises';
import { promisify } from 'node:util';
import { ConfigError, messageOf } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { lockFile } from './file-lock.js';
import { FILE_STORE_BYTES_MAX } from './limits.js';

/** What to open. */
export interface FileChoice {
  readonly path: string;
  /**
   * The size of the store. A new file gets this size, and a shorter file is extended. Null: the file must exist, and
   * its size is used.
   */
  readonly sizeBytes: number | null;
  readonly blockBytes: number;
  readonly readOnly: boolean;
}

/** An open file that can be a store. */
export interface OpenedFile {
  readonly fd: number;
  readonly sizeBytes: number;
  /** The size of the file before it was extended to `sizeBytes`. The extension reads as zeroes. */
  readonly oldBytes: number;
  /**
   * The storage of the file before the extension. Less than `oldBytes` for a file with holes, a compressed file, and
   * on some file systems.
   */
  readonly allocatedBytes: number;
  /** The path of the file without symbolic links. */
  readonly realPath: string;
  /** Device and inode. They identify the file among all open files, whatever its name. */
  readonly claim: string;
  /**
   * Path and inode; see Store.identity. The device number is not used, because it may change when the machine
   * restarts.
   */
  readonly identity: string;
}

/** The unit of `st_blocks`, independent of the file system's block size. */
const STAT_BLOCK_BYTES = 512;

const openFile = promisify(open);
const statFile = promisify(fstat);
const truncateFile = promisify(ftruncate);
const closeFile = promisify(close);

/** The files of this process's stores. Two stores of one file would have contradictory maps of its holes. */
const claims = new Set<string>();

/**
 * Opens and locks the file of a store, and creates or extends it. Until the file is closed, no other process can open
 * it as a store, except that readers share it with readers.
 * @throws ConfigError when the file cannot be a store; the message is one sentence for people
 */
export async function openStoreFile(choice: FileChoice, log: Logger): Promise<OpenedFile> {
  const fd = await openDescriptor(choice);
  let claim: string | null = null;
  try {
    const stats = await statFile(fd, { bigint: true });
    if (!stats.isFile()) throw fileError(choice.path, 'is not a regular file');
    claim = claimFile(stats, choice.path);
    await lockOrRefuse(fd, choice, log);
    const oldBytes = Number(stats.size);
    const sizeBytes = await sizeFile(fd, oldBytes, choice);
    const allocatedBytes = Number(stats.blocks) * STAT_BLOCK_BYTES;
    const realPath = await realpath(choice.path);
    const identity = `file ${realPath} ${stats.ino}`;
    return { fd, sizeBytes, oldBytes, allocatedBytes, realPath, claim, identity };
  } catch (error) {
    if (claim !== null) claims.delete(claim);
    await closeFile(fd);
    throw error;
  }
}

/** Closes the file. A store may then open the file again. */
export async function closeStoreFile({ fd, claim }: OpenedFile): Promise<void> {
  try {
    await closeFile(fd);
  } finally {
    claims.delete(claim);
  }
}

function claimFile({ dev, ino }: BigIntStats, path: string): string {
  const claim = `${dev}:${ino}`;
  if (claims.has(claim)) {
    throw fileError(path, 'is open already as another LUN; give each LUN its own file');
  }
  claims.add(claim);
  return claim;
}

/** @throws ConfigError when another process has locked the file */
async function lockOrRefuse(
  fd: number,
  { path, readOnly }: FileChoice,
  log: Logger,
): Promise<void> {
  const outcome = await lockFile(fd, { shared: readOnly });
  if (outcome.type === 'taken') {
    throw fileError(
      path,
      'is in use by another program, which has locked it; stop that one, or use another file',
    );
  }
  if (outcome.type === 'unknown') {
    const { reason } = outcome;
    log.warn(
      { path, reason },
      'the file cannot be locked; make sure that no other program serves it',
    );
  }
}

async function openDescriptor({ path, sizeBytes, readOnly }: FileChoice): Promise<number> {
  try {
    return await openFile(path, readOnly ? constants.O_RDONLY : constants.O_RDWR);
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw openError(path, error);
    if (readOnly || sizeBytes === null) {
      throw fileError(path, 'does not exist; give a size (file:PATH:SIZE) to create it', error);
    }
  }
  try {
    return await openFile(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  } catch (error) {
    throw openError(path, error);
  }
}

/** Extends the file to the chosen size if necessary. Resolves with its size. */
async function sizeFile(fd: number, oldBytes: number, choice: FileChoice): Promise<number> {
  const { path, blockBytes, readOnly } = choice;
  const sizeBytes = choice.sizeBytes ?? oldBytes;
  if (oldBytes > sizeBytes) {
    throw fileError(
      path,
      `has ${oldBytes} bytes, more than the requested ${sizeBytes}; omit the size to serve the whole file`,
    );
  }
  if (sizeBytes === 0) throw fileError(path, 'is empty; give a size (file:PATH:SIZE)');
  if (sizeBytes % blockBytes !== 0) {
    throw fileError(path, `has ${sizeBytes} bytes, which is not a multiple of ${blockBytes}`);
  }
  if (sizeBytes > FILE_STORE_BYTES_MAX) throw fileError(path, `cannot have ${sizeBytes} bytes`);
  if (oldBytes < sizeBytes) {
    if (readOnly) throw fileError(path, `has ${oldBytes} bytes, less than ${sizeBytes}`);
    await extend(fd, path, sizeBytes);
  }
  return sizeBytes;
}

async function extend(fd: number, path: string, sizeBytes: number): Promise<void> {
  try {
    await truncateFile(fd, sizeBytes);
  } catch (error) {
    throw fileError(path, `cannot be made ${sizeBytes} bytes long: ${messageOf(error)}`, error);
  }
}

const OPEN_ERRORS: Readonly<Record<string, string>> = {
  EACCES: 'is not readable and writable for this user',
  EPERM: 'may not be written',
  EROFS: 'is on a read-only file system',
  EISDIR: 'is a directory',
  ENOTDIR: 'is below something that is not a directory',
  ENOENT: 'cannot be created, because its directory does not exist',
  ELOOP: 'is a loop of symbolic links',
  ETXTBSY: 'is being executed',
};

function openError(path: string, error: unknown): ConfigError {
  return fileError(
    path,
    OPEN_ERRORS[codeOf(error)] ?? `cannot be opened: ${messageOf(error)}`,
    error,
  );
}

function fileError(path: string, what: string, cause?: unknown): ConfigError {
  return new ConfigError('lun', `the LUN's file ${path} ${what}`, { path }, cause);
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : '';
}
