import { assert } from '../common/assert.js';
import { DataDirection } from '../common/data-direction.js';
import { BHS_BYTES } from '../iscsi/wire.js';
import { opcodeAt, paddedLength } from '../iscsi/wire.js';
import { PduOpcode } from '../iscsi/codes.js';
import { Access } from '../transport/verbs.js';
import type { WorkCompletion } from '../transport/verbs.js';
import type { ConnectionHost } from './connection-host.js';
import type { LoginDescriptor } from './descriptors.js';
import { TxDescriptor, txDescriptorBytes, TxType } from './descriptors.js';
import { controlOverrun, registrationRefused } from './errors.js';
import { CONTROL_DESCRIPTORS, ISER_SEND_DATA_BYTES_MAX } from './limits.js';
import type { DataIndex } from './task.js';
import { DATA_IN, DATA_OUT, IserTask } from './task.js';
import { encodeControlHeader, encodePlainHeader, IserControlHeader } from '../iscsi/iser-header.js';

/**
 * The sending half of a connection (iser_initiator.c): tasks, TX descriptors and their contents.
 *
 * The queue pair owns a descriptor until a completion covers its Send, which may be long after the command's
 * response. So there are more descriptors than tasks. When a command ends before its descriptor is covered, the task
 * takes a free descriptor, and the old one becomes free with its completion. The number of spare descriptors is the
 * limit of uncovered Sends, so one is always free.
 */
export class TransmitPath {
  readonly tasks: IserTask[] = [];
  readonly #connection: ConnectionHost;
  readonly #login: LoginDescriptor;
  readonly #freeCommand: TxDescriptor[] = [];
  readonly #freeControl: TxDescriptor[] = [];
  readonly #header = new IserControlHeader();
  /** Commands that wait for room in the send queue, in order. */
  #firstWaiting: IserTask | null = null;
  #lastWaiting: IserTask | null = null;

  constructor(connection: ConnectionHost, login: LoginDescriptor) {
    this.#connection = connection;
    this.#login = login;
  }

  /**
   * Makes `count` tasks and all descriptors.
   * @throws VerbsError when the device has no room
   */
  allocate(count: number): void {
    const connection = this.#connection;
    const { rdma } = connection;
    const spareCount = rdma.sizes.commandSendsMax;
    const commandCount = count + spareCount;
    const sent = (descriptor: TxDescriptor, completion: WorkCompletion): void =>
      rdma.sent(descriptor, completion);
    const registered = (completion: WorkCompletion): void => rdma.registrationFailed(completion);
    const make = (type: TxType, total: number, dataBytes: number): TxDescriptor[] => {
      const stride = txDescriptorBytes(dataBytes);
      const region = connection.registerOwn(stride * total, Access.none);
      return Array.from(
        { length: total },
        (_, index) => new TxDescriptor(type, region, index * stride, dataBytes, sent, registered),
      );
    };
    this.#freeCommand.push(...make(TxType.command, commandCount, 0));
    this.#freeControl.push(...make(TxType.control, CONTROL_DESCRIPTORS, ISER_SEND_DATA_BYTES_MAX));
    connection.device.registrationOps.allocate(rdma, count);
    for (let index = 0; index < count; index++) {
      this.tasks.push(new IserTask(connection, this.#takeCommandDescriptor()));
    }
  }

  /** For tests: the number of descriptors without a task and without an uncovered Send. */
  get freeDescriptorCount(): number {
    return this.#freeCommand.length;
  }

  /** `iser_send_control`. */
  sendControl(bhs: Uint8Array, data: Uint8Array): void {
    const connection = this.#connection;
    assert(bhs.length === BHS_BYTES, `BHS of ${bhs.length} bytes`);
    assert(data.length <= ISER_SEND_DATA_BYTES_MAX, `control PDU with ${data.length} bytes`);
    if (!connection.isUp) return;
    const descriptor = this.#controlDescriptorFor(bhs);
    if (descriptor === undefined) {
      connection.fail(controlOverrun(connection.peerName, CONTROL_DESCRIPTORS));
      return;
    }
    const dataBytes = paddedLength(data.length);
    const { bytes, view } = descriptor.slab;
    descriptor.start(dataBytes);
    encodePlainHeader(view, descriptor.offset);
    bytes.set(bhs, descriptor.bhsOffset);
    bytes.set(data, descriptor.dataOffset);
    for (let at = data.length; at < dataBytes; at++) bytes[descriptor.dataOffset + at] = 0;
    connection.rdma.postSend(descriptor);
  }

  /** `iser_send_command`. */
  sendCommand(task: IserTask): void {
    assert(!task.isActive, 'a command of this task is active');
    assert(
      task.immediateLength === 0 || task.immediateLength === task.dataLength,
      'immediate data is all of a write or nothing',
    );
    task.status = 'started';
    task.serial++;
    // A connection that is ending reports its end with terminateNotify.
    if (!this.#connection.isUp) return;
    if (this.#firstWaiting === null && this.#connection.rdma.hasRoomForCommand) {
      this.#postCommand(task);
    } else {
      this.#appendWaiting(task);
    }
  }

  /** `iser_task_rdma_finalize`; frees the task for another command. */
  finishTask(task: IserTask): void {
    if (!task.isActive) return;
    if (task.isWaiting) this.#removeWaiting(task);
    if (task.pendingGathers > 0 && this.#connection.isUp) this.#connection.abandonSend();
    this.#deactivate(task);
  }

  /** Call at the connection's end. When this returns, no command is active and no key is valid. */
  deactivateAll(): void {
    for (const task of this.tasks) {
      if (task.isWaiting) this.#removeWaiting(task);
      if (task.isActive) this.#deactivate(task);
    }
  }

  /** A completion covers this descriptor. */
  covered(descriptor: TxDescriptor): void {
    const { gatherTask } = descriptor;
    if (gatherTask !== null) {
      descriptor.gatherTask = null;
      gatherTask.pendingGathers--;
    }
    switch (descriptor.type) {
      case TxType.command:
        if (descriptor.owner === null) this.#freeCommand.push(descriptor);
        this.#postWaiting();
        break;
      case TxType.control:
        if (descriptor !== this.#login.request) this.#freeControl.push(descriptor);
        break;
    }
  }

  #controlDescriptorFor(bhs: Uint8Array): TxDescriptor | undefined {
    const view = new DataView(bhs.buffer, bhs.byteOffset, bhs.byteLength);
    if (opcodeAt(view, 0) !== PduOpcode.loginRequest) return this.#freeControl.pop();
    const { request } = this.#login;
    return request.isPosted ? undefined : request;
  }

  #postCommand(task: IserTask): void {
    try {
      this.#prepareCommand(task);
    } catch (error) {
      this.#connection.fail(registrationRefused(this.#connection.peerName, error));
      return;
    }
    task.status = 'sent';
    this.#connection.rdma.postSend(task.descriptor);
  }

  /**
   * `iser_prepare_read_cmd` and `iser_prepare_write_cmd`.
   * @throws VerbsError when the device has no room for the registration
   */
  #prepareCommand(task: IserTask): void {
    const { descriptor, slab, dataLength, immediateLength } = task;
    const header = this.#header;
    header.clear();
    descriptor.start(0);
    if (slab !== null && dataLength > 0 && task.direction === DataDirection.in) {
      this.#register(task, DATA_IN);
      const registration = task.registrations[DATA_IN];
      header.isReadStagValid = true;
      header.readStag = registration.rkey;
      header.readAddressHigh = registration.addressHigh;
      header.readAddressLow = registration.addressLow;
    } else if (slab !== null && dataLength > 0 && task.direction === DataDirection.out) {
      if (immediateLength === 0) {
        this.#register(task, DATA_OUT);
        const registration = task.registrations[DATA_OUT];
        header.isWriteStagValid = true;
        header.writeStag = registration.rkey;
        header.writeAddressHigh = registration.addressHigh;
        header.writeAddressLow = registration.addressLow;
      } else {
        // Immediate data is all of the write. The target has nothing to fetch, so it gets no key.
        const region = this.#connection.device.localRegions.get(slab);
        task.data[DATA_OUT].set(slab, task.slabOffset, dataLength);
        descriptor.gather(task, region, task.slabOffset, immediateLength);
      }
    }
    encodeControlHeader(descriptor.slab.view, descriptor.offset, header);
  }

  #register(task: IserTask, index: DataIndex): void {
    const { slab, slabOffset, dataLength } = task;
    assert(slab !== null, 'command without data');
    task.data[index].set(slab, slabOffset, dataLength);
    this.#connection.device.registrationOps.register(task, index);
  }

  #deactivate(task: IserTask): void {
    task.status = 'idle';
    this.#connection.device.registrationOps.unregister(task);
    for (const buffer of task.data) buffer.clear();
    if (!task.descriptor.isPosted) return;
    task.descriptor.owner = null;
    task.descriptor = this.#takeCommandDescriptor();
    task.descriptor.owner = task;
  }

  #takeCommandDescriptor(): TxDescriptor {
    const descriptor = this.#freeCommand.pop();
    assert(descriptor !== undefined, 'more descriptors in use than Sends can be uncovered');
    return descriptor;
  }

  #postWaiting(): void {
    while (this.#connection.isUp && this.#connection.rdma.hasRoomForCommand) {
      const task = this.#firstWaiting;
      if (task === null) return;
      this.#removeWaiting(task);
      this.#postCommand(task);
    }
  }

  #appendWaiting(task: IserTask): void {
    task.isWaiting = true;
    task.waitingBefore = this.#lastWaiting;
    if (this.#lastWaiting === null) this.#firstWaiting = task;
    else this.#lastWaiting.waitingAfter = task;
    this.#lastWaiting = task;
  }

  #removeWaiting(task: IserTask): void {
    const { waitingBefore, waitingAfter } = task;
    if (waitingBefore === null) this.#firstWaiting = waitingAfter;
    else waitingBefore.waitingAfter = waitingAfter;
    if (waitingAfter === null) this.#lastWaiting = waitingBefore;
    else waitingAfter.waitingBefore = waitingBefore;
    task.isWaiting = false;
    task.waitingBefore = null;
    task.waitingAfter = null;
  }
}
