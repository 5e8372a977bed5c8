import { assert } from '../../common/assert.js';
import type { NopOutPdu, TextRequestPdu } from '../../iscsi/request-wire.js';
import {
  LogoutResponsePdu,
  NopInPdu,
  RejectPdu,
  TaskManagementResponsePdu,
  TextResponsePdu,
  encodeLogoutResponse,
  encodeNopIn,
  encodeReject,
  encodeTaskManagementResponse,
  encodeTextResponse,
} from '../../iscsi/response-wire.js';
import { BHS_BYTES, RESERVED_TAG } from '../../iscsi/wire.js';
import { encodePlainHeader } from '../../iscsi/iser-header.js';
import type { Channel } from './channel.js';
import { TargetTxDescriptor } from './descriptors.js';
import type { DescriptorMemory, TargetRxDescriptor } from './descriptors.js';
import { CONTROL_RESPONSES, TARGET_SEND_DATA_BYTES_MAX } from './limits.js';
import type { TargetWindow } from './target-window.js';
import type { TargetTextExchange } from './text-exchange.js';

/** What {@link ControlResponses} needs from the session. */
export interface ControlResponsesContext {
  readonly channel: Channel;
  readonly window: TargetWindow;
  /** The memory of response `index`. */
  readonly memory: (index: number) => DescriptorMemory;
  /** A descriptor is free. */
  readonly freed: () => void;
}

/** The responses to all PDUs except SCSI commands, from their own pool. */
export class ControlResponses {
  readonly #context: ControlResponsesContext;
  readonly #idle: TargetTxDescriptor[];
  /** The callbacks for responses that have left, by descriptor. */
  readonly #afterwards = new Map<TargetTxDescriptor, () => void>();
  readonly #nopIn = new NopInPdu();
  readonly #taskManagement = new TaskManagementResponsePdu();
  readonly #text = new TextResponsePdu();
  readonly #logout = new LogoutResponsePdu();
  readonly #reject = new RejectPdu();
  /** Task management responses that wait for a free descriptor. */
  readonly #late: (() => void)[] = [];

  constructor(context: ControlResponsesContext) {
    this.#context = context;
    this.#idle = Array.from(
      { length: CONTROL_RESPONSES },
      (_, index) => new TargetTxDescriptor(context.memory(index), (tx) => this.#sent(tx)),
    );
  }

  get hasIdle(): boolean {
    return this.#idle.length > 0;
  }

  /** Answers a ping, with at most the data that every initiator can receive. */
  nopIn(request: NopOutPdu, rx: TargetRxDescriptor): void {
    const tx = this.#take();
    const pdu = this.#nopIn;
    pdu.initiatorTaskTag = request.initiatorTaskTag;
    pdu.targetTransferTag = RESERVED_TAG;
    pdu.lunHigh = request.lunHigh;
    pdu.lunLow = request.lunLow;
    pdu.dataSegmentLength = Math.min(rx.dataLength, TARGET_SEND_DATA_BYTES_MAX);
    const dataEnd = rx.dataOffset + pdu.dataSegmentLength;
    rx.slab.bytes.copy(tx.slab.bytes, tx.dataOffset, rx.dataOffset, dataEnd);
    this.#context.window.stamp(pdu);
    encodeNopIn(tx.view, tx.bhsOffset, pdu);
    this.#send(tx, pdu.dataSegmentLength);
  }

  /** Pings the initiator. The NOP-Out in answer has the same tag. */
  ping(): void {
    if (!this.hasIdle) return;
    const tx = this.#take();
    const pdu = this.#nopIn;
    pdu.initiatorTaskTag = RESERVED_TAG;
    // Every tag except the reserved one requests an answer. At most one ping is outstanding.
    pdu.targetTransferTag = 1;
    pdu.lunHigh = 0;
    pdu.lunLow = 0;
    pdu.dataSegmentLength = 0;
    this.#context.window.stampUnsolicited(pdu);
    encodeNopIn(tx.view, tx.bhsOffset, pdu);
    this.#send(tx, 0);
  }

  /** `sent` is called when the response has left. */
  taskManagement(initiatorTaskTag: number, response: number, sent: () => void): void {
    if (!this.hasIdle) {
      this.#late.push(() => this.taskManagement(initiatorTaskTag, response, sent));
      return;
    }
    const tx = this.#take();
    const pdu = this.#taskManagement;
    pdu.initiatorTaskTag = initiatorTaskTag;
    pdu.response = response;
    this.#context.window.stamp(pdu);
    encodeTaskManagementResponse(tx.view, tx.bhsOffset, pdu);
    this.#afterwards.set(tx, sent);
    this.#send(tx, 0);
  }

  text(request: TextRequestPdu, exchange: TargetTextExchange): void {
    const tx = this.#take();
    const pdu = this.#text;
    const { piece, isFinal, continues, targetTransferTag } = exchange;
    pdu.initiatorTaskTag = request.initiatorTaskTag;
    pdu.lunHigh = request.lunHigh;
    pdu.lunLow = request.lunLow;
    pdu.final = isFinal;
    pdu.continues = continues;
    pdu.targetTransferTag = targetTransferTag;
    pdu.dataSegmentLength = piece.length;
    tx.slab.bytes.set(piece, tx.dataOffset);
    this.#context.window.stamp(pdu);
    encodeTextResponse(tx.view, tx.bhsOffset, pdu);
    this.#send(tx, piece.length);
  }

  /** `sent` is called when the response has left. */
  logout(initiatorTaskTag: number, response: number, sent: () => void): void {
    const tx = this.#take();
    const pdu = this.#logout;
    pdu.initiatorTaskTag = initiatorTaskTag;
    pdu.response = response;
    this.#context.window.stamp(pdu);
    encodeLogoutResponse(tx.view, tx.bhsOffset, pdu);
    this.#afterwards.set(tx, sent);
    this.#send(tx, 0);
  }

  /** RFC 7143 11.17: the data segment is the header of the rejected PDU. */
  reject(rx: TargetRxDescriptor, reason: number): void {
    const tx = this.#take();
    const pdu = this.#reject;
    pdu.reason = reason;
    pdu.dataSegmentLength = BHS_BYTES;
    this.#context.window.stamp(pdu);
    encodeReject(tx.view, tx.bhsOffset, pdu);
    rx.slab.bytes.copy(tx.slab.bytes, tx.dataOffset, rx.bhsOffset, rx.bhsOffset + BHS_BYTES);
    this.#send(tx, BHS_BYTES);
  }

  #take(): TargetTxDescriptor {
    const tx = this.#idle.pop();
    assert(tx !== undefined, 'no idle response');
    return tx;
  }

  #send(tx: TargetTxDescriptor, dataLength: number): void {
    encodePlainHeader(tx.view, tx.offset);
    tx.prepare(dataLength);
    this.#context.channel.send(tx.request);
  }

  #sent(tx: TargetTxDescriptor): void {
    this.#idle.push(tx);
    const afterwards = this.#afterwards.get(tx);
    this.#afterwards.delete(tx);
    afterwards?.();
    this.#late.shift()?.();
    this.#context.freed();
  }
}
