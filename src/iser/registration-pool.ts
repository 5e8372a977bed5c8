import { assert } from '../common/assert.js';
import type { ProtectionDomain } from '../transport/verbs.js';
import { Access } from '../transport/verbs.js';
import { ISER_TRANSFER_BYTES_MAX } from './limits.js';
import type { RegistrationOps } from './registration.js';
import { SlabRegions } from './slab-regions.js';
import type { DataIndex, IserTask } from './task.js';

/**
 * A pool of long-lived regions, for devices on which user space has no fast registration (formerly the FMR pool in
 * the kernel). Each slab with data has one region. The first command that uses the slab registers the region, later
 * commands find it by the slab's id, and the device's end deregisters it. A command advertises the key of its slab
 * and the address of its data in the slab.
 *
 * Security: a target with a key may read and write the whole slab, which holds data of other requests, even after its
 * own command has ended, until the device is released. So every target of the device is trusted with all I/O data of
 * the process. If that is not acceptable, use a device with fast registration. The pool cannot tell which bytes a
 * target has placed, so the owner of a read buffer clears the buffer first.
 */
export class SlabPoolRegistration implements RegistrationOps {
  readonly name = 'pool';
  /** Connections share regions, so a peer must not revoke them. The peer is told not to invalidate. */
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
    /* The commands bring the slabs. */
  }

  free(): void {
    /* The regions belong to the device and serve its other connections. */
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

  /** Call at the device's end, when no connection uses a region. */
  deregisterAll(): void {
    this.#regions.deregisterAll();
  }
}
