import { assert } from '../common/assert.js';
import type { Clock, Timer } from '../common/clock.js';
import { Slab } from '../common/slab.js';
import type {
  DatamoverConnection,
  DatamoverHandler,
  DatamoverLimits,
  DatamoverTask,
} from '../iscsi/datamover.js';
import { opcodeAt } from '../iscsi/wire.js';
import { PduOpcode } from '../iscsi/codes.js';
import type { Logger } from '../observe/log.js';
import type {
  ConnectionEvent,
  ConnectionId,
  ConnectionParameters,
  MemoryRegion,
  PortalAddress,
  RdmaTransport,
  WorkCompletion,
} from '../transport/verbs.js';
import { Access, workStatusName } from '../transport/verbs.js';
import type { RxDescriptor, TxDescriptor } from './descriptors.js';
import { LOGIN_DESCRIPTOR_BYTES, LoginDescriptor, TxType } from './descriptors.js';
import type { IserDevice } from './device.js';
import type { IserConnectionError } from './errors.js';
import {
  connectCancelled,
  connectFailure,
  connectTimedOut,
  deviceRemoved,
  disconnected,
  resourcesRefused,
  sendAbandoned,
  workFailed,
} from './errors.js';
import {
  commandsThatFit,
  CONTROL_PDUS_MAX,
  queueSizesFor,
  ISER_READ_DEPTH_MAX,
  ISER_RECEIVE_DATA_BYTES,
  ISER_SEND_DATA_BYTES_MAX,
} from './limits.js';
import type { ConnectionHost } from './connection-host.js';
import type { IserModule, ModuleConnection } from './module.js';
import type { RdmaConnectionListener } from './rdma-connection.js';
import { RdmaConnection } from './rdma-connection.js';
import { ReceivePath } from './receive.js';
import type { IserConnectionState } from './state.js';
import { Completion, IserStateMachine } from './state.js';
import { IserTask } from './task.js';
import type { TargetProfile } from './target-profile.js';
import type { TeardownSteps } from './teardown.js';
import { Teardown } from './teardown.js';
import { TransmitPath } from './transmit.js';
import {
  decodeCmFlags,
  encodeCmPrivateData,
  SEND_WITH_INVALIDATE_NOT_SUPPORTED,
  ZERO_BASED_ADDRESS_NOT_SUPPORTED,
} from '../iscsi/iser-header.js';

export interface IserConnectionOptions {
  readonly transport: RdmaTransport;
  readonly address: PortalAddress;
  readonly clock: Clock;
  readonly log: Logger;
  readonly commandsMax: number;
  readonly profile: TargetProfile;
  readonly connectTimeoutMs: number;
  readonly disconnectTimeoutMs: number;
}

const NO_LIMITS: DatamoverLimits = {
  transferBytesMax: 0,
  countsDataIn: false,
  immediateBytesMax: 0,
  controlDataBytesMax: 0,
  receiveDataBytesMax: 0,
  tasksMax: 0,
  controlPdusMax: 0,
  readBytesOutstandingMax: 0,
  writeBytesOutstandingMax: 0,
  receivesPerAbort: 0,
};

/**
 * `iser_conn`: one connection from its first event to its last. state.ts has the states and their edges. transmit.ts
 * and receive.ts have the data path. This class has the steps that happen once per connection.
 *
 * Connection-manager events establish the connection: address resolved (the device is known), route resolved (the
 * queue pair is made, and the connection is requested), established. teardown.ts ends the connection in one way for
 * every cause: disconnect, drain, make all tasks inactive, notify iSCSI, release everything in the kernel's order.
 */
export class IserConnection
  implements DatamoverConnection, RdmaConnectionListener, ConnectionHost, ModuleConnection
{
  readonly peerName: string;
  /** Both sides support Send with Invalidate (`snd_w_inv`). */
  sendWithInvalidate = false;
  readonly #module: IserModule;
  readonly #options: IserConnectionOptions;
  readonly #log: Logger;
  readonly #machine: IserStateMachine;
  readonly #teardown: Teardown;
  /** `up_completion`: the attempt to connect has succeeded or failed. */
  readonly #upCompletion = new Completion();
  readonly #memory: MemoryRegion[] = [];
  #id: ConnectionId | null = null;
  #device: IserDevice | null = null;
  #rdma: RdmaConnection | null = null;
  #transmit: TransmitPath | null = null;
  #receive: ReceivePath | null = null;
  #limits = NO_LIMITS;
  #timer: Timer | null = null;
  #isAllocated = false;

  constructor(module: IserModule, options: IserConnectionOptions) {
    this.#module = module;
    this.#options = options;
    this.peerName = `${options.address.host}:${options.address.port}`;
    this.#log = options.log.child({ conn: this.peerName });
    this.#machine = new IserStateMachine((state) => this.#log.debug({ state }, 'iSER connection'));
    const steps: TeardownSteps = {
      disconnect: () => this.#id?.disconnect(),
      drain: () => this.#rdma?.queuePair?.drain() ?? Promise.resolve(),
      deactivateTasks: () => this.#transmit?.deactivateAll(),
      release: () => this.#release(),
    };
    this.#teardown = new Teardown(steps, options.clock, options.disconnectTimeoutMs);
  }

  get state(): IserConnectionState {
    return this.#machine.state;
  }

  get isUp(): boolean {
    return this.#machine.state === 'up';
  }

  get limits(): DatamoverLimits {
    return this.#limits;
  }

  get rdma(): RdmaConnection {
    assert(this.#rdma !== null, 'iSER connection without a device');
    return this.#rdma;
  }

  get device(): IserDevice {
    assert(this.#device !== null, 'iSER connection without a device');
    return this.#device;
  }

  get handler(): DatamoverHandler {
    const { handler } = this.#teardown;
    assert(handler !== null, 'iSER connection without a handler');
    return handler;
  }

  set handler(handler: DatamoverHandler) {
    this.#teardown.handler = handler;
  }

  get transmit(): TransmitPath {
    assert(this.#transmit !== null, 'iSER connection that was never up');
    return this.#transmit;
  }

  get receive(): ReceivePath {
    assert(this.#receive !== null, 'iSER connection that was never up');
    return this.#receive;
  }

  // ---- establishment ----

  /**
   * `iser_connect`. Resolves when the connection is up.
   * @throws IserConnectionError when the connection cannot be established; every resource is released then
   */
  async connect(): Promise<void> {
    const { transport, address, clock, connectTimeoutMs } = this.#options;
    this.#module.addConnection(this);
    try {
      this.#id = transport.createId((event) => this.#onEvent(event));
    } catch (cause) {
      this.#machine.enter('down');
      this.#module.removeConnection(this);
      this.#teardown.released.complete();
      throw resourcesRefused(this.peerName, cause);
    }
    this.#machine.enter('pending');
    this.#timer = clock.after(connectTimeoutMs, () =>
      this.#connectFailed(connectTimedOut(address, connectTimeoutMs)),
    );
    this.#establish(() => this.#id?.resolveAddress(address, connectTimeoutMs));
    await happened(this.#upCompletion);
    if (this.#teardown.error === null) return;
    await happened(this.#teardown.released);
    throw this.#teardown.error;
  }

  #onEvent(event: ConnectionEvent): void {
    switch (event.type) {
      case 'addressResolved':
        this.#establish(() => this.#addressHandler());
        break;
      case 'routeResolved':
        this.#establish(() => this.#routeHandler());
        break;
      case 'established':
        this.#establish(() => this.#connectedHandler(event.parameters));
        break;
      case 'disconnected':
      case 'deviceRemoval':
        this.#goneHandler(event);
        break;
      case 'addressError':
      case 'routeError':
      case 'unreachable':
      case 'rejected':
      case 'connectError':
        this.#connectFailed(
          connectFailure(event, this.#options.address, this.#options.transport.name),
        );
        break;
      case 'connectRequest':
        assert(false, 'connection request on an id that does not listen');
    }
  }

  /** Runs one step of the connection's establishment. An error of the device ends the attempt. */
  #establish(step: () => void): void {
    if (this.state !== 'pending') return;
    try {
      step();
    } catch (cause) {
      this.#connectFailed(resourcesRefused(this.peerName, cause));
    }
  }

  /** `iser_addr_handler`: the device is known, so the connection's limits are known. */
  #addressHandler(): void {
    const id = this.#id;
    assert(id !== null && id.device !== null, 'resolved address without a device');
    const device = this.#module.acquireDevice(id.device);
    this.#device = device;
    const { workRequestsMax } = id.device.attributes;
    const { profile, commandsMax } = this.#options;
    const wanted = Math.min(commandsMax, profile.tasksMax);
    const commands = commandsThatFit(wanted, workRequestsMax);
    if (commands === 0) throw new Error(`its queues hold ${workRequestsMax} work requests`);
    this.#rdma = new RdmaConnection(id, device, queueSizesFor(commands), this);
    this.#limits = {
      transferBytesMax: device.registrationOps.bytesMax,
      countsDataIn: device.registrationOps.countsPlacement,
      immediateBytesMax: ISER_SEND_DATA_BYTES_MAX,
      controlDataBytesMax: ISER_SEND_DATA_BYTES_MAX,
      receiveDataBytesMax: ISER_RECEIVE_DATA_BYTES,
      tasksMax: commands,
      controlPdusMax: CONTROL_PDUS_MAX,
      readBytesOutstandingMax: profile.readBytesOutstandingMax,
      writeBytesOutstandingMax: profile.writeBytesOutstandingMax,
      receivesPerAbort: profile.receivesPerAbort,
    };
    id.resolveRoute(this.#options.connectTimeoutMs);
  }

  /** `iser_route_handler`. */
  #routeHandler(): void {
    const { rdma, device } = this;
    rdma.createQueuePair();
    const { readDepthResponderMax, readDepthInitiatorMax } = device.rdmaDevice.attributes;
    const flags = device.remoteInvalidate
      ? ZERO_BASED_ADDRESS_NOT_SUPPORTED
      : ZERO_BASED_ADDRESS_NOT_SUPPORTED | SEND_WITH_INVALIDATE_NOT_SUPPORTED;
    rdma.id.connect({
      privateData: encodeCmPrivateData(flags),
      responderResources: Math.min(readDepthResponderMax, ISER_READ_DEPTH_MAX),
      // We never read from a target. Linux asks for 1. Some peers take 0 for "any".
      initiatorDepth: Math.min(readDepthInitiatorMax, 1),
    });
  }

  /** `iser_connected_handler`. */
  #connectedHandler(parameters: ConnectionParameters): void {
    const flags = decodeCmFlags(parameters.privateData);
    this.sendWithInvalidate =
      this.device.remoteInvalidate && (flags & SEND_WITH_INVALIDATE_NOT_SUPPORTED) === 0;
    if (parameters.initiatorDepth === 0) {
      this.#log.warn(
        'the target grants no RDMA Reads; writes longer than the immediate data will fail',
      );
    }
    const { rdma } = this;
    const access = Access.localWrite;
    const login = new LoginDescriptor(
      this.registerOwn(LOGIN_DESCRIPTOR_BYTES, access),
      (descriptor, completion) => rdma.sent(descriptor, completion),
      (descriptor, completion) => this.#received(descriptor, completion),
    );
    this.#transmit = new TransmitPath(this, login);
    this.#receive = new ReceivePath(this, login);
    this.#cancelTimer();
    rdma.isUsable = true;
    this.#machine.enter('up');
    this.#upCompletion.complete();
  }

  // ---- the datamover interface ----

  sendControl(bhs: Uint8Array, data: Uint8Array): void {
    if (!this.isUp) return;
    const { transmit, receive } = this;
    const view = new DataView(bhs.buffer, bhs.byteOffset, bhs.byteLength);
    if (opcodeAt(view, 0) === PduOpcode.loginRequest) receive.postLogin();
    transmit.sendControl(bhs, data);
  }

  allocateTasks(count: number): readonly DatamoverTask[] {
    assert(count >= 0 && count <= this.#limits.tasksMax, `${count} tasks are more than tasksMax`);
    const { transmit, receive } = this;
    assert(!this.#isAllocated, 'tasks are allocated once');
    this.#isAllocated = true;
    transmit.allocate(count);
    receive.allocate();
    return transmit.tasks;
  }

  enterFullFeature(): void {
    if (this.isUp) this.receive.postRing();
  }

  sendCommand(task: DatamoverTask): void {
    const { transmit, receive } = this;
    assert(receive.isRingPosted || !this.isUp, 'command before full feature phase');
    transmit.sendCommand(this.#own(task));
  }

  finishTask(task: DatamoverTask): void {
    this.transmit.finishTask(this.#own(task));
  }

  async terminate(): Promise<void> {
    if (this.state === 'pending') this.#connectFailed(connectCancelled(this.#options.address));
    if (this.isUp) this.#terminate(null);
    await happened(this.#teardown.released);
  }

  // ---- what the two paths and the tasks call ----

  placedBytes(task: IserTask): number {
    return this.device.registrationOps.placedBytes(task);
  }

  /** Ends the connection because of `error`. The first one counts. */
  fail(error: IserConnectionError): void {
    if (this.isUp) this.#terminate(error);
  }

  /**
   * A command was aborted while its data was being sent. Its owner may reuse the buffer at once, so no further byte
   * of the buffer may leave: the target could execute the command with wrong data, which is silent corruption.
   */
  abandonSend(): void {
    this.rdma.queuePair?.setError();
    this.fail(sendAbandoned(this.peerName));
  }

  /**
   * Registers memory of the connection; the connection frees it at its end.
   * @throws VerbsError when the device has no room
   */
  registerOwn(lengthBytes: number, access: number): MemoryRegion {
    const slab = new Slab(lengthBytes);
    const span = { slab, offset: 0, length: lengthBytes };
    const region = this.device.protectionDomain.registerMemory(span, access);
    this.#memory.push(region);
    return region;
  }

  onCovered(descriptor: TxDescriptor): void {
    const { transmit, receive } = this;
    // Control PDUs count because of the last login request: its response waits for it even when the ring is posted.
    const mayBeAwaited = descriptor.gatherTask !== null || descriptor.type !== TxType.command;
    transmit.covered(descriptor);
    if (mayBeAwaited) receive.resume();
  }

  onInvalidated(): void {
    this.receive.resume();
  }

  onWorkFailed(what: string, completion: WorkCompletion): void {
    this.fail(workFailed(this.peerName, what, workStatusName(completion.status)));
  }

  #received(descriptor: RxDescriptor, completion: WorkCompletion): void {
    this.receive.received(descriptor, completion);
  }

  #own(task: DatamoverTask): IserTask {
    assert(task instanceof IserTask && task.connection === this, 'a task of another connection');
    return task;
  }

  // ---- end ----

  /** `iser_connect_error`: the attempt has failed. iSCSI does not use the connection yet. */
  #connectFailed(error: IserConnectionError): void {
    if (this.state !== 'pending') return;
    this.#cancelTimer();
    this.#machine.enter('terminating');
    this.#teardown.peerGone();
    this.#teardown.begin(error);
    this.#upCompletion.complete();
  }

  /** `iser_conn_terminate`. */
  #terminate(error: IserConnectionError | null): void {
    // A peer that closes the connection may have a good reason, such as a logout. The session logs a loss.
    const level = error?.code === 'iser-disconnected' ? 'info' : 'warn';
    if (error !== null) this.#log[level]({ code: error.code }, error.message);
    this.#machine.enter('terminating');
    this.rdma.isUsable = false;
    this.#teardown.begin(error);
  }

  /** The peer has disconnected, or the device was removed (`iser_disconnected_handler`). */
  #goneHandler(event: Extract<ConnectionEvent, { type: 'disconnected' | 'deviceRemoval' }>): void {
    if (this.state === 'pending') {
      const { address, transport } = this.#options;
      this.#connectFailed(connectFailure(event, address, transport.name));
      return;
    }
    this.#teardown.peerGone();
    this.fail(
      event.type === 'deviceRemoval'
        ? deviceRemoved(this.peerName)
        : disconnected(this.peerName, event.reason),
    );
  }

  /** `iser_conn_release`, in its order: queue pair, registrations and memory, device, connection id. */
  #release(): void {
    this.#machine.enter('down');
    if (this.#rdma !== null) {
      this.#rdma.destroyQueuePair();
      this.device.registrationOps.free(this.#rdma);
    }
    for (const region of this.#memory) region.deregister();
    this.#memory.length = 0;
    if (this.#device !== null) this.#module.releaseDevice(this.#device);
    this.#id?.destroy();
    this.#module.removeConnection(this);
  }

  #cancelTimer(): void {
    this.#timer?.cancel();
    this.#timer = null;
  }
}

function happened(completion: Completion): Promise<void> {
  return new Promise((resolve) => completion.whenDone(resolve));
}
