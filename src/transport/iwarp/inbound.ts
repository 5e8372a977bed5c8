import { NO_MEMORY_KEY } from '../verbs.js';
import { assert } from '../../common/assert.js';
import { Ring } from '../../common/ring.js';
import { Fault, faultReason } from '../rnic/fault.js';
import { RegionSpan } from '../rnic/placement.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import { readFaultCode, sendFaultCode, taggedFaultCode } from './fault-codes.js';
import type { SegmentHandler } from './fpdu-receiver.js';
import { TERMINATE_BYTES_MAX, Terminate } from './terminate.js';
import type { TerminateCode } from './terminate.js';
import {
  DDP_VERSION,
  QUEUE_COUNT,
  QueueNumber,
  RDMAP_VERSION,
  READ_REQUEST_BYTES,
  RdmapOpcode,
  ReadRequest,
  decodeReadRequest,
} from './wire.js';
import type { FpduHeader } from './wire.js';

/** An admitted RDMA Read of the peer whose response is not complete. Pooled. */
export class InboundRead {
  readonly span = new RegionSpan();
  lengthBytes = 0;
  sinkStag = NO_MEMORY_KEY;
  sinkOffsetHigh = 0;
  sinkOffsetLow = 0;
}

/** Events for the connection that do not concern the queue pair. */
export interface InboundEvents {
  /** The peer has sent its first FPDU, so a responder may send, too. */
  onFirstSegment(): void;
  /** A read was queued. */
  onReadRequest(): void;
  onReadResponse(): void;
  /** `bytes[0 .. length)` is the payload of a Terminate, truncated to the longest valid Terminate. */
  onTerminate(bytes: Buffer, length: number): void;
}

/**
 * The receiving half of DDP and RDMAP (RFC 5041 section 5 and 7, RFC 5040 section 5 and 7): checks the header of each
 * segment, passes the payload to the queue pair, and counts the sequence numbers of the untagged queues. The segments
 * of an RDMA Write are independent, so this class keeps no state of a tagged message.
 */
export class Inbound implements SegmentHandler {
  /** The fault for which the queue pair refused a segment, if the queue pair refused. */
  fault: Fault = Fault.none;
  /**
   * The next Send is the zero-length ready-to-receive message of MPA, not a consumer's message (RFC 6581 section
   * 9.2).
   */
  expectsSendRtr = false;
  readonly #queuePair: SoftQueuePair;
  readonly #events: InboundEvents;
  /** The sequence number of the next message of each queue. */
  readonly #sequence = new Uint32Array(QUEUE_COUNT).fill(1);
  /** The payload of the current Read Request or Terminate. */
  readonly #control = Buffer.alloc(TERMINATE_BYTES_MAX);
  readonly #controlView = new DataView(
    this.#control.buffer,
    this.#control.byteOffset,
    this.#control.length,
  );
  readonly #request = new ReadRequest();
  readonly #reads: Ring<InboundRead>;
  readonly #freeReads: InboundRead[] = [];
  #controlLength = 0;
  /** The received bytes of the current Send message, and its opcode; -1 between messages. */
  #sendBytes = 0;
  #sendOpcode = -1;
  #isFirst = true;
  #skipsSend = false;
  /** The payload of the current segment goes to {@link #control}. */
  #takesControl = false;

  /** `readDepth` is the number of concurrent reads that the queue pair admits. */
  constructor(queuePair: SoftQueuePair, readDepth: number, events: InboundEvents) {
    this.#queuePair = queuePair;
    this.#events = events;
    this.#reads = new Ring(Math.max(1, readDepth));
  }

  /** The read to answer next. */
  get nextRead(): InboundRead | undefined {
    return this.#reads.peek();
  }

  /** Call when the response to {@link nextRead} is completely built. */
  finishRead(): void {
    const read = this.#reads.shift();
    assert(read !== undefined, 'the end of an RDMA Read that did not begin');
    read.span.clear();
    this.#freeReads.push(read);
  }

  /**
   * The payload of the last refused segment if it was a Read Request, for the Terminate; null for any other segment.
   */
  refusedReadRequest(header: Uint8Array): Uint8Array | null {
    const isReadRequest = ((header[3] ?? 0) & 0x0f) === RdmapOpcode.readRequest;
    return isReadRequest && this.#controlLength === READ_REQUEST_BYTES
      ? this.#control.subarray(0, READ_REQUEST_BYTES)
      : null;
  }

  onHeader(header: FpduHeader): TerminateCode | null {
    this.#controlLength = 0;
    if (header.ddpVersion !== DDP_VERSION) {
      return header.isTagged ? Terminate.taggedVersion : Terminate.untaggedVersion;
    }
    if (header.rdmapVersion !== RDMAP_VERSION) return Terminate.rdmapVersion;
    switch (header.opcode) {
      case RdmapOpcode.write:
        return header.isTagged ? this.#openWrite(header) : Terminate.unexpectedOpcode;
      case RdmapOpcode.readResponse:
        return header.isTagged ? this.#openReadResponse(header) : Terminate.unexpectedOpcode;
      case RdmapOpcode.send:
      case RdmapOpcode.sendInvalidate:
      case RdmapOpcode.sendSolicited:
      case RdmapOpcode.sendSolicitedInvalidate:
        return (
          this.#checkUntagged(header, QueueNumber.send, this.#sendBytes) ?? this.#openSend(header)
        );
      case RdmapOpcode.readRequest:
        return this.#checkUntagged(header, QueueNumber.readRequest, 0) ?? checkReadRequest(header);
      case RdmapOpcode.terminate:
        return this.#checkUntagged(header, QueueNumber.terminate, 0);
      default:
        return Terminate.unexpectedOpcode;
    }
  }

  onPayload(bytes: Buffer, start: number, end: number, view: DataView): TerminateCode | null {
    if (this.#takesControl) {
      const kept = Math.min(end - start, this.#control.length - this.#controlLength);
      bytes.copy(this.#control, this.#controlLength, start, start + kept);
      this.#controlLength += kept;
      return null;
    }
    const fault = this.#queuePair.place(bytes, start, end, view);
    return fault === Fault.none ? null : this.#refuse(fault, taggedFaultCode(fault));
  }

  onSegment(header: FpduHeader): TerminateCode | null {
    if (this.#isFirst) {
      this.#isFirst = false;
      this.#events.onFirstSegment();
    }
    switch (header.opcode) {
      case RdmapOpcode.write:
        this.#queuePair.endWrite();
        return null;
      case RdmapOpcode.readResponse:
        return this.#closeReadResponse(header);
      case RdmapOpcode.readRequest:
        return this.#closeReadRequest();
      case RdmapOpcode.terminate:
        this.#takesControl = false;
        this.#events.onTerminate(this.#control, this.#controlLength);
        return null;
      default:
        return this.#closeSend(header);
    }
  }

  #openWrite(header: FpduHeader): TerminateCode | null {
    this.#takesControl = false;
    const { stag, offsetHigh, offsetLow, payloadBytes } = header;
    const fault = this.#queuePair.beginWrite(stag, offsetHigh, offsetLow, payloadBytes);
    return fault === Fault.none ? null : this.#refuse(fault, taggedFaultCode(fault));
  }

  #openReadResponse(header: FpduHeader): TerminateCode | null {
    this.#takesControl = false;
    const { stag, offsetHigh, offsetLow, payloadBytes } = header;
    const read = this.#queuePair.oldestRead;
    if (read === null) return this.#refuse(Fault.readResponse, Terminate.unexpectedOpcode);
    const fault = this.#queuePair.beginReadResponse(stag, offsetHigh, offsetLow, payloadBytes);
    if (fault === Fault.none) return null;
    const isForeign = fault === Fault.readResponse && read.sinkKey !== stag;
    return this.#refuse(fault, isForeign ? Terminate.taggedInvalidStag : taggedFaultCode(fault));
  }

  #checkUntagged(
    header: FpduHeader,
    queueNumber: number,
    messageOffset: number,
  ): TerminateCode | null {
    if (header.isTagged) return Terminate.unexpectedOpcode;
    this.#takesControl = queueNumber !== QueueNumber.send;
    if (header.queueNumber !== queueNumber) return Terminate.untaggedQueue;
    if (header.sequenceNumber !== this.#sequence[queueNumber]) return Terminate.untaggedSequence;
    if (header.messageOffset !== messageOffset) return Terminate.untaggedOffset;
    return null;
  }

  #openSend(header: FpduHeader): TerminateCode | null {
    const { payloadBytes } = header;
    if (this.#sendOpcode !== -1 && this.#sendOpcode !== header.opcode) {
      return Terminate.unexpectedOpcode;
    }
    this.#skipsSend = this.#isFirst && this.expectsSendRtr && payloadBytes === 0 && header.isLast;
    if (this.#skipsSend) return null;
    let fault = this.#queuePair.beginSend(this.#sendBytes, payloadBytes);
    if (fault === Fault.none && header.isLast && carriesInvalidate(header.opcode)) {
      fault = this.#queuePair.checkInvalidate(header.invalidateStag);
    }
    return fault === Fault.none ? null : this.#refuse(fault, sendFaultCode(fault));
  }

  #closeSend(header: FpduHeader): TerminateCode | null {
    this.#sendBytes += header.payloadBytes;
    this.#sendOpcode = header.opcode;
    if (!header.isLast) return null;
    const messageBytes = this.#sendBytes;
    this.#sendBytes = 0;
    this.#sendOpcode = -1;
    this.#nextSequence(QueueNumber.send);
    if (this.#skipsSend) return null;
    const fault = this.#queuePair.endSend(
      messageBytes,
      carriesInvalidate(header.opcode),
      header.invalidateStag,
    );
    return fault === Fault.none ? null : this.#refuse(fault, sendFaultCode(fault));
  }

  #closeReadResponse(header: FpduHeader): TerminateCode | null {
    const fault = this.#queuePair.endReadResponse(header.isLast);
    if (fault !== Fault.none) return this.#refuse(fault, taggedFaultCode(fault));
    if (header.isLast) this.#events.onReadResponse();
    return null;
  }

  #closeReadRequest(): TerminateCode | null {
    const request = this.#request;
    decodeReadRequest(this.#controlView, 0, request);
    const read = this.#freeReads.pop() ?? new InboundRead();
    const fault = this.#queuePair.beginRead(
      request.sourceStag,
      request.sourceOffsetHigh,
      request.sourceOffsetLow,
      request.lengthBytes,
      read.span,
    );
    if (fault !== Fault.none) {
      this.#freeReads.push(read);
      return this.#refuse(fault, readFaultCode(fault));
    }
    this.#nextSequence(QueueNumber.readRequest);
    read.lengthBytes = request.lengthBytes;
    read.sinkStag = request.sinkStag;
    read.sinkOffsetHigh = request.sinkOffsetHigh;
    read.sinkOffsetLow = request.sinkOffsetLow;
    this.#reads.push(read);
    this.#events.onReadRequest();
    return null;
  }

  #nextSequence(queueNumber: number): void {
    // A Uint32Array wraps at 2^32, as RFC 5041 section 5.1 requires. `?? 0` is for the compiler: there is a sequence
    // for each queue that a header was admitted for.
    this.#sequence[queueNumber] = (this.#sequence[queueNumber] ?? 0) + 1;
  }

  #refuse(fault: Fault, code: TerminateCode): TerminateCode {
    this.fault = fault;
    return code;
  }

  /** A sentence fragment with the queue pair's reason, or null if the queue pair did not refuse. */
  get faultReason(): string | null {
    return this.fault === Fault.none ? null : faultReason(this.fault);
  }
}

function checkReadRequest(header: FpduHeader): TerminateCode | null {
  const isWhole = header.payloadBytes === READ_REQUEST_BYTES && header.isLast;
  return isWhole ? null : Terminate.llpFraming;
}

function carriesInvalidate(opcode: number): boolean {
  return opcode === RdmapOpcode.sendInvalidate || opcode === RdmapOpcode.sendSolicitedInvalidate;
}
