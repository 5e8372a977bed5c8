import { assert } from '../../common/assert.js';
import { Ring } from '../../common/ring.js';
import type { SoftQueuePair } from '../rnic/queue-pair.js';
import type { SendSlot } from '../rnic/send-queue.js';
import { readSinkHigh, readSinkLow } from '../rnic/work-request.js';
import type { MemoryKey, SendWorkRequest } from '../verbs.js';
import { NO_MEMORY_KEY, WorkOpcode } from '../verbs.js';
import { FpduWriter } from './fpdu-writer.js';
import type { ByteSink } from './fpdu-writer.js';
import type { InboundRead } from './inbound.js';
import {
  COPY_BYTES_MAX,
  READ_REQUEST_WRITE_BYTES_MAX,
  TRANSMIT_BATCH_BYTES_MAX,
  TRANSMIT_BYTES_MAX,
  TRANSMIT_RING_BYTES,
} from './limits.js';
import { TERMINATE_BYTES_MAX, encodeTerminate } from './terminate.js';
import type { TerminateCode, TerminatedSegment } from './terminate.js';
import {
  FPDU_LENGTH_BYTES,
  FpduHeader,
  QueueNumber,
  READ_REQUEST_BYTES,
  RdmapOpcode,
  ReadRequest,
  TAGGED_HEADER_BYTES,
  TAGGED_PAYLOAD_OFFSET,
  UNTAGGED_HEADER_BYTES,
  UNTAGGED_PAYLOAD_OFFSET,
  encodeReadRequest,
  fpduBytesFor,
  ulpduBytesWithin,
} from './wire.js';

const TWO_32 = 0x1_0000_0000;
const READ_REQUEST_FPDU_BYTES = fpduBytesFor(UNTAGGED_HEADER_BYTES + READ_REQUEST_BYTES);

/** The queue of the peer's reads. */
export interface InboundReadQueue {
  readonly nextRead: InboundRead | undefined;
  finishRead(): void;
}

/** Why {@link Outbound.produce} stopped. */
export type Production =
  /** Nothing is left to build. */
  | 'idle'
  /** The limit of pending bytes is reached. Continue when bytes have left. */
  | 'full'
  /** The batch is at its limit. Continue after the other sockets have had their turn. */
  | 'more'
  /** The next FPDU must start a new write. Continue after this write is passed to the system. */
  | 'newWrite';

/** Called when bytes have left. */
export interface OutboundEvents {
  onLeft(): void;
  /** A response cannot be completed: its memory was revoked during the peer's read. */
  onReadRevoked(): void;
}

/**
 * The sending half of DDP and RDMAP. Takes work from the queue pair and answers the peer's reads, one message at a
 * time, alternating between the two. Splits each message into segments that fill an FPDU each. Builds only as much as
 * may wait for the socket; the rest stays in its queues, which are bounded.
 *
 * Response payload is always copied: the consumer may revoke its key while the socket is full, and the memory's later
 * contents must not leave. Payload of work requests is not copied, because its owner waits for the completion.
 */
export class Outbound {
  /** False for a responder that has received nothing from its initiator yet. */
  mayTransmit = true;
  readonly #queuePair: SoftQueuePair;
  readonly #reads: InboundReadQueue;
  readonly #events: OutboundEvents;
  readonly #writer: FpduWriter;
  readonly #ulpduBytesMax: number;
  readonly #header = new FpduHeader();
  readonly #readRequest = new ReadRequest();
  readonly #control = Buffer.alloc(TERMINATE_BYTES_MAX);
  readonly #controlView = new DataView(
    this.#control.buffer,
    this.#control.byteOffset,
    this.#control.length,
  );
  /** The messages whose bytes have not left, in order: a taken send slot, or null for the end of a read response. */
  readonly #leaving: Ring<SendSlot | null>;
  /** The number of {@link #leaving} entries in the current batch. */
  #leavingInBatch = 0;
  /** The message that is being split, and the position in it. */
  #current: SendSlot | null = null;
  #isAnswering = false;
  #currentBytes = 0;
  #sentBytes = 0;
  #sgeIndex = 0;
  #sgeOffset = 0;
  #answeredLast = false;
  #sendSequence = 0;
  #readSequence = 0;
  #isStopped = false;
  /** True when the last {@link #produceSegment} built a segment. */
  #progressed = false;

  constructor(options: {
    readonly queuePair: SoftQueuePair;
    readonly reads: InboundReadQueue;
    readonly sink: ByteSink;
    readonly fpduBytes: number;
    readonly crc: boolean;
    /** The most messages on their way: the length of the send queue plus the peer's reads. */
    readonly messagesMax: number;
    readonly events: OutboundEvents;
  }) {
    this.#queuePair = options.queuePair;
    this.#reads = options.reads;
    this.#events = options.events;
    this.#ulpduBytesMax = ulpduBytesWithin(options.fpduBytes);
    this.#leaving = new Ring<SendSlot | null>(options.messagesMax);
    this.#writer = new FpduWriter(options.sink, TRANSMIT_RING_BYTES, (count) => this.#left(count));
    this.#writer.usesCrc = options.crc;
  }

  /** True when no message is being built or on its way, and no read waits. Ignores the queue pair's own work. */
  get isIdle(): boolean {
    return (
      this.#current === null &&
      !this.#isAnswering &&
      this.#reads.nextRead === undefined &&
      this.#leaving.length === 0 &&
      this.#writer.pendingBytes === 0
    );
  }

  /** Builds as many FPDUs as possible, writes them to the sink, and returns why it stopped. */
  produce(): Production {
    let production: Production = 'idle';
    if (!this.#isStopped && this.mayTransmit) {
      do production = this.#produceSegment() ?? 'idle';
      while (this.#progressed);
      this.#flush();
    }
    return production;
  }

  /** Builds nothing more, except a Terminate. The built FPDUs leave, and then their work requests complete. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    this.#flush();
    // The queue pair flushes an unsent Read. A partly built message waits like a complete one.
    if (this.#current !== null && !this.#current.isRead) this.#leaving.push(this.#current);
    this.#current = null;
    if (this.#writer.pendingBytes === 0) this.#giveBackAll();
  }

  /**
   * Sends an RDMA Write without data if no message is under way. It has no effect at the peer (RFC 5040 section 5.1).
   */
  nudge(): void {
    if (this.#isStopped || !this.mayTransmit || !this.isIdle) return;
    if (!this.#writer.hasRoomFor(TAGGED_PAYLOAD_OFFSET, 0)) return;
    this.#tagged(RdmapOpcode.write, NO_MEMORY_KEY, 0, 0);
    this.#beginFpdu(0, 0, true);
    this.#writer.finish();
    this.#flush();
  }

  /** Sends the last message of the stream (RFC 5040 section 4.8). */
  terminate(reason: TerminateCode, segment: TerminatedSegment | null): void {
    const length = encodeTerminate(this.#control, 0, reason, segment);
    if (!this.#writer.hasRoomFor(UNTAGGED_PAYLOAD_OFFSET, length)) return;
    this.#untagged(RdmapOpcode.terminate, QueueNumber.terminate, 1, 0);
    this.#beginFpdu(length, length, true);
    this.#writer.copy(this.#control, 0, length);
    this.#writer.finish();
    this.#writer.flush(0);
  }

  #produceSegment(): Production | null {
    this.#progressed = false;
    if (this.#writer.pendingBytes >= TRANSMIT_BYTES_MAX) return 'full';
    if (this.#writer.batchBytes >= TRANSMIT_BATCH_BYTES_MAX) return 'more';
    if (this.#current === null && !this.#isAnswering) this.#chooseMessage();
    if (this.#isStopped) return null;
    if (this.#isAnswering) return this.#produceResponse();
    const slot = this.#current;
    if (slot === null) return null;
    return slot.isRead ? this.#produceReadRequest(slot) : this.#produceFromSges(slot.posted);
  }

  /** Reads of the peer and work of our own take turns. */
  #chooseMessage(): void {
    this.#sentBytes = 0;
    if (!this.#answeredLast && this.#startResponse()) return;
    const slot = this.#queuePair.takeSend();
    this.#answeredLast = false;
    if (slot === null) {
      this.#startResponse();
      return;
    }
    this.#current = slot;
    this.#currentBytes = slot.posted.sgeBytes;
    this.#sgeIndex = 0;
    this.#sgeOffset = 0;
  }

  #startResponse(): boolean {
    const read = this.#reads.nextRead;
    if (read === undefined) return false;
    this.#isAnswering = true;
    this.#answeredLast = true;
    this.#currentBytes = read.lengthBytes;
    return true;
  }

  #produceResponse(): Production | null {
    const read = this.#reads.nextRead;
    assert(read !== undefined, 'a response without a read');
    const { span } = read;
    const bytes = Math.min(
      this.#currentBytes - this.#sentBytes,
      this.#ulpduBytesMax - TAGGED_HEADER_BYTES,
    );
    if (!this.#writer.hasRoomFor(TAGGED_PAYLOAD_OFFSET, bytes)) return 'full';
    const slab = span.slab;
    if (bytes > 0 && (slab === null || !span.isLive)) {
      this.#events.onReadRevoked();
      return null;
    }
    this.#tagged(
      RdmapOpcode.readResponse,
      read.sinkStag,
      read.sinkOffsetHigh,
      read.sinkOffsetLow + this.#sentBytes,
    );
    const isLast = this.#sentBytes + bytes === this.#currentBytes;
    this.#beginFpdu(bytes, bytes, isLast);
    if (bytes > 0) {
      assert(slab !== null, 'RDMA Read Response without its memory');
      const start = span.offset + this.#sentBytes;
      this.#writer.copy(slab.bytes, start, start + bytes);
    }
    this.#writer.finish();
    this.#sentBytes += bytes;
    if (isLast) {
      this.#isAnswering = false;
      this.#reads.finishRead();
      this.#finishMessage(null);
    }
    this.#progressed = true;
    return null;
  }

  #produceReadRequest(slot: SendSlot): Production | null {
    const { batchBytes } = this.#writer;
    if (batchBytes > 0 && batchBytes + READ_REQUEST_FPDU_BYTES > READ_REQUEST_WRITE_BYTES_MAX) {
      return 'newWrite';
    }
    if (!this.#writer.hasRoomFor(UNTAGGED_PAYLOAD_OFFSET, READ_REQUEST_BYTES)) return 'full';
    const { posted } = slot;
    const request = this.#readRequest;
    request.sinkStag = slot.sinkKey;
    request.sinkOffsetHigh = readSinkHigh(posted);
    request.sinkOffsetLow = readSinkLow(posted);
    request.lengthBytes = this.#currentBytes;
    request.sourceStag = posted.remoteKey;
    request.sourceOffsetHigh = posted.remoteAddressHigh;
    request.sourceOffsetLow = posted.remoteAddressLow;
    encodeReadRequest(this.#controlView, 0, request);
    this.#readSequence = (this.#readSequence + 1) >>> 0;
    this.#untagged(RdmapOpcode.readRequest, QueueNumber.readRequest, this.#readSequence, 0);
    this.#beginFpdu(READ_REQUEST_BYTES, READ_REQUEST_BYTES, true);
    this.#writer.copy(this.#control, 0, READ_REQUEST_BYTES);
    this.#writer.finish();
    // The response completes the slot, so the slot does not wait until the request's bytes have left.
    this.#current = null;
    this.#progressed = true;
    return null;
  }

  /** The next segment of a Send or RDMA Write. */
  #produceFromSges(request: SendWorkRequest): Production | null {
    const isWrite = request.opcode === WorkOpcode.rdmaWrite;
    const ddpBytes = isWrite ? TAGGED_HEADER_BYTES : UNTAGGED_HEADER_BYTES;
    const bytes = Math.min(this.#currentBytes - this.#sentBytes, this.#ulpduBytesMax - ddpBytes);
    const copied = bytes <= COPY_BYTES_MAX ? bytes : this.#copiedBytes(request, bytes);
    if (!this.#writer.hasRoomFor(FPDU_LENGTH_BYTES + ddpBytes, copied)) return 'full';
    if (isWrite) {
      const low = request.remoteAddressLow + this.#sentBytes;
      this.#tagged(RdmapOpcode.write, request.remoteKey, request.remoteAddressHigh, low);
    } else {
      if (this.#sentBytes === 0) this.#sendSequence = (this.#sendSequence + 1) >>> 0;
      const withInvalidate = request.opcode === WorkOpcode.sendWithInvalidate;
      const header = this.#untagged(
        withInvalidate ? RdmapOpcode.sendInvalidate : RdmapOpcode.send,
        QueueNumber.send,
        this.#sendSequence,
        this.#sentBytes,
      );
      if (withInvalidate) header.invalidateStag = request.invalidateKey;
    }
    const isLast = this.#sentBytes + bytes === this.#currentBytes;
    this.#beginFpdu(bytes, copied, isLast);
    this.#gather(request, bytes, bytes <= COPY_BYTES_MAX);
    this.#writer.finish();
    this.#sentBytes += bytes;
    if (isLast) {
      this.#finishMessage(this.#current);
      this.#current = null;
    }
    this.#progressed = true;
    return null;
  }

  /** How many of the next `bytes` of the gather list are in pieces that are short enough to copy. */
  #copiedBytes(request: SendWorkRequest, bytes: number): number {
    let copied = 0;
    let left = bytes;
    let offset = this.#sgeOffset;
    for (let index = this.#sgeIndex; left > 0; index++, offset = 0) {
      const piece = Math.min(left, request.sge(index).length - offset);
      if (piece <= COPY_BYTES_MAX) copied += piece;
      left -= piece;
    }
    return copied;
  }

  #gather(request: SendWorkRequest, bytes: number, copiesAll: boolean): void {
    let left = bytes;
    while (left > 0) {
      const sge = request.sge(this.#sgeIndex);
      const piece = Math.min(left, sge.length - this.#sgeOffset);
      if (piece > 0) {
        assert(sge.region !== null, 'gather element without a region');
        const start = sge.offset + this.#sgeOffset;
        const { bytes: memory } = sge.region.slab;
        if (copiesAll || piece <= COPY_BYTES_MAX) this.#writer.copy(memory, start, start + piece);
        else this.#writer.refer(memory, start, start + piece);
      }
      left -= piece;
      this.#sgeOffset += piece;
      if (this.#sgeOffset === sge.length) {
        this.#sgeIndex++;
        this.#sgeOffset = 0;
      }
    }
  }

  #tagged(opcode: RdmapOpcode, stag: MemoryKey, offsetHigh: number, offsetLow: number): void {
    const header = this.#header;
    header.isTagged = true;
    header.opcode = opcode;
    header.stag = stag;
    // The sum of the lower half and the position in the message may carry. A sum beyond 2^64 wraps, and the peer
    // refuses the segment.
    header.offsetHigh = (offsetHigh + Math.floor(offsetLow / TWO_32)) >>> 0;
    header.offsetLow = offsetLow >>> 0;
  }

  #untagged(
    opcode: RdmapOpcode,
    queueNumber: number,
    sequenceNumber: number,
    messageOffset: number,
  ): FpduHeader {
    const header = this.#header;
    header.isTagged = false;
    header.opcode = opcode;
    header.invalidateStag = NO_MEMORY_KEY;
    header.queueNumber = queueNumber;
    header.sequenceNumber = sequenceNumber;
    header.messageOffset = messageOffset;
    return header;
  }

  #beginFpdu(payloadBytes: number, copiedBytes: number, isLast: boolean): void {
    const header = this.#header;
    const ddpBytes = header.isTagged ? TAGGED_HEADER_BYTES : UNTAGGED_HEADER_BYTES;
    header.ulpduLength = ddpBytes + payloadBytes;
    header.isLast = isLast;
    this.#writer.begin(header, FPDU_LENGTH_BYTES + ddpBytes, copiedBytes);
  }

  #finishMessage(slot: SendSlot | null): void {
    this.#leaving.push(slot);
    this.#leavingInBatch++;
  }

  #flush(): void {
    const count = this.#leavingInBatch;
    this.#leavingInBatch = 0;
    this.#writer.flush(count);
  }

  #left(count: number): void {
    if (this.#isStopped && this.#writer.pendingBytes === 0) this.#giveBackAll();
    else for (let index = 0; index < count; index++) this.#giveBack();
    this.#events.onLeft();
  }

  #giveBackAll(): void {
    while (this.#leaving.length > 0) this.#giveBack();
  }

  #giveBack(): void {
    const slot = this.#leaving.shift();
    if (slot === null || slot === undefined) this.#queuePair.endRead();
    else if (!slot.isRead) this.#queuePair.completeSend(slot);
  }
}
