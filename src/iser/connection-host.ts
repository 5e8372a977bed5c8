import type { DatamoverHandler } from '../iscsi/datamover.js';
import type { MemoryRegion } from '../transport/verbs.js';
import type { IserDevice } from './device.js';
import type { IserConnectionError } from './errors.js';
import type { RdmaConnection } from './rdma-connection.js';
import type { TaskConnection } from './task.js';

/** What the sending and the receiving half of a connection need of it. */
export interface ConnectionHost extends TaskConnection {
  readonly peerName: string;
  readonly isUp: boolean;
  readonly rdma: RdmaConnection;
  readonly device: IserDevice;
  readonly handler: DatamoverHandler;
  /** Send with Invalidate was agreed on (`snd_w_inv`). */
  readonly sendWithInvalidate: boolean;
  /** Ends the connection because of `error`. The first one counts. */
  fail(error: IserConnectionError): void;
  /** Ends the connection at once: a command was given up while its data was being sent. */
  abandonSend(): void;
  /** Takes registered memory that goes with the connection. @throws VerbsError when the device has no room. */
  registerOwn(lengthBytes: number, access: number): MemoryRegion;
}
