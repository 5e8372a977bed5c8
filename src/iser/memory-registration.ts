import type { Slab } from '../common/slab.js';
import type { MemoryRegion, SendWorkRequest } from '../transport/verbs.js';
import { Sge } from '../transport/verbs.js';
import type { ProtectionContext } from './protection.js';
import { RegistrationResources } from './registration-resources.js';

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
