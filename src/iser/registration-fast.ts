import { assert } from '../common/assert.js';
import type {
  FastRegion,
  MemoryKey,
  ProtectionDomain,
  WorkCompletion,
} from '../transport/verbs.js';
import { Access, SendWorkRequest, WorkOpcode, WorkStatus } from '../transport/verbs.js';
import { ISER_TRANSFER_BYTES_MAX } from './limits.js';
import { ProtectionContext } from './protection.js';
import type { RegistrationHost } from './registration-host.js';
import type { RegistrationOps } from './registration.js';
import { RegistrationDescriptor, RegistrationPool } from './memory-registration.js';
import type { DataIndex, IserTask } from './task.js';
import { DATA_IN } from './task.js';

/**
 * Fast registration (`iser_fast_reg_mr`). A command's chain is a REG_MR with a fresh key, and the Send that
 * advertises the key. The key gives access to the command's own bytes, in the command's direction, and to nothing
 * else. The key ends in one of three ways:
 *
 * - The target's response is a Send with Invalidate: the key is already revoked.
 * - The response is a plain Send: the region still needs a local invalidation. The kernel delays that to the next
 *   command's chain, and the target can reach the buffer until then. Here LOCAL_INV is posted at once, and the
 *   response waits until LOCAL_INV has been executed (as in nvme-rdma), because the owner may reuse the buffer after
 *   the response.
 * - There is no response (the command is aborted): the region is deregistered and replaced. This takes effect at
 *   once, even if the REG_MR has not been executed yet.
 */
export class FastRegistration implements RegistrationOps {
  readonly name = 'fast';
  readonly remoteInvalidate: boolean;
  readonly bytesMax: number;
  readonly countsPlacement: boolean;
  readonly #protectionDomain: ProtectionDomain;

  constructor(protectionDomain: ProtectionDomain) {
    const { remoteInvalidate, fastRegistrationBytesMax, countsPlacement } =
      protectionDomain.device.attributes;
    this.#protectionDomain = protectionDomain;
    this.remoteInvalidate = remoteInvalidate;
    this.countsPlacement = countsPlacement;
    this.bytesMax = Math.min(ISER_TRANSFER_BYTES_MAX, fastRegistrationBytesMax);
  }

  allocate(connection: RegistrationHost, commandsMax: number): void {
    const pool = new RegistrationPool();
    pool.bytesMax = this.bytesMax;
    connection.registrationPool = pool;
    for (let count = 0; count < commandsMax; count++) this.#addDescriptor(connection, pool);
  }

  free(connection: RegistrationHost): void {
    const pool = connection.registrationPool;
    if (pool === null) return;
    for (const descriptor of pool.all) regionOf(descriptor).deregister();
    connection.registrationPool = null;
  }

  register(task: IserTask, index: DataIndex): void {
    const { rdma } = task.connection;
    const buffer = task.data[index];
    const registration = task.registrations[index];
    const descriptor = this.getDescriptor(rdma);
    const { resources } = descriptor;
    const { slab, offset, dataLength } = buffer;
    assert(slab !== null && resources.region !== null, 'registration of a command without data');
    assert(!resources.mrValid, 'registration of a region that is still valid');
    registration.context = descriptor;
    registration.sge.set(resources.region, offset, dataLength);
    registration.rkey = resources.region.nextKey();
    // The region has a fixed address of its own, so the address is known before the REG_MR is executed.
    registration.addressHigh = resources.region.addressHigh;
    registration.addressLow = resources.region.addressLow;
    const request = task.descriptor.prependWorkRequest();
    request.opcode = WorkOpcode.registerMemory;
    request.signaled = false;
    request.fastRegion = resources.region;
    request.registerSlab = slab;
    request.registerOffset = offset;
    request.registerLength = dataLength;
    request.registerAccess =
      index === DATA_IN ? Access.localWrite | Access.remoteWrite : Access.remoteRead;
    request.registerKey = registration.rkey;
    resources.mrValid = true;
    buffer.mappedCount = 1;
  }

  placedBytes(task: IserTask): number {
    const { context } = task.registrations[DATA_IN];
    // A command that reads nothing has registered nothing.
    return context === null ? 0 : regionOf(context).placedBytes;
  }

  remotelyInvalidated(task: IserTask, key: MemoryKey): boolean {
    for (const registration of task.registrations) {
      const { context, rkey } = registration;
      if (context === null || !context.resources.mrValid || rkey !== key) continue;
      context.resources.mrValid = false;
      return true;
    }
    return false;
  }

  isRevoked(task: IserTask): boolean {
    let isRevoked = true;
    for (const registration of task.registrations) {
      const descriptor = registration.context;
      if (descriptor === null || !descriptor.resources.mrValid) continue;
      isRevoked = false;
      if (descriptor.isInvalidating) continue;
      descriptor.isInvalidating = true;
      descriptor.invalidateRequest.invalidateKey = registration.rkey;
      task.connection.rdma.postInvalidate(descriptor.invalidateRequest);
    }
    return isRevoked;
  }

  unregister(task: IserTask): void {
    const { rdma } = task.connection;
    for (const registration of task.registrations) {
      const descriptor = registration.context;
      if (descriptor === null) continue;
      registration.context = null;
      if (descriptor.resources.mrValid) this.#replace(rdma, descriptor);
      else this.putDescriptor(rdma, descriptor);
    }
    for (const buffer of task.data) buffer.mappedCount = 0;
  }

  getDescriptor(connection: RegistrationHost): RegistrationDescriptor {
    const descriptor = poolOf(connection).free.pop();
    assert(descriptor !== undefined, 'more registrations than commands');
    return descriptor;
  }

  putDescriptor(connection: RegistrationHost, descriptor: RegistrationDescriptor): void {
    poolOf(connection).free.push(descriptor);
  }

  /** Ends a key without an invalidation. The region, and a LOCAL_INV that is posted for it, are not used again. */
  #replace(connection: RegistrationHost, descriptor: RegistrationDescriptor): void {
    regionOf(descriptor).deregister();
    const pool = poolOf(connection);
    pool.all.delete(descriptor);
    // A connection that is ending registers nothing more.
    if (connection.isUsable) this.#addDescriptor(connection, pool);
  }

  #addDescriptor(connection: RegistrationHost, pool: RegistrationPool): void {
    const request = new SendWorkRequest((completion) => invalidated(completion), 0);
    const descriptor = new RegistrationDescriptor(request);
    request.opcode = WorkOpcode.localInvalidate;
    descriptor.resources.region = this.#protectionDomain.allocateFastRegion(pool.bytesMax);
    if (connection.piSupport) descriptor.protection = new ProtectionContext();
    pool.all.add(descriptor);
    pool.free.push(descriptor);

    function invalidated(completion: WorkCompletion): void {
      descriptor.isInvalidating = false;
      if (completion.status === WorkStatus.success) descriptor.resources.mrValid = false;
      connection.invalidated(completion);
    }
  }
}

function regionOf({ resources }: RegistrationDescriptor): FastRegion {
  assert(resources.region !== null, 'registration descriptor without a region');
  return resources.region;
}

/** It is there from the first task of the connection until all are finished. */
function poolOf({ registrationPool }: RegistrationHost): RegistrationPool {
  assert(registrationPool !== null, 'registration on a connection without a pool');
  return registrationPool;
}
