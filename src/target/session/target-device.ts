import { assert } from '../../common/assert.js';
import type { Slab } from '../../common/slab.js';
import { Access, VerbsError } from '../../transport/verbs.js';
import type { MemoryRegion, ProtectionDomain, RdmaDevice } from '../../transport/verbs.js';
import { CHUNK_REGIONS_MAX } from './limits.js';
import type { ChunkAttachment, MemoryChunk } from '../../store/memory-chunk.js';

/**
 * One portal's use of a device: a protection domain, and the registrations of the buffer slabs. The first use of a
 * slab registers the whole slab, for local access only. The device checks an RDMA Read Response against its Read, so
 * no key of ours gives a peer write access.
 */
export class TargetDevice {
  readonly device: RdmaDevice;
  readonly domain: ProtectionDomain;
  readonly ordinal: number;
  /** By slab id. */
  readonly #regions: (MemoryRegion | undefined)[] = [];
  readonly #chunks = new Set<MemoryChunk>();
  #vector = 0;

  /** `ordinal`: the number of devices that the portal already has. */
  constructor(device: RdmaDevice, ordinal: number) {
    this.device = device;
    this.ordinal = ordinal;
    this.domain = device.allocateProtectionDomain();
  }

  /** The number of memory pieces that one RDMA Write can gather. */
  get sgesMax(): number {
    return this.device.attributes.sgesMax;
  }

  /** The registration of a slab of the buffer pool. */
  regionOf(slab: Slab): MemoryRegion {
    return (this.#regions[slab.id] ??= this.register(slab));
  }

  /** Registers a slab. The owner of the slab deregisters it. */
  register(slab: Slab): MemoryRegion {
    return this.domain.registerMemory({ slab, offset: 0, length: slab.length }, Access.localWrite);
  }

  /** The registration of a store's chunk, made on first use. Null when the device has no room. */
  regionOfChunk(chunk: MemoryChunk): MemoryRegion | null {
    const attachment = chunk.attachmentOf(this.ordinal);
    if (attachment === undefined) return this.#registerChunk(chunk);
    assert(attachment instanceof ChunkRegistration, 'a chunk with another attachment');
    return attachment.region;
  }

  /** The completion vector for the next connection. The vectors are used in turn. */
  nextVector(): number {
    return this.#vector++ % Math.max(1, this.device.attributes.completionVectors);
  }

  /** Frees the device's resources. All its connections have ended. */
  close(): void {
    for (const chunk of this.#chunks) chunk.detach(this.ordinal);
    for (const region of this.#regions) region?.deregister();
    this.#regions.length = 0;
    this.domain.deallocate();
  }

  #registerChunk(chunk: MemoryChunk): MemoryRegion | null {
    if (this.#chunks.size >= CHUNK_REGIONS_MAX) return null;
    try {
      const region = this.register(chunk.slab);
      this.#chunks.add(chunk);
      chunk.attach(this.ordinal, new ChunkRegistration(region, chunk, this.#chunks));
      return region;
    } catch (error) {
      if (error instanceof VerbsError) return null;
      throw error;
    }
  }
}

/** A chunk's registration with one device, as long as the chunk's memory is in use. */
class ChunkRegistration implements ChunkAttachment {
  readonly region: MemoryRegion;
  readonly #chunk: MemoryChunk;
  readonly #registered: Set<MemoryChunk>;

  constructor(region: MemoryRegion, chunk: MemoryChunk, registered: Set<MemoryChunk>) {
    this.region = region;
    this.#chunk = chunk;
    this.#registered = registered;
  }

  detach(): void {
    this.region.deregister();
    this.#registered.delete(this.#chunk);
  }
}
