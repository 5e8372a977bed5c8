import { assert } from '../../common/assert.js';
import { nextTurn } from '../../common/later.js';
import type { Fault } from '../rnic/fault.js';
import { Fault as FaultCode, requesterStatus } from '../rnic/fault.js';
import { RegionSpan } from '../rnic/placement.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import type { WireDriver } from '../rnic/wire-driver.js';
import type { SendSlot } from '../rnic/send-queue.js';
import { readSinkHigh, readSinkLow } from '../rnic/work-request.js';
import type { SendWorkRequest } from '../verbs.js';
import { WorkOpcode } from '../verbs.js';
import { DOORBELLS_PER_TURN } from './limits.js';

/** Doorbells of all links in the process since a link last waited for the event loop's next turn. */
let doorbellsAnswered = 0;

/** Called once, when the end is down. `reason` is null for an orderly end. */
export type LinkDownHandler = (reason: string | null) => void;

/**
 * One end of a connection in memory: the wire driver of its queue pair. Each request is executed at once on the
 * peer's queue pair: a Send, Write or Read is one copy from slab to slab. Both sides receive its completion before
 * the next request starts.
 */
export class LinkEnd implements WireDriver {
  readonly queuePair: SoftQueuePair;
  readonly #down: LinkDownHandler;
  readonly #span = new RegionSpan();
  #peer: LinkEnd | null = null;
  #isDown = false;
  #deferred = false;

  constructor(queuePair: SoftQueuePair, down: LinkDownHandler) {
    this.queuePair = queuePair;
    this.#down = down;
  }

  static join(one: LinkEnd, other: LinkEnd): void {
    one.#peer = other;
    other.#peer = one;
  }

  onSendWork(): void {
    if (this.#deferred) return;
    if (++doorbellsAnswered < DOORBELLS_PER_TURN) {
      this.#carryOut();
      return;
    }
    this.#deferred = true;
    nextTurn(() => {
      doorbellsAnswered = 0;
      this.#deferred = false;
      this.#carryOut();
    });
  }

  onQueuePairError(reason: string | null, fault: Fault): void {
    this.#goDown(reason, reason ?? 'the peer put its queue pair into the error state', fault);
  }

  /** Orderly end: executes the queued requests, then takes both ends down. */
  close(): void {
    this.#carryOut();
    this.#goDown(null, null, FaultCode.none);
  }

  /** Takes both ends down at once. */
  abort(peerReason: string): void {
    this.#goDown(null, peerReason, FaultCode.none);
  }

  #goDown(reason: string | null, peerReason: string | null, fault: Fault): void {
    if (this.#isDown) return;
    this.#isDown = true;
    this.queuePair.fail(fault);
    this.#down(reason);
    const peer = this.#peer;
    if (peer !== null) peer.#goDown(peerReason, reason, fault);
  }

  #carryOut(): void {
    const peer = this.#peer?.queuePair;
    if (peer === undefined) return;
    for (let slot = this.queuePair.takeSend(); slot !== null; slot = this.queuePair.takeSend()) {
      const fault = this.#carryOutOne(slot, peer);
      if (fault !== FaultCode.none) {
        this.queuePair.failSend(slot, requesterStatus(fault), fault);
        return;
      }
      if (!slot.isRead) this.queuePair.completeSend(slot);
    }
  }

  #carryOutOne(slot: SendSlot, peer: SoftQueuePair): Fault {
    const request = slot.posted;
    switch (request.opcode) {
      case WorkOpcode.rdmaWrite:
        return write(request, peer);
      case WorkOpcode.rdmaRead:
        return this.#read(slot, request, peer);
      default:
        return send(request, peer);
    }
  }

  #read(slot: SendSlot, request: SendWorkRequest, peer: SoftQueuePair): Fault {
    const length = request.sgeBytes;
    const span = this.#span;
    const { remoteKey, remoteAddressHigh, remoteAddressLow } = request;
    let fault = peer.beginRead(remoteKey, remoteAddressHigh, remoteAddressLow, length, span);
    if (fault !== FaultCode.none) return fault;
    const own = this.queuePair;
    fault = own.beginReadResponse(
      slot.sinkKey,
      readSinkHigh(request),
      readSinkLow(request),
      length,
    );
    if (fault === FaultCode.none && span.slab !== null) {
      const { bytes, view } = span.slab;
      fault = own.place(bytes, span.offset, span.offset + length, view);
    }
    peer.endRead();
    return fault === FaultCode.none ? own.endReadResponse(true) : fault;
  }
}

function send(request: SendWorkRequest, peer: SoftQueuePair): Fault {
  const length = request.sgeBytes;
  const withInvalidate = request.opcode === WorkOpcode.sendWithInvalidate;
  let fault = peer.beginSend(0, length);
  if (fault === FaultCode.none && withInvalidate) {
    fault = peer.checkInvalidate(request.invalidateKey);
  }
  if (fault === FaultCode.none) fault = placeAll(request, peer);
  if (fault !== FaultCode.none) return fault;
  return peer.endSend(length, withInvalidate, request.invalidateKey);
}

function write(request: SendWorkRequest, peer: SoftQueuePair): Fault {
  const { remoteKey, remoteAddressHigh, remoteAddressLow, sgeBytes } = request;
  let fault = peer.beginWrite(remoteKey, remoteAddressHigh, remoteAddressLow, sgeBytes);
  if (fault === FaultCode.none) fault = placeAll(request, peer);
  if (fault === FaultCode.none) peer.endWrite();
  return fault;
}

function placeAll(request: SendWorkRequest, peer: SoftQueuePair): Fault {
  for (let index = 0; index < request.sgeCount; index++) {
    const sge = request.sge(index);
    if (sge.length === 0) continue;
    assert(sge.region !== null, 'gather element without a region');
    const { bytes, view } = sge.region.slab;
    const fault = peer.place(bytes, sge.offset, sge.offset + sge.length, view);
    if (fault !== FaultCode.none) return fault;
  }
  return FaultCode.none;
}
