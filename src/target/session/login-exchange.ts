import { Slab } from '../../common/slab.js';
import { encodeLoginResponse } from '../../iscsi/response-wire.js';
import { LOGIN_RECEIVE_BYTES, encodePlainHeader } from '../../iscsi/iser-header.js';
import { WorkStatus } from '../../transport/verbs.js';
import type { MemoryRegion, WorkCompletion } from '../../transport/verbs.js';
import type { Channel } from './channel.js';
import { TargetRxDescriptor, TargetTxDescriptor } from './descriptors.js';
import type { LoginResponder } from './login.js';
import type { TargetDevice } from './target-device.js';

/** The calls of a login exchange to its connection. */
export interface LoginExchangeEvents {
  onLoginReceived(rx: TargetRxDescriptor, completion: WorkCompletion): void;
  onLoginSent(): void;
}

/** The two buffers of a login: one receive and one response, used one at a time, as in Linux targets. */
export class LoginExchange {
  readonly #slab = new Slab(2 * LOGIN_STRIDE_BYTES);
  readonly #region: MemoryRegion;
  readonly #rx: TargetRxDescriptor;
  readonly #tx: TargetTxDescriptor;

  constructor(device: TargetDevice, events: LoginExchangeEvents) {
    const slab = this.#slab;
    const region = device.register(slab);
    this.#region = region;
    this.#rx = new TargetRxDescriptor(
      { slab, region, offset: 0 },
      LOGIN_RECEIVE_BYTES,
      (rx, completion) => events.onLoginReceived(rx, completion),
    );
    const memory = { slab, region, offset: LOGIN_STRIDE_BYTES };
    this.#tx = new TargetTxDescriptor(memory, (_, { status }) => {
      if (status === WorkStatus.success) events.onLoginSent();
    });
  }

  receive(channel: Channel): void {
    channel.receive(this.#rx.request);
  }

  /** Sends the response of the login responder. */
  respond(channel: Channel, { response, text }: LoginResponder): void {
    const tx = this.#tx;
    encodePlainHeader(tx.view, tx.offset);
    encodeLoginResponse(tx.view, tx.bhsOffset, response);
    tx.slab.bytes.set(text, tx.dataOffset);
    tx.prepare(text.length);
    channel.send(tx.request);
  }

  release(): void {
    this.#region.deregister();
  }
}

const LOGIN_STRIDE_BYTES = (LOGIN_RECEIVE_BYTES + 7) & ~7;
