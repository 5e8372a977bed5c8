import type { Slab } from '../common/slab.js';
import type { FastRegion, MemoryRegion, SendWorkRequest } from '../transport/verbs.js';
import { Sge } from '../transport/verbs.js';
import type { ProtectionContext } from './protection.js';
import type { RdmaConnection } from './rdma-connection.js';
import type { DataIndex, IserTask } from './task.js';

/** `iser_data_buf`: the memory of a command's data. Our scatter list is one span of a slab, or nothing. */
export class DataBuffer {
  slab: Slab | null = null;
  offset = 0;
  dataLength = 0;
  /** Entries of the scatter list: 0 or 1. */
  size = 0;
  /** Entries as the device sees them; 0 while the buffer is not registered (`dma_nents`). */
  mappedCount = 0;

  set(slab: Slab, offset: number, dataLength: number): void {
    this.slab = slab;
    this.offset = offset;
    this.dataLength = dataLength;
    this.size = 1;
    this.mappedCount = 0;
  }

  clear(): void {
    this.slab = null;
    this.offset = 0;
    this.dataLength = 0;
    this.size = 0;
    this.mappedCount = 0;
  }
}

/** `iser_mem_reg`: how the peer and the device reach a buffer. */
export class MemoryRegistration {
  readonly sge = new Sge();
  rkey = 0;
  /** The remote address of the buffer's first byte. */
  addressHigh = 0;
  addressLow = 0;
  /** The descriptor that fast registration took from the connection's pool (`mem_h`). */
  context: RegistrationDescriptor | null = null;

  /** The remote address of `offset` in the slab that `region` registers, wherever in it the region starts. */
  setAddress(region: MemoryRegion, offset: number): void {
    const low = region.addressLow + (offset - region.offset);
    this.addressHigh = (region.addressHigh + Math.floor(low / TWO_32)) >>> 0;
    this.addressLow = low >>> 0;
  }
}

const TWO_32 = 0x1_0000_0000;

/** `iser_reg_resources`: a fast registration region, and whether a key of it is, or is about to be, valid. */
export class RegistrationResources {
  region: FastRegion | null = null;
  /** From the posting of REG_MR until the key is known to be revoked, by the peer or by us. */
  mrValid = false;
}

/** `iser_fr_desc`: what one fast registration needs. */
export class RegistrationDescriptor {
  readonly resources = new RegistrationResources();
  /** Where T10-PI is supported, what it needs (`pi_ctx`). */
  protection: ProtectionContext | null = null;
  /** LOCAL_INV, for a peer that does not invalidate. */
  readonly invalidateRequest: SendWorkRequest;
  /** It is posted and not complete. */
  isInvalidating = false;

  constructor(invalidateRequest: SendWorkRequest) {
    this.invalidateRequest = invalidateRequest;
  }
}

/** `iser_fr_pool`: the registration descriptors of a connection. */
export class RegistrationPool {
  readonly free: RegistrationDescriptor[] = [];
  /** All there are, in use or not (`all_list`). */
  readonly all = new Set<RegistrationDescriptor>();
  /** The longest buffer that one descriptor registers. */
  bytesMax = 0;

  get size(): number {
    return this.all.size;
  }
}

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
  allocate(connection: RdmaConnection, commandsMax: number): void;
  /** `free_reg_res`. The queue pair is drained. */
  free(connection: RdmaConnection): void;
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
  getDescriptor(connection: RdmaConnection): RegistrationDescriptor | null;
  /** `reg_desc_put`. */
  putDescriptor(connection: RdmaConnection, descriptor: RegistrationDescriptor): void;
}
