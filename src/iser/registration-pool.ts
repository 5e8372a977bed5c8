import { assert } from '../common/assert.js';
import type { ProtectionDomain } from '../transport/verbs.js';
import { Access } from '../transport/verbs.js';
import { ISER_TRANSFER_BYTES_MAX } from './limits.js';
import type { RegistrationOps } from './registration.js';
import { SlabRegions } from './slab-regions.js';
import type { DataIndex, IserTask } from './task.js';

/**
 * A pool of regions registered up front, for devices on which user space has no fast registration (what the FMR pool
 * was in the kernel). The regions are those of the slabs that the data lives in: each is registered when its first
 * command comes, found again by the slab's id, and deregistered with the device. A command registers nothing; it
 * advertises its slab's key and its own address in it.
 *
 * What this exposes: a target that has seen a key may read and write the whole slab, which holds other requests'
 * data, and may do so after its command is over, until the device is let go. Each target that shares the device
 * is trusted with all I/O data of the process. Where that is not acceptable, a device with fast registration is
 * needed. What a target has placed cannot be told from what others have, so whoever lends a buffer for a read clears it.
 */
export class SlabPoolRegistration implements RegistrationOps {
  readonly name = 'pool';
  /** Shared regions must not be revoked by one connection's peer, so it is told not to try. */
  readonly remoteInvalidate = false;
  readonly bytesMax = ISER_TRANSFER_BYTES_MAX;
  readonly countsPlacement = false;
  readonly #regions: SlabRegions;

  constructor(protectionDomain: ProtectionDomain) {
    this.#regions = new SlabRegions(
      protectionDomain,
      Access.localWrite | Access.remoteWrite | Access.remoteRead,
    );
  }

  allocate(): void {
    /* The slabs come with the commands. */
  }

  free(): void {
    /* The regions are the device's, and serve its other connections. */
  }

  register(task: IserTask, index: DataIndex): void {
    const buffer = task.data[index];
    assert(buffer.slab !== null, 'registration of a command without data');
    const region = this.#regions.get(buffer.slab);
    const registration = task.registrations[index];
    registration.sge.set(region, buffer.offset, buffer.dataLength);
    registration.rkey = region.rkey;
    registration.setAddress(region, buffer.offset);
    buffer.mappedCount = 1;
  }

  placedBytes(): number {
    return 0;
  }

  remotelyInvalidated(): boolean {
    return false;
  }

  isRevoked(): boolean {
    return true;
  }

  unregister(task: IserTask): void {
    for (const buffer of task.data) buffer.mappedCount = 0;
  }

  getDescriptor(): null {
    return null;
  }

  putDescriptor(): void {
    assert(false, 'the region pool has no registration descriptors');
  }

  /** The device goes; nobody uses a region any more. */
  deregisterAll(): void {
    this.#regions.deregisterAll();
  }
}
