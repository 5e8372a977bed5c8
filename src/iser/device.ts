import { assert } from '../common/assert.js';
import type { ProtectionDomain, RdmaDevice } from '../transport/verbs.js';
import { Access, VerbsError } from '../transport/verbs.js';
import { CompletionContext } from './completion.js';
import { COMMANDS_MAX, CONNECTIONS_PER_COMPLETION_QUEUE, queueSizesFor } from './limits.js';
import { FastRegistration } from './registration-fast.js';
import { SlabPoolRegistration } from './registration-pool.js';
import type { RegistrationOps } from './registration.js';
import { SlabRegions } from './slab-regions.js';

/** `auto` selects fast registration if the device supports it, else the pool. */
export type RegistrationScheme = 'auto' | 'fast' | 'pool';

export interface IserDeviceOptions {
  /** The CPUs that can handle completions at the same time. */
  readonly onlineCpus: number;
  readonly registration: RegistrationScheme;
}

/** `iser_device`: an RDMA device in use. */
export class IserDevice {
  readonly rdmaDevice: RdmaDevice;
  readonly protectionDomain: ProtectionDomain;
  /** The number of contexts that share the connections: min(online CPUs, completion vectors). */
  readonly contextsUsed: number;
  /** Has more than `contextsUsed` entries only when the first `contextsUsed` are full. */
  readonly contexts: CompletionContext[] = [];
  readonly registrationOps: RegistrationOps;
  /** A connection may let the target invalidate its keys (`remote_inv_sup`). */
  readonly remoteInvalidate: boolean;
  /** Regions of slabs for local access only, from which Sends gather. */
  readonly localRegions: SlabRegions;
  /** `refcount`: the number of connections that use the device. {@link IserModule} maintains it. */
  referenceCount = 0;
  readonly #slabPool: SlabPoolRegistration | null;

  /** @throws VerbsError when the device has no room, or does not support the scheme */
  constructor(rdmaDevice: RdmaDevice, options: IserDeviceOptions) {
    this.rdmaDevice = rdmaDevice;
    const { fastRegistration, completionVectors } = rdmaDevice.attributes;
    const isFast =
      options.registration === 'auto' ? fastRegistration : options.registration === 'fast';
    if (isFast && !fastRegistration) {
      throw new VerbsError(
        'no-fast-registration',
        `${rdmaDevice.name} has no fast registration; choose the registration pool`,
        { device: rdmaDevice.name },
      );
    }
    this.protectionDomain = rdmaDevice.allocateProtectionDomain();
    this.localRegions = new SlabRegions(this.protectionDomain, Access.none);
    if (isFast) {
      this.#slabPool = null;
      this.registrationOps = new FastRegistration(this.protectionDomain);
    } else {
      this.#slabPool = new SlabPoolRegistration(this.protectionDomain);
      this.registrationOps = this.#slabPool;
    }
    this.remoteInvalidate = this.registrationOps.remoteInvalidate;
    this.contextsUsed = Math.max(1, Math.min(options.onlineCpus, completionVectors));
    for (let count = 0; count < this.contextsUsed; count++) this.#addContext();
  }

  /** The context for a new queue pair: the least used context with room for `completions`. */
  attachQueuePair(completions: number): CompletionContext {
    let chosen: CompletionContext | null = null;
    for (const context of this.contexts) {
      if (!context.hasRoomFor(completions)) continue;
      if (chosen === null || context.activeQps < chosen.activeQps) chosen = context;
    }
    chosen ??= this.#addContext();
    chosen.attach(completions);
    return chosen;
  }

  /** Frees the device's resources. The caller guarantees that no connection uses the device. */
  free(): void {
    assert(this.referenceCount === 0, 'iSER device freed while in use');
    for (const context of this.contexts) context.completionQueue.destroy();
    this.contexts.length = 0;
    this.#slabPool?.deregisterAll();
    this.localRegions.deregisterAll();
    this.protectionDomain.deallocate();
  }

  #addContext(): CompletionContext {
    const { sendRequestsMax, receiveRequestsMax } = queueSizesFor(COMMANDS_MAX);
    const depth = (sendRequestsMax + receiveRequestsMax) * CONNECTIONS_PER_COMPLETION_QUEUE;
    const vector = this.contexts.length % this.contextsUsed;
    const context = new CompletionContext(this.rdmaDevice, vector, depth);
    this.contexts.push(context);
    return context;
  }
}
