import type { Slab } from '../common/slab.js';
import { Access } from '../transport/verbs.js';
import type { MemoryRegion, ProtectionDomain, RdmaDevice } from '../transport/verbs.js';

/**
 * A device as one portal uses it: a protection domain, and the registrations of the buffer slabs. Slabs are
 * registered as a whole when first used, for local access only: what a peer's RDMA Read Response may touch is checked
 * against the Read that asked for it, so no key of ours lets anybody write here.
 */
export class TargetDevice {
  readonly device: RdmaDevice;
  readonly domain: ProtectionDomain;
  /** By slab id. */
  readonly #regions: (MemoryRegion | undefined)[] = [];
  #vector = 0;

  constructor(device: RdmaDevice) {
    this.device = device;
    this.domain = device.allocateProtectionDomain();
  }

  /** The registration of a slab of the buffer pool. */
  regionOf(slab: Slab): MemoryRegion {
    return (this.#regions[slab.id] ??= this.register(slab));
  }

  /** Registers a slab that its owner deregisters itself. */
  register(slab: Slab): MemoryRegion {
    return this.domain.registerMemory({ slab, offset: 0, length: slab.length }, Access.localWrite);
  }

  /** The completion vector for the next connection: each in turn. */
  nextVector(): number {
    return this.#vector++ % Math.max(1, this.device.attributes.completionVectors);
  }

  /** All connections of the device are gone by then. */
  close(): void {
    for (const region of this.#regions) region?.deregister();
    this.#regions.length = 0;
    this.domain.deallocate();
  }
}
