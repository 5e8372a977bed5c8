import type { MemoryKey } from '../transport/verbs.js';
import type { RegistrationHost } from './registration-host.js';
import type { RegistrationDescriptor } from './memory-registration.js';
import type { DataIndex, IserTask } from './task.js';

/**
 * `iser_reg_ops`: how a device gives a peer access to a command's data. Chosen once per device. `task.data` has the
 * buffers, and `task.registrations` receives the registrations.
 */
export interface RegistrationOps {
  readonly name: 'fast' | 'pool';
  /** A received Send with Invalidate invalidates a region. */
  readonly remoteInvalidate: boolean;
  /** The longest buffer that the scheme can register. */
  readonly bytesMax: number;
  /** The scheme supports {@link placedBytes}. */
  readonly countsPlacement: boolean;
  /** `alloc_reg_res`. */
  allocate(connection: RegistrationHost, commandsMax: number): void;
  /** `free_reg_res`. The caller has drained the queue pair. */
  free(connection: RegistrationHost): void;
  /**
   * `reg_mem`: registers the data buffer and fills in the registration. Adds the work requests that must be executed
   * before the command's Send to the task's descriptor.
   * @throws VerbsError when the device has no room
   */
  register(task: IserTask, index: DataIndex): void;
  /**
   * The bytes of a read's data that the peer has placed, from the start to the first gap. Valid until the task is
   * finished.
   */
  placedBytes(task: IserTask): number;
  /** Call when the peer has revoked `key`. False if the task did not advertise `key`. */
  remotelyInvalidated(task: IserTask, key: MemoryKey): boolean;
  /**
   * Call when the target has answered without an invalidation. True when the peer has no access any more. False while
   * a LOCAL_INV of this call is incomplete; call again after its completion.
   */
  isRevoked(task: IserTask): boolean;
  /** `unreg_mem`: ends the registration, and the peer's access as far as the scheme can. */
  unregister(task: IserTask): void;
  /** `reg_desc_get`. Null if the scheme has no descriptors. */
  getDescriptor(connection: RegistrationHost): RegistrationDescriptor | null;
  /** `reg_desc_put`. */
  putDescriptor(connection: RegistrationHost, descriptor: RegistrationDescriptor): void;
}
