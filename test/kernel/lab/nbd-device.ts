import type { Guest } from './guest.js';
import { HOST_SEEN_FROM_GUEST } from './guest.js';

export interface AttachOptions {
  readonly connections?: number;
  readonly blockSize?: number;
  readonly index?: number;
  /** How long the kernel waits for an answer. */
  readonly timeoutSeconds?: number;
}

/** The kernel's nbd driver; gives it /dev/nbd0 and up, with partitions. */
export async function loadNbd(guest: Guest): Promise<void> {
  await guest.must('modprobe', 'nbd', 'nbds_max=4');
}

/** An NBD export as a block device of the guest. */
export class NbdDevice {
  readonly path: string;
  readonly #guest: Guest;

  private constructor(guest: Guest, path: string) {
    this.#guest = guest;
    this.path = path;
  }

  /** Attaches `nbd://127.0.0.1:PORT/EXPORT` of the host; resolves when the disk has its size. */
  static async attach(guest: Guest, uri: string, options: AttachOptions = {}): Promise<NbdDevice> {
    const { connections = 1, blockSize = 4096, index = 0, timeoutSeconds = 60 } = options;
    const { port, pathname } = new URL(uri.replace(/^nbd:/, 'http:'));
    const path = `/dev/nbd${index}`;
    await guest.must(
      'nbd-client',
      ...[HOST_SEEN_FROM_GUEST, port, path, '-N', decodeURIComponent(pathname.slice(1))],
      ...['-C', String(connections), '-b', String(blockSize), '-t', String(timeoutSeconds)],
    );
    const device = new NbdDevice(guest, path);
    await guest.until(
      () => device.sizeBytes(),
      (bytes) => bytes > 0,
    );
    return device;
  }

  async sizeBytes(): Promise<number> {
    return Number(await this.#guest.must('blockdev', '--getsize64', this.path));
  }

  /** Resolves when the kernel has let go of the device. */
  async detach(): Promise<void> {
    await this.#guest.must('nbd-client', '-d', this.path);
    const attribute = this.path.replace('/dev/', '/sys/block/');
    await this.#guest.until(
      () => this.#guest.exists(`${attribute}/pid`),
      (attached) => !attached,
    );
  }
}
