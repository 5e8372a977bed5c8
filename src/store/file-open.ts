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
  /** Creates the file, or makes a shorter one this long; null: the file must exist and tells its size. */
  readonly sizeBytes: number | null;
  readonly blockBytes: number;
  readonly readOnly: boolean;
}

/** A file that is fit to be a store. */
export interface OpenedFile {
  readonly fd: number;
  readonly sizeBytes: number;
  /** What the file had before it was made `sizeBytes` long: all behind it reads as zeroes. */
  readonly oldBytes: number;
  /** Storage that the file had then: less than `oldBytes` for one with holes, or compressed, or on some file systems. */
  readonly allocatedBytes: number;
  /** Where it is, whatever links led there. */
  readonly realPath: string;
  /** Device and inode, which tell the file from all others that are open under whatever name. */
  readonly claim: string;
  /** Path and inode: see Store.identity. Device numbers may change with a restart of the machine. */
  readonly identity: string;
}

/** `st_blocks` counts in these, whatever the file system's block is. */
const STAT_BLOCK_BYTES = 512;

const openFile = promisify(open);
const statFile = promisify(fstat);
const truncateFile = promisify(ftruncate);
const closeFile = promisify(close);

/** The files of this process's stores: two stores of one file would contradict each other about its holes. */
const claims = new Set<string>();

/**
 * Opens, locks, and creates or extends, the file of a store. Until it is closed no other process can do the same, but for
 * those that only read it. @throws ConfigError with one sentence for people
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

/** Closes the file; a store of it may be opened again. */
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
    throw fileError(path, 'is open already as another LUN; give each LUN a file of its own');
  }
  claims.add(claim);
  return claim;
}

/** @throws ConfigError when another process has the file. */
async function lockOrRefuse(
  fd: number,
  { path, readOnly }: FileChoice,
  log: Logger,
): Promise<void> {
  const outcome = await lockFile(fd, { shared: readOnly });
  if (outcome.type === 'taken') {
    throw fileError(
      path,
      'is in use by another program, which has locked it; stop that one, or give each a file of its own',
    );
  }
  if (outcome.type === 'unknown') {
    const { reason } = outcome;
    log.warn({ path, reason }, 'the file cannot be locked: see that no other program serves it');
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

/** Makes the file as long as it was chosen to be. Resolves with its size. */
async function sizeFile(fd: number, oldBytes: number, choice: FileChoice): Promise<number> {
  const { path, blockBytes, readOnly } = choice;
  const sizeBytes = choice.sizeBytes ?? oldBytes;
  if (oldBytes > sizeBytes) {
    throw fileError(
      path,
      `has ${oldBytes} bytes, more than the ${sizeBytes} asked for; leave the size off to serve all of it`,
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
  ELOOP: 'is a chain of links without an end',
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
