import { soon } from '../common/later.js';
import { fdatasync } from 'node:fs';
import { StoreStatus } from './store.js';

/** A request or operation that waits for a sync. */
export interface SyncWaiter {
  /** Called once per request, in a later turn. */
  synced(status: StoreStatus): void;
}

/** The status for an error of the system. */
export function statusOf(error: NodeJS.ErrnoException): StoreStatus {
  const isFull = error.code === 'ENOSPC' || error.code === 'EDQUOT' || error.code === 'EFBIG';
  return isFull ? StoreStatus.noSpace : StoreStatus.ioError;
}

/**
 * The syncs of one open file, one at a time. Requests during a sync share the next sync. The system reports lost
 * writes only once per open file, and then treats them as clean. So a success during or after a failed sync proves
 * nothing: after the first failure every sync fails, until the file is opened again.
 */
export class FileSync {
  readonly #fd: number;
  readonly #failed: (error: string) => void;
  #running: SyncWaiter[] = [];
  #waiting: SyncWaiter[] = [];
  #isRunning = false;
  #hasFailed = false;
  readonly #synced = (error: NodeJS.ErrnoException | null): void => this.#ended(error);
  readonly #refuse = (): void => this.#finish(StoreStatus.ioError);

  /** `failed` is called once, with the system's error message. */
  constructor(fd: number, failed: (error: string) => void) {
    this.#fd = fd;
    this.#failed = failed;
  }

  /** Requests that all earlier writes reach stable storage. */
  request(waiter: SyncWaiter): void {
    this.#waiting.push(waiter);
    if (!this.#isRunning) this.#run();
  }

  #run(): void {
    const { length } = this.#waiting;
    this.#isRunning = length > 0;
    if (length === 0) return;
    const done = this.#running;
    this.#running = this.#waiting;
    this.#waiting = done;
    if (this.#hasFailed) soon(this.#refuse);
    else fdatasync(this.#fd, this.#synced);
  }

  #ended(error: NodeJS.ErrnoException | null): void {
    if (error !== null) {
      this.#hasFailed = true;
      this.#failed(error.message);
    }
    this.#finish(error === null ? StoreStatus.ok : statusOf(error));
  }

  #finish(status: StoreStatus): void {
    const finished = this.#running;
    for (const waiter of finished) waiter.synced(status);
    finished.length = 0;
    this.#run();
  }
}
