import { assert } from '../common/assert.js';
import type { ProtectionDomain, RdmaDevice } from '../transport/verbs.js';
import { Access, VerbsError } from '../transport/verbs.js';
import { CompletionContext } from './completion.js';
import { COMMANDS_MAX, CONNECTIONS_PER_COMPLETION_QUEUE, queueSizesFor } from './limits.js';
import { FastRegistration } from './registration-fast.js';
import { SlabPoolRegistration } from './registration-pool.js';
import type { RegistrationOps } from './registration.js';
import { SlabRegions } from './slab-regions.js';

/** `auto` takes fast registration where the device has it. */
export type RegistrationScheme = 'auto' | 'fast' | 'pool';

export interface IserDeviceOptions {
  /** CPUs that could handle completions at the same time. */
  readonly onlineCpus: number;
  readonly registration: RegistrationScheme;
}

/** `iser_device`: an RDMA device in use. */
export class IserDevice {
  readonly rdmaDevice: RdmaDevice;
  readonly protectionDomain: ProtectionDomain;
  /** How many contexts connections are spread over: min(online CPUs, completion vectors). */
  readonly contextsUsed: number;
  /** More than `contextsUsed` only when those are full. */
  readonly contexts: CompletionContext[] = [];
  readonly registrationOps: RegistrationOps;
  /** Connections may let the target invalidate their keys (`remote_inv_sup`). */
  readonly remoteInvalidate: boolean;
  /** Slabs for local use only: what Sends gather from. */
  readonly localRegions: SlabRegions;
  /** Dominated by open connections. */
  referenceCount = 0;
  readonly #slabPool: SlabPoolRegistration | null;

  /** @throws VerbsError when the device has no room, or not the scheme that was asked for. */
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

  /** The context that a new queue pair uses: the least used one that has room for its completions. */
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

  /** Frees the device's resources. No connection uses it any more. */
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
