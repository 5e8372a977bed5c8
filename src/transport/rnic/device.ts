import { randomBytes } from 'node:crypto';
import { assert } from '../../common/assert.js';
import {
  COMPLETION_QUEUE_DEPTH_MAX,
  FAST_REGISTRATION_BYTES_MAX,
  READ_DEPTH_MAX,
  SGES_MAX,
  WORK_REQUESTS_MAX,
} from '../limits.js';
import type {
  CompletionQueue,
  CompletionQueueOptions,
  DeviceAttributes,
  FastRegion,
  MemoryRegion,
  MemorySpan,
  ProtectionDomain,
  QueuePairOptions,
  RdmaDevice,
} from '../verbs.js';
import { VerbsError } from '../verbs.js';
import { SoftCompletionQueue } from './completion-queue.js';
import { SoftQueuePair } from './queue-pair.js';
import { SoftFastRegion, SoftMemoryRegion } from './region.js';
import { RegionTable } from './region-table.js';

/** The default attributes of a soft RNIC. A driver may lower each limit, or name the device. */
export const softDeviceAttributes: Omit<DeviceAttributes, 'nodeGuid'> = {
  workRequestsMax: WORK_REQUESTS_MAX,
  sgesMax: SGES_MAX,
  readDepthResponderMax: READ_DEPTH_MAX,
  readDepthInitiatorMax: READ_DEPTH_MAX,
  fastRegistration: true,
  fastRegistrationBytesMax: FAST_REGISTRATION_BYTES_MAX,
  remoteInvalidate: true,
  countsPlacement: true,
  integrityHandover: false,
  completionVectors: 1,
};

/** An RDMA device in software: a table of memory keys, and the queues that use it. */
export class SoftDevice implements RdmaDevice {
  readonly name: string;
  readonly attributes: DeviceAttributes;
  readonly regions = new RegionTable();

  constructor(name: string, overrides: Partial<DeviceAttributes> = {}) {
    this.name = name;
    this.attributes = { nodeGuid: randomGuid(), ...softDeviceAttributes, ...overrides };
  }

  allocateProtectionDomain(): ProtectionDomain {
    return new SoftProtectionDomain(this);
  }

  createCompletionQueue(options: CompletionQueueOptions): CompletionQueue {
    const { depth, vector } = options;
    if (vector < 0 || vector >= this.attributes.completionVectors) {
      throw new VerbsError(
        'completion-vector',
        `The device has ${this.attributes.completionVectors} completion vectors, and no vector ${vector}.`,
        { vector, depthMax: COMPLETION_QUEUE_DEPTH_MAX },
      );
    }
    return new SoftCompletionQueue(depth);
  }

  /**
   * For the connection ids of a driver.
   * @throws VerbsError for queues above the device's limits
   */
  createQueuePair(options: QueuePairOptions): SoftQueuePair {
    const { protectionDomain, sendRequestsMax, receiveRequestsMax } = options;
    assert(
      protectionDomain instanceof SoftProtectionDomain && protectionDomain.device === this,
      'protection domain of another device',
    );
    const { workRequestsMax } = this.attributes;
    if (sendRequestsMax > workRequestsMax || receiveRequestsMax > workRequestsMax) {
      throw new VerbsError(
        'queue-size',
        `The device's queues hold ${workRequestsMax} work requests; ${sendRequestsMax} and ${receiveRequestsMax} were asked for.`,
        { workRequestsMax, sendRequestsMax, receiveRequestsMax },
      );
    }
    protectionDomain.hold();
    return new SoftQueuePair(this.regions, options, () => protectionDomain.release());
  }
}

class SoftProtectionDomain implements ProtectionDomain {
  readonly device: SoftDevice;
  #users = 0;
  #deallocated = false;
  readonly #release = (): void => this.release();

  constructor(device: SoftDevice) {
    this.device = device;
  }

  registerMemory(source: MemorySpan, access: number): MemoryRegion {
    this.#requireAllocated();
    const { regions } = this.device;
    const region = new SoftMemoryRegion(this, regions, source, access, this.#release);
    this.hold();
    return region;
  }

  allocateFastRegion(bytesMax: number): FastRegion {
    this.#requireAllocated();
    const { fastRegistration, fastRegistrationBytesMax } = this.device.attributes;
    if (!fastRegistration) {
      throw new VerbsError(
        'no-fast-registration',
        `The RDMA device ${this.device.name} has no fast registration.`,
      );
    }
    if (!(bytesMax > 0 && bytesMax <= fastRegistrationBytesMax)) {
      throw new VerbsError(
        'fast-region-length',
        `A fast registration covers 1 to ${fastRegistrationBytesMax} bytes, not ${bytesMax}.`,
        { bytesMax },
      );
    }
    const region = new SoftFastRegion(this, this.device.regions, bytesMax, this.#release);
    this.hold();
    return region;
  }

  /** @throws VerbsError while regions or queue pairs use the domain */
  deallocate(): void {
    if (this.#users > 0) {
      throw new VerbsError(
        'protection-domain-busy',
        `The protection domain has ${this.#users} regions and queue pairs; free them first.`,
        { users: this.#users },
      );
    }
    this.#deallocated = true;
  }

  hold(): void {
    this.#users++;
  }

  release(): void {
    this.#users--;
  }

  #requireAllocated(): void {
    if (!this.#deallocated) return;
    throw new VerbsError('protection-domain-gone', 'The protection domain was deallocated.');
  }
}

/** A random EUI-64 with the locally administered bit set, in the kernel's notation: four groups of four digits. */
function randomGuid(): string {
  const bytes = randomBytes(8);
  bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
  return bytes.toString('hex').replace(/(.{4})(?=.)/g, '$1:');
}
