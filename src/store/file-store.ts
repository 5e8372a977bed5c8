import { soon } from '../common/later.js';
import { fsync } from 'node:fs';
import { promisify } from 'node:util';
import { ConfigError, messageOf } from '../common/errors.js';
import { silentLogger } from '../observe/log.js';
import type { Logger } from '../observe/log.js';
import { AllocationMap } from './allocation-map.js';
import { closeStoreFile, openStoreFile } from './file-open.js';
import type { FileChoice, OpenedFile } from './file-open.js';
import { FileAction, FileOperation } from './file-operation.js';
import { FileSync } from './file-sync.js';
import { findData } from './hole-finder.js';
import { HolePuncher, probePunching } from './hole-puncher.js';
import { PUNCH_BYTES_MIN } from './limits.js';
import { ReservationFile } from './reservation-file.js';
import { StoreOp, StoreStatus } from './store.js';
import type { Store, StoreRequest } from './store.js';
import type { ReservationKeeper } from './reservation-keeper.js';

/** The parts of a file store. */
interface StoreParts {
  readonly file: OpenedFile;
  readonly canPunch: boolean;
  readonly map: AllocationMap;
  readonly reservationKeeper: ReservationKeeper | null;
}

/** A running punch. A write that overlaps it keeps the range marked as allocated. */
interface RunningPunch {
  readonly offset: number;
  readonly end: number;
  isOverlapped: boolean;
}

/**
 * A store in a regular file. The file is sparse. A flush or a forced write makes data durable (fdatasync).
 *
 * Allocation: Node cannot ask the file system (SEEK_HOLE), so the store keeps a map. A new part of the file starts as
 * a hole. A separate process looks once for the holes of an old file; if that fails, the old part counts as
 * allocated. Later a range becomes a hole only after the file system has confirmed the punch and no write has
 * overlapped it.
 *
 * The map is right only if no other program writes to the file. A second store of an open file is refused, in this
 * process and, by a lock, in other processes; see file-lock.ts.
 *
 * After a failed fdatasync it is unknown which acknowledged writes are lost. So every later flush and forced write
 * fails too, until the file is opened again.
 */
export class FileStore implements Store {
  readonly name: string;
  readonly identity: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly canPunch: boolean;
  /** The data of a file is not in this process's memory. */
  readonly direct = null;
  readonly punchGranularityBytes: number;
  readonly reservationKeeper: ReservationKeeper | null;
  readonly #file: OpenedFile;
  readonly #fileSync: FileSync;
  readonly #log: Logger;
  readonly #map: AllocationMap;
  readonly #puncher: HolePuncher;
  readonly #operations: FileOperation[] = [];
  readonly #idle: FileOperation[] = [];
  readonly #punches = new Set<RunningPunch>();
  readonly #finished = (operation: FileOperation, status: StoreStatus): void =>
    this.#operationFinished(operation, status);
  #requestCount = 0;
  #onIdle: (() => void) | null = null;

  private constructor(choice: FileChoice, parts: StoreParts, log: Logger) {
    const { file, canPunch, map, reservationKeeper } = parts;
    this.name = `file:${choice.path}`;
    this.identity = file.identity;
    this.sizeBytes = file.sizeBytes;
    this.blockBytes = choice.blockBytes;
    this.readOnly = choice.readOnly;
    this.canPunch = canPunch;
    this.#file = file;
    this.#log = log;
    this.#fileSync = new FileSync(file.fd, (error) => {
      const what = 'fdatasync failed: no flush succeeds until the file is opened again';
      log.error({ store: this.name, error }, what);
    });
    this.reservationKeeper = reservationKeeper;
    this.#map = map;
    this.punchGranularityBytes = Math.max(this.#map.pageBytes, PUNCH_BYTES_MIN);
    this.#puncher = new HolePuncher(file.fd);
  }

  /**
   * Opens the store of a file.
   * @throws ConfigError when the file cannot be opened as chosen
   */
  static async open(choice: FileChoice, log: Logger = silentLogger): Promise<FileStore> {
    const file = await openStoreFile(choice, log);
    try {
      return new FileStore(choice, await partsOf(choice, file, log), log);
    } catch (error) {
      await closeStoreFile(file);
      throw error;
    }
  }

  submit(request: StoreRequest): void {
    this.#requestCount += 1;
    if (request.length === 0 && request.op !== StoreOp.flush) {
      // Even this request completes in a later turn.
      if (request.forceUnitAccess) this.#start(request, FileAction.sync);
      else soon(() => this.#complete(request, StoreStatus.ok));
      return;
    }
    switch (request.op) {
      case StoreOp.read:
        this.#start(request, FileAction.read);
        return;
      case StoreOp.write:
        this.#start(request, FileAction.write);
        return;
      case StoreOp.writeZeroes:
        this.#start(request, FileAction.zero);
        return;
      case StoreOp.flush:
        this.#start(request, FileAction.sync);
        return;
      case StoreOp.punch:
        this.#punch(request);
    }
  }

  isAllocated(offset: number): boolean {
    return this.#map.isAllocated(offset);
  }

  allocationRunBytes(offset: number, lengthMaxBytes: number): number {
    return this.#map.runBytes(offset, lengthMaxBytes);
  }

  async close(): Promise<void> {
    if (this.#requestCount > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    await closeStoreFile(this.#file);
  }

  /** Executes a request that needs one operation. */
  #start(request: StoreRequest, action: FileAction): void {
    const operation = this.#takeOperation(action, request.offset, request.length);
    if (request.slab !== null) operation.bytes = request.slab.bytes;
    operation.bytesOffset = request.slabOffset;
    operation.syncs = request.forceUnitAccess;
    operation.request = request;
    operation.start();
  }

  #takeOperation(action: FileAction, offset: number, lengthBytes: number): FileOperation {
    let operation = this.#idle.pop();
    if (operation === undefined) {
      operation = new FileOperation(this.#file.fd, this.#fileSync, this.#finished);
      this.#operations.push(operation);
    }
    operation.action = action;
    operation.offset = offset;
    operation.length = lengthBytes;
    operation.syncs = false;
    if (action === FileAction.write || action === FileAction.zero) {
      this.#map.allocate(offset, lengthBytes);
      for (const punch of this.#punches) {
        if (offset < punch.end && offset + lengthBytes > punch.offset) punch.isOverlapped = true;
      }
    }
    return operation;
  }

  #operationFinished(operation: FileOperation, status: StoreStatus): void {
    const { request, followUp } = operation;
    const { offset, length, error } = operation;
    if (error !== null) {
      this.#log.error({ store: this.name, offset, length, error }, 'file I/O failed');
    }
    operation.request = null;
    operation.followUp = null;
    this.#idle.push(operation);
    if (request !== null) this.#complete(request, status);
    followUp?.(status);
  }

  #complete(request: StoreRequest, status: StoreStatus): void {
    request.status = status;
    this.#requestCount -= 1;
    request.done(request);
    if (this.#requestCount === 0) this.#onIdle?.();
  }

  /**
   * Punches the pages that are completely in the range, and writes zeroes to its two ends. Writes zeroes to the whole
   * range if it is too short for a process, or if the file system refuses the punch. So the range reads as zeroes in
   * any case. Pages that are already holes are unchanged.
   */
  #punch(request: StoreRequest): void {
    const { offset } = request;
    const end = offset + request.length;
    const { pageBytes } = this.#map;
    const innerStart = Math.ceil(offset / pageBytes) * pageBytes;
    const innerEnd = Math.min(this.#map.wholePagesEnd(end) * pageBytes, end);
    const parts: ((next: (status: StoreStatus) => void) => void)[] = [];
    if (!this.#map.isAnyAllocated(offset, request.length)) {
      // The range has no storage to free and no data to zero.
    } else if (!this.canPunch || innerEnd - innerStart < PUNCH_BYTES_MIN) {
      parts.push((next) => this.#zero(offset, end, next));
    } else {
      if (offset < innerStart) parts.push((next) => this.#zero(offset, innerStart, next));
      parts.push((next) => this.#punchPages(innerStart, innerEnd, next));
      if (innerEnd < end) parts.push((next) => this.#zero(innerEnd, end, next));
    }
    if (request.forceUnitAccess) parts.push((next) => this.#sync(next));
    this.#runParts(request, parts, 0);
  }

  #runParts(
    request: StoreRequest,
    parts: readonly ((next: (status: StoreStatus) => void) => void)[],
    index: number,
  ): void {
    const part = parts[index];
    if (part === undefined) {
      if (index === 0) soon(() => this.#complete(request, StoreStatus.ok));
      else this.#complete(request, StoreStatus.ok);
      return;
    }
    part((status) => {
      if (status === StoreStatus.ok) this.#runParts(request, parts, index + 1);
      else this.#complete(request, status);
    });
  }

  #punchPages(start: number, end: number, next: (status: StoreStatus) => void): void {
    const punch: RunningPunch = {
      offset: start,
      end,
      isOverlapped: this.#operations.some(
        ({ isActive, action, offset, length }) =>
          isActive &&
          (action === FileAction.write || action === FileAction.zero) &&
          offset < end &&
          offset + length > start,
      ),
    };
    this.#punches.add(punch);
    const done = (error: string | null): void => {
      this.#punches.delete(punch);
      if (error === null) {
        if (!punch.isOverlapped) this.#map.free(start, end - start);
        next(StoreStatus.ok);
        return;
      }
      this.#log.warn(
        { store: this.name, start, end, error },
        'no hole was punched; writing zeroes',
      );
      this.#zero(start, end, next);
    };
    this.#puncher.punch({ offset: start, lengthBytes: end - start, done });
  }

  #zero(start: number, end: number, next: (status: StoreStatus) => void): void {
    const operation = this.#takeOperation(FileAction.zero, start, end - start);
    operation.followUp = next;
    operation.start();
  }

  #sync(next: (status: StoreStatus) => void): void {
    const operation = this.#takeOperation(FileAction.sync, 0, 0);
    operation.followUp = next;
    operation.start();
  }
}

async function partsOf(
  { path, readOnly }: FileChoice,
  file: OpenedFile,
  log: Logger,
): Promise<StoreParts> {
  const map = new AllocationMap(file.sizeBytes);
  map.allocate(0, file.oldBytes);
  // A read-only store cannot keep reservations.
  if (readOnly) return { file, canPunch: false, map, reservationKeeper: null };
  const reservationKeeper = await ReservationFile.open(file.realPath, file.oldBytes === 0, log);
  const obstacle = await probePunching(file.fd, file.sizeBytes);
  if (obstacle !== null) {
    log.info(
      { path, obstacle },
      'holes cannot be punched into the file; the LUN is fully provisioned',
    );
    return { file, canPunch: false, map, reservationKeeper };
  }
  return { file, canPunch: true, map: await mapOf(path, file, map, log), reservationKeeper };
}

/**
 * The allocation map of an old file. Completely allocated if the file has no holes, or if its holes cannot be found.
 */
async function mapOf(
  path: string,
  file: OpenedFile,
  full: AllocationMap,
  log: Logger,
): Promise<AllocationMap> {
  if (file.allocatedBytes >= file.oldBytes) return full;
  const map = new AllocationMap(file.sizeBytes);
  // A file system may report holes where data is not written to the medium yet.
  await flush(path, file);
  const obstacle = await findData(file.fd, file.oldBytes, (start, end) => {
    map.allocate(start, end - start);
  });
  if (obstacle === null) return map;
  log.info(
    { path, obstacle },
    "the file's holes cannot be found; the whole file counts as allocated",
  );
  return full;
}

/** @throws ConfigError when the file cannot be flushed */
async function flush(path: string, { fd }: OpenedFile): Promise<void> {
  try {
    await promisify(fsync)(fd);
  } catch (error) {
    const message = `the LUN's file ${path} cannot be flushed: ${messageOf(error)}`;
    throw new ConfigError('lun', message, { path }, error);
  }
}
