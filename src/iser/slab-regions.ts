import type { Slab } from '../common/slab.js';
import type { MemoryRegion, ProtectionDomain } from '../transport/verbs.js';

/** Registrations of whole slabs in one protection domain, made on first use and found again by the slab's id. */
export class SlabRegions {
  readonly #protectionDomain: ProtectionDomain;
  readonly #access: number;
  /** By slab id: small numbers that count up, so an array; a slab that was never used leaves a hole. */
  readonly #regions: (MemoryRegion | undefined)[] = [];

  constructor(protectionDomain: ProtectionDomain, access: number) {
    this.#protectionDomain = protectionDomain;
    this.#access = access;
  }

  /** The region of the whole slab. @throws VerbsError when the device has no room for it. */
  get(slab: Slab): MemoryRegion {
    const known = this.#regions[slab.id];
    // A device may let a peer invalidate a region that it was not meant to; then it is made anew.
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
