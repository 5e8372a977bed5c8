import { read, write } from 'node:fs';
import { statusOf } from './file-sync.js';
import type { FileSync, SyncWaiter } from './file-sync.js';
import { STORE_ZERO_BUFFER_BYTES } from './limits.js';
import { StoreStatus } from './store.js';
import type { StoreRequest } from './store.js';

/** The action of a {@link FileOperation} on its range. */
export const FileAction = { read: 0, write: 1, zero: 2, sync: 3 } as const;
export type FileAction = (typeof FileAction)[keyof typeof FileAction];

const ZEROES = Buffer.alloc(STORE_ZERO_BUFFER_BYTES);

/**
 * One read, write, zeroing or sync of a file. It continues after a short transfer. Pooled by the store: its callbacks
 * are made once, so that our code allocates nothing per I/O. It uses callbacks because `FileHandle` promises take
 * three times as long.
 */
export class FileOperation implements SyncWaiter {
  action: FileAction = FileAction.read;
  offset = 0;
  length = 0;
  bytes: Buffer = ZEROES;
  bytesOffset = 0;
  /** A sync follows the write. */
  syncs = false;
  isActive = false;
  /** The request, if this operation is the whole request; else null. */
  request: StoreRequest | null = null;
  /** The continuation, if this operation is a part of a request; else null. */
  followUp: ((status: StoreStatus) => void) | null = null;
  /** The system's error message, for the log. Null for a failed sync, because {@link FileSync} reports it. */
  error: string | null = null;
  readonly #fd: number;
  readonly #sync: FileSync;
  readonly #finished: (operation: FileOperation, status: StoreStatus) => void;
  #doneBytes = 0;
  readonly #transferred = (error: NodeJS.ErrnoException | null, count: number): void =>
    this.#continue(error, count);

  /** `finished` is called once per start, in a later turn. */
  constructor(
    fd: number,
    sync: FileSync,
    finished: (operation: FileOperation, status: StoreStatus) => void,
  ) {
    this.#fd = fd;
    this.#sync = sync;
    this.#finished = finished;
  }

  start(): void {
    this.isActive = true;
    this.error = null;
    this.#doneBytes = 0;
    if (this.action === FileAction.sync || this.length === 0) this.#sync.request(this);
    else this.#transfer();
  }

  synced(status: StoreStatus): void {
    this.#finish(status);
  }

  #transfer(): void {
    const left = this.length - this.#doneBytes;
    const position = this.offset + this.#doneBytes;
    if (this.action === FileAction.zero) {
      write(this.#fd, ZEROES, 0, Math.min(left, ZEROES.length), position, this.#transferred);
      return;
    }
    const at = this.bytesOffset + this.#doneBytes;
    const { bytes } = this;
    if (this.action === FileAction.read)
      read(this.#fd, bytes, at, left, position, this.#transferred);
    else write(this.#fd, bytes, at, left, position, this.#transferred);
  }

  #continue(error: NodeJS.ErrnoException | null, count: number): void {
    if (error !== null) {
      this.#finish(this.#failed(error));
      return;
    }
    if (count === 0) {
      // Another program has truncated the file. The old data is unknown, and zeroes would be wrong.
      this.error = 'the file is shorter than the store';
      this.#finish(StoreStatus.ioError);
      return;
    }
    this.#doneBytes += count;
    if (this.#doneBytes < this.length) this.#transfer();
    else if (this.syncs) this.#sync.request(this);
    else this.#finish(StoreStatus.ok);
  }

  #failed(error: NodeJS.ErrnoException): StoreStatus {
    this.error = error.message;
    return statusOf(error);
  }

  #finish(status: StoreStatus): void {
    this.isActive = false;
    this.#finished(this, status);
  }
}
