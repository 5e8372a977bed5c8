import type { DatamoverHandler } from '../iscsi/datamover.js';
import type { MemoryRegion } from '../transport/verbs.js';
import type { IserDevice } from './device.js';
import type { IserConnectionError } from './errors.js';
import type { RdmaConnection } from './rdma-connection.js';
import type { TaskConnection } from './task.js';

/** What {@link TransmitPath} and {@link ReceivePath} need from their connection. */
export interface ConnectionHost extends TaskConnection {
  readonly peerName: string;
  readonly isUp: boolean;
  readonly rdma: RdmaConnection;
  readonly device: IserDevice;
  readonly handler: DatamoverHandler;
  /** Both sides support Send with Invalidate (`snd_w_inv`). */
  readonly sendWithInvalidate: boolean;
  /** Ends the connection because of `error`. Only the first error counts. */
  fail(error: IserConnectionError): void;
  /** Ends the connection at once: a command was aborted while its data was being sent. */
  abandonSend(): void;
  /**
   * Registers memory of the connection; the connection frees it at its end.
   * @throws VerbsError when the device has no room
   */
  registerOwn(lengthBytes: number, access: number): MemoryRegion;
}
