import { assert } from '../common/assert.js';
import { Ring } from '../common/ring.js';
import type {
  ConnectionId,
  QueuePair,
  SendWorkRequest,
  WorkCompletion,
} from '../transport/verbs.js';
import { WorkStatus } from '../transport/verbs.js';
import type { CompletionContext } from './completion.js';
import type { RxDescriptor, TxDescriptor } from './descriptors.js';
import { TxType } from './descriptors.js';
import type { IserDevice } from './device.js';
import type { QueueSizes } from './limits.js';
import { CONTROL_DESCRIPTORS, SIGNAL_COUNT } from './limits.js';
import type { RegistrationPool } from './memory-registration.js';
import type { RegistrationHost } from './registration-host.js';

/** Receives the events of an {@link RdmaConnection}. Set once. */
export interface RdmaConnectionListener {
  /** A completion covers this descriptor. The connection owns the descriptor again. */
  onCovered(descriptor: TxDescriptor): void;
  /** A LOCAL_INV has been executed. */
  onInvalidated(): void;
  /** A work request failed by its own fault, not because the queue pair was already in the error state. */
  onWorkFailed(what: string, completion: WorkCompletion): void;
}

/**
 * `ib_conn`: a connection's RDMA resources and the accounting of its queues. A completion of a signalled Send covers
 * every earlier request, too. So one command Send in SIGNAL_COUNT is signalled, and uncovered descriptors wait in a
 * queue in posting order. Always signalled are control PDUs, Sends that gather from a command's data (the data may be
 * reused only after the Send is complete), and the Send that takes the last place in the send queue (otherwise no
 * completion would free a place).
 */
export class RdmaConnection implements RegistrationHost {
  readonly device: IserDevice;
  readonly sizes: QueueSizes;
  id: ConnectionId;
  queuePair: QueuePair | null = null;
  completionContext: CompletionContext | null = null;
  registrationPool: RegistrationPool | null = null;
  /** The device supports T10-PI. */
  readonly piSupport: boolean;
  /** The number of posted, incomplete receives. */
  postedReceiveCount = 0;
  /** The number of command Sends since the last signalled Send. */
  signalCount = 0;
  /** The connection is up, so work may be posted. */
  isUsable = false;
  readonly #listener: RdmaConnectionListener;
  readonly #uncovered: Ring<TxDescriptor>;
  #commandSends = 0;

  constructor(
    id: ConnectionId,
    device: IserDevice,
    sizes: QueueSizes,
    listener: RdmaConnectionListener,
  ) {
    this.id = id;
    this.device = device;
    this.sizes = sizes;
    this.piSupport = device.rdmaDevice.attributes.integrityHandover;
    this.#listener = listener;
    this.#uncovered = new Ring(sizes.commandSendsMax + CONTROL_DESCRIPTORS + 1);
  }

  /**
   * `iser_create_ib_conn_res`.
   * @throws VerbsError when the device has no room
   */
  createQueuePair(): void {
    const { sendRequestsMax, receiveRequestsMax } = this.sizes;
    const context = this.device.attachQueuePair(sendRequestsMax + receiveRequestsMax);
    this.completionContext = context;
    this.queuePair = this.id.createQueuePair({
      protectionDomain: this.device.protectionDomain,
      completionQueue: context.completionQueue,
      sendRequestsMax,
      receiveRequestsMax,
    });
  }

  /** `iser_free_ib_conn_res`. The caller guarantees that nothing is posted. */
  destroyQueuePair(): void {
    this.queuePair?.destroy();
    this.queuePair = null;
    const { sendRequestsMax, receiveRequestsMax } = this.sizes;
    this.completionContext?.detach(sendRequestsMax + receiveRequestsMax);
    this.completionContext = null;
  }

  /** The number of descriptors that no completion covers yet. */
  get uncoveredCount(): number {
    return this.#uncovered.length;
  }

  get hasRoomForCommand(): boolean {
    return this.#commandSends < this.sizes.commandSendsMax;
  }

  /** `iser_post_send`: posts a descriptor's chain. For a command the caller has checked {@link hasRoomForCommand}. */
  postSend(descriptor: TxDescriptor): void {
    const { queuePair } = this;
    assert(queuePair !== null && this.isUsable, 'send on an iSER connection that is not up');
    let isSignaled = descriptor.type !== TxType.command || descriptor.gatherTask !== null;
    if (descriptor.type === TxType.command) {
      this.#commandSends++;
      this.signalCount++;
      isSignaled ||= this.signalCount >= SIGNAL_COUNT || !this.hasRoomForCommand;
    }
    if (isSignaled) this.signalCount = 0;
    descriptor.sendRequest.signaled = isSignaled;
    descriptor.isPosted = true;
    this.#uncovered.push(descriptor);
    queuePair.postSend(descriptor.firstRequest);
  }

  /** The Send of `descriptor` has completed. */
  sent(descriptor: TxDescriptor, completion: WorkCompletion): void {
    if (completion.status !== WorkStatus.success) {
      this.#failed(`sending a ${descriptor.typeName}`, completion);
      return;
    }
    for (;;) {
      const covered = this.#uncovered.shift();
      assert(covered !== undefined, 'completion of a Send that was not posted');
      if (covered.type === TxType.command) this.#commandSends--;
      covered.isPosted = false;
      this.#listener.onCovered(covered);
      if (covered === descriptor) return;
    }
  }

  /** Posts a LOCAL_INV; each command has room for one. */
  postInvalidate(request: SendWorkRequest): void {
    assert(this.queuePair !== null && this.isUsable, 'LOCAL_INV on a connection that is not up');
    this.queuePair.postSend(request);
  }

  /** A LOCAL_INV has completed. */
  invalidated(completion: WorkCompletion): void {
    if (completion.status === WorkStatus.success) this.#listener.onInvalidated();
    else this.#failed('invalidating a memory key', completion);
  }

  /** A REG_MR has completed. It is unsignalled, so a completion means a failure. */
  registrationFailed(completion: WorkCompletion): void {
    this.#failed('registering memory', completion);
  }

  /** `iser_post_recvm`: posts `count` receives from index `first` on, as one chain. The ring is cyclic. */
  postReceives(ring: readonly RxDescriptor[], first: number, count: number): void {
    const { queuePair } = this;
    assert(queuePair !== null, 'receive without a queue pair');
    let next: RxDescriptor | undefined;
    for (let index = count - 1; index >= 0; index--) {
      const descriptor = ring[(first + index) % ring.length];
      assert(descriptor !== undefined, 'receive ring has no such descriptor');
      descriptor.request.next = next?.request ?? null;
      next = descriptor;
    }
    if (next === undefined) return;
    this.postedReceiveCount += count;
    queuePair.postReceive(next.request);
  }

  /** A receive has completed. True when the receive holds a message. */
  received(completion: WorkCompletion): boolean {
    this.postedReceiveCount--;
    if (completion.status === WorkStatus.success) return true;
    this.#failed('receiving a PDU', completion);
    return false;
  }

  #failed(what: string, completion: WorkCompletion): void {
    // A flushed request has another cause, which a completion or a connection event reports.
    if (completion.status === WorkStatus.flushed || !this.isUsable) return;
    this.#listener.onWorkFailed(what, completion);
  }
}
