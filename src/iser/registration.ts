import type { RegistrationHost } from './registration-host.js';
import type { RegistrationDescriptor } from './memory-registration.js';
import type { DataIndex, IserTask } from './task.js';

/**
 * `iser_reg_ops`: how a device lets a peer at a command's data. Chosen once per device. The task's data is in
 * `task.data`, the outcome in `task.registrations`.
 */
export interface RegistrationOps {
  readonly name: 'fast' | 'pool';
  /** Regions are invalidated by a received Send with Invalidate. */
  readonly remoteInvalidate: boolean;
  /** The longest buffer that can be registered. */
  readonly bytesMax: number;
  /** {@link placedBytes} means something. */
  readonly countsPlacement: boolean;
  /** `alloc_reg_res`. */
  allocate(connection: RegistrationHost, commandsMax: number): void;
  /** `free_reg_res`. The queue pair is drained. */
  free(connection: RegistrationHost): void;
  /**
   * `reg_mem`: registers the data buffer and fills the registration. Work requests that have to be executed before
   * the command's Send are put in front of it, in the task's descriptor.
   * @throws VerbsError when the device has no room.
   */
  register(task: IserTask, index: DataIndex): void;
  /** How much of a read's data the peer has placed, from the start on and without a gap, until the task is finished. */
  placedBytes(task: IserTask): number;
  /** The peer has revoked `key`. False if that is not the key that this task advertised. */
  remotelyInvalidated(task: IserTask, key: number): boolean;
  /**
   * The target has answered and did not invalidate. True when the peer's access needs no further revocation; false
   * while a LOCAL_INV that this posted is under way: ask again when it is done.
   */
  isRevoked(task: IserTask): boolean;
  /** `unreg_mem`: the registration is over, and so is the peer's access, as far as the scheme can (see there). */
  unregister(task: IserTask): void;
  /** `reg_desc_get`. Null where the scheme has no descriptors. */
  getDescriptor(connection: RegistrationHost): RegistrationDescriptor | null;
  /** `reg_desc_put`. */
  putDescriptor(connection: RegistrationHost, descriptor: RegistrationDescriptor): void;
}
