import type { Slab } from '../common/slab.js';
import type { MemoryRegion, ProtectionDomain } from '../transport/verbs.js';

/**
 * Registrations of whole slabs in one protection domain. The first use makes a registration; later uses find it by
 * the slab's id.
 */
export class SlabRegions {
  readonly #protectionDomain: ProtectionDomain;
  readonly #access: number;
  /** By slab id. Ids are small, increasing numbers, so an array fits. An unused slab leaves a hole. */
  readonly #regions: (MemoryRegion | undefined)[] = [];

  constructor(protectionDomain: ProtectionDomain, access: number) {
    this.#protectionDomain = protectionDomain;
    this.#access = access;
  }

  /**
   * The region of the whole slab.
   * @throws VerbsError when the device has no room for the region
   */
  get(slab: Slab): MemoryRegion {
    const known = this.#regions[slab.id];
    // A device may let a peer invalidate a region against our intent. The region is then registered again.
    if (known !== undefined && known.isValid) return known;
    known?.deregister();
    const span = { slab, offset: 0, length: slab.length };
    const region = this.#protectionDomain.registerMemory(span, this.#access);
    this.#regions[slab.id] = region;
    return region;
  }

  deregisterAll(): void {
    for (const region of this.#regions) region?.deregister();
    this.#regions.length = 0;
  }
}
