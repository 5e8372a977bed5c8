import { assert } from '../common/assert.js';
import { Ring } from '../common/ring.js';
import type { Slab } from '../common/slab.js';
import { PduOpcode } from '../iscsi/codes.js';
import { dataSegmentLengthAt, opcodeAt, taskTagAt } from '../iscsi/wire.js';
import { Access } from '../transport/verbs.js';
import type { MemoryKey, MemoryRegion, WorkCompletion } from '../transport/verbs.js';
import type { ConnectionHost } from './connection-host.js';
import type { LoginDescriptor } from './descriptors.js';
import { RxDescriptor, rxDescriptorBytes } from './descriptors.js';
import { protocolBroken } from './errors.js';
import { ISER_RECEIVE_DATA_BYTES } from './limits.js';
import { problemWithInvalidate, problemWithReceived } from './received-pdu.js';
import { IserTask } from './task.js';
import { ISER_HEADER_BYTES, ISER_HEADERS_BYTES } from '../iscsi/iser-header.js';

/**
 * The receiving half of a connection: the receive for login, the ring for the full feature phase, and the checks of
 * each PDU before iSCSI receives it.
 *
 * iSCSI receives the PDUs in their order of arrival. A response waits, and delays later PDUs, until the Sends that
 * gather from its command's data are complete and the target's key for that data is revoked. After the response the
 * owner may reuse the command's buffer.
 *
 *     ring   [ posted | posted | arrived | arrived | given back | given back ]   posted again a batch at a time,
 *                                 ▲ next to go up                 ▲ head         from head on
 */
export class ReceivePath {
  readonly #connection: ConnectionHost;
  readonly #login: LoginDescriptor;
  #ring: RxDescriptor[] = [];
  /** The index of the next receive to post (`rx_desc_head`). */
  #head = 0;
  #givenBack = 0;
  #arrived: Ring<RxDescriptor>;
  #isLoginPosted = false;
  #isRingPosted = false;
  #isGoingUp = false;

  constructor(connection: ConnectionHost, login: LoginDescriptor) {
    this.#connection = connection;
    this.#login = login;
    this.#arrived = new Ring(1);
  }

  /**
   * Makes the ring.
   * @throws VerbsError when the device has no room
   */
  allocate(): void {
    const connection = this.#connection;
    const { ringReceives } = connection.rdma.sizes;
    const stride = rxDescriptorBytes(ISER_RECEIVE_DATA_BYTES);
    const region: MemoryRegion = connection.registerOwn(stride * ringReceives, Access.localWrite);
    const received = (descriptor: RxDescriptor, completion: WorkCompletion): void =>
      this.received(descriptor, completion);
    this.#ring = Array.from(
      { length: ringReceives },
      (_, index) =>
        new RxDescriptor(
          region,
          index * stride,
          ISER_HEADERS_BYTES + ISER_RECEIVE_DATA_BYTES,
          received,
        ),
    );
    this.#arrived = new Ring(ringReceives + 1);
  }

  /** Call before each login request (`iser_post_recvl`), unless the ring is already posted. */
  postLogin(): void {
    if (this.#isLoginPosted || this.#isRingPosted) return;
    this.#isLoginPosted = true;
    this.#connection.rdma.postReceives([this.#login.response], 0, 1);
  }

  /** Call before the last login request (`iser_post_rx_bufs`). Its response still uses the receive for login. */
  postRing(): void {
    assert(this.#ring.length > 0, 'full feature phase without tasks');
    if (this.#isRingPosted) return;
    this.postLogin();
    this.#isRingPosted = true;
    this.#connection.rdma.postReceives(this.#ring, 0, this.#ring.length);
  }

  get isRingPosted(): boolean {
    return this.#isRingPosted;
  }

  /** A receive has completed. */
  received(descriptor: RxDescriptor, completion: WorkCompletion): void {
    const connection = this.#connection;
    if (!connection.rdma.received(completion) || !connection.isUp) return;
    descriptor.arrived(completion);
    this.#arrived.push(descriptor);
    this.resume();
  }

  /** Passes arrived PDUs to iSCSI, until a PDU has to wait. */
  resume(): void {
    if (this.#isGoingUp) return;
    this.#isGoingUp = true;
    try {
      while (this.#connection.isUp) {
        const descriptor = this.#arrived.peek();
        if (descriptor === undefined || !this.#isReady(descriptor)) break;
        this.#arrived.shift();
        this.#handUp(descriptor);
        this.#giveBack(descriptor);
      }
    } finally {
      this.#isGoingUp = false;
    }
  }

  #handUp(descriptor: RxDescriptor): void {
    const { view, bytes } = slabOf(descriptor);
    const { handler } = this.#connection;
    const bhsOffset = descriptor.offset + ISER_HEADER_BYTES;
    const dataOffset = descriptor.offset + ISER_HEADERS_BYTES;
    const dataLength = dataSegmentLengthAt(view, bhsOffset);
    descriptor.task = null;
    if (descriptor !== this.#login.response) {
      handler.controlNotify(view, bhsOffset, dataOffset, dataLength);
      return;
    }
    // The handler may send the next request inside the call. The receive for its response must be posted before that,
    // so the handler reads a copy.
    const pdu = Uint8Array.from(bytes.subarray(bhsOffset, dataOffset + dataLength));
    this.#isLoginPosted = false;
    handler.controlNotify(new DataView(pdu.buffer), 0, dataOffset - bhsOffset, dataLength);
  }

  /** False when the PDU has to wait, or when the PDU has ended the connection. */
  #isReady(descriptor: RxDescriptor): boolean {
    if (!descriptor.isChecked) {
      const problem = this.#check(descriptor);
      if (problem !== null) {
        this.#connection.fail(protocolBroken(this.#connection.peerName, problem));
        return false;
      }
      descriptor.isChecked = true;
    }
    if (descriptor === this.#login.response) return !this.#login.request.isPosted;
    const task = taskOf(descriptor);
    // While the response waited, the command may have been aborted and the task reused.
    if (task === null || !task.isActive || task.serial !== descriptor.taskSerial) return true;
    return this.#connection.device.registrationOps.isRevoked(task) && task.pendingGathers === 0;
  }

  #check(descriptor: RxDescriptor): string | null {
    const { offset, byteLength, withInvalidate, invalidatedKey } = descriptor;
    const { view } = slabOf(descriptor);
    const problem = problemWithReceived(view, offset, byteLength);
    if (problem !== null) return problem;
    const bhsOffset = offset + ISER_HEADER_BYTES;
    if (opcodeAt(view, bhsOffset) === PduOpcode.scsiResponse) {
      const task = this.#connection.handler.taskByTag(taskTagAt(view, bhsOffset));
      if (task !== null) {
        assert(task instanceof IserTask, 'a task of another datamover');
        descriptor.task = task;
        descriptor.taskSerial = task.serial;
      }
    }
    if (!withInvalidate) return null;
    const notAllowed = problemWithInvalidate(view, offset, this.#connection.sendWithInvalidate);
    if (notAllowed !== null) return notAllowed;
    return this.#checkInvalidatedKey(taskOf(descriptor), invalidatedKey);
  }

  /** `iser_check_remote_inv`: the target may revoke only the key that the answered command advertised. */
  #checkInvalidatedKey(task: IserTask | null, key: MemoryKey): string | null {
    if (task === null || !task.isActive) {
      return 'it invalidated a memory key for a command that is not outstanding';
    }
    const { registrationOps } = this.#connection.device;
    if (registrationOps.remotelyInvalidated(task, key)) return null;
    return 'it invalidated a memory key that its command did not advertise';
  }

  #giveBack(descriptor: RxDescriptor): void {
    if (descriptor === this.#login.response) return;
    this.#givenBack++;
    const { rdma, isUp } = this.#connection;
    if (!isUp || this.#givenBack < rdma.sizes.receiveBatch) return;
    rdma.postReceives(this.#ring, this.#head, this.#givenBack);
    this.#head = (this.#head + this.#givenBack) % this.#ring.length;
    this.#givenBack = 0;
  }
}

function slabOf({ request }: RxDescriptor): Slab {
  assert(request.sge.region !== null, 'receive without a region');
  return request.sge.region.slab;
}

function taskOf({ task }: RxDescriptor): IserTask | null {
  assert(task === null || task instanceof IserTask, 'a task of another datamover');
  return task;
}
