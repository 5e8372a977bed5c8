import type { Slab } from '../common/slab.js';
import type { MemoryRegion, SendWorkRequest } from '../transport/verbs.js';
import { NO_MEMORY_KEY, Sge } from '../transport/verbs.js';
import type { ProtectionContext } from './protection.js';
import { RegistrationResources } from './registration-resources.js';

/** `iser_data_buf`: the memory of a command's data. Our scatter list is one span of a slab, or empty. */
export class DataBuffer {
  slab: Slab | null = null;
  offset = 0;
  dataLength = 0;
  /** Entries of the scatter list: 0 or 1. */
  size = 0;
  /** Entries that are mapped for the device; 0 while the buffer is not registered (`dma_nents`). */
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

/** `iser_mem_reg`: the keys and the address of a registered buffer. */
export class MemoryRegistration {
  readonly sge = new Sge();
  rkey = NO_MEMORY_KEY;
  /** The remote address of the buffer's first byte. */
  addressHigh = 0;
  addressLow = 0;
  /** The descriptor that fast registration took from the connection's pool (`mem_h`). */
  context: RegistrationDescriptor | null = null;

  /** Sets the remote address of `offset`, counted from the start of the slab that `region` registers. */
  setAddress(region: MemoryRegion, offset: number): void {
    const low = region.addressLow + (offset - region.offset);
    this.addressHigh = (region.addressHigh + Math.floor(low / TWO_32)) >>> 0;
    this.addressLow = low >>> 0;
  }
}

const TWO_32 = 0x1_0000_0000;

/** `iser_fr_desc`: the resources of one fast registration. */
export class RegistrationDescriptor {
  readonly resources = new RegistrationResources();
  /** The resources for T10-PI, if the connection supports it (`pi_ctx`). */
  protection: ProtectionContext | null = null;
  /** The LOCAL_INV request, for a peer that does not invalidate. */
  readonly invalidateRequest: SendWorkRequest;
  /** The LOCAL_INV is posted and incomplete. */
  isInvalidating = false;

  constructor(invalidateRequest: SendWorkRequest) {
    this.invalidateRequest = invalidateRequest;
  }
}

/** `iser_fr_pool`: the registration descriptors of a connection. */
export class RegistrationPool {
  readonly free: RegistrationDescriptor[] = [];
  /** All descriptors, used and unused (`all_list`). */
  readonly all = new Set<RegistrationDescriptor>();
  /** The longest buffer that one descriptor registers. */
  bytesMax = 0;

  get size(): number {
    return this.all.size;
  }
}
