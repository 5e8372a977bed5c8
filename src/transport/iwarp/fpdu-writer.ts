import { assert } from '../../common/assert.js';
import { crc32c } from '../../common/crc32c.js';
import type { Flushable } from '../../socket/data-socket.js';
import { FPDU_CRC_BYTES, FPDU_PAD_BYTES_MAX, encodeFpduHeader, padBytesFor } from './wire.js';
import type { FpduHeader } from './wire.js';

/** Where the bytes go; a data socket. */
export interface ByteSink {
  write(bytes: Uint8Array, owner: Flushable | null): void;
}

/** Ring space that an FPDU takes besides its header and what is copied of its payload. */
const TRAILER_BYTES_MAX = FPDU_PAD_BYTES_MAX + FPDU_CRC_BYTES;

/**
 * Builds FPDUs and hands them down in batches. Headers, trailers and short payload are put into a ring that is
 * allocated once; long payload stays where it is and is referred to. What lies side by side in the ring leaves as
 * one buffer, so a batch of short FPDUs is one buffer whatever their number:
 *
 *     ring      [ H payload T H T H payload T . . . ]         H header, T pad and CRC
 *     buffers    <-------------> <-> ...
 *                               ^ a long payload of another slab goes between
 *
 * A part of the ring is used again when its batch has left, never before.
 */
export class FpduWriter {
  /** Whether the CRC field is computed; it is zero otherwise. */
  usesCrc = false;
  /** Bytes since the last {@link flush}. */
  batchBytes = 0;
  readonly #sink: ByteSink;
  readonly #onLeft: (count: number) => void;
  readonly #ring: Buffer;
  readonly #view: DataView;
  readonly #freeBatches: Batch[] = [];
  #head = 0;
  #tail = 0;
  #usedBytes = 0;
  #inFlightBytes = 0;
  #batchRingBytes = 0;
  /** Where the part of the ring starts that is not handed down yet. */
  #runStart = 0;
  /** Where the part of the ring starts that the current FPDU's CRC does not cover yet. */
  #crcStart = 0;
  #crc = 0;
  #ulpduLength = 0;
  #payloadLeft = 0;

  /** `onLeft` is called once per batch when its bytes have left, with the count that {@link flush} was given. */
  constructor(sink: ByteSink, ringBytes: number, onLeft: (count: number) => void) {
    this.#sink = sink;
    this.#onLeft = onLeft;
    this.#ring = Buffer.allocUnsafeSlow(ringBytes);
    this.#view = new DataView(this.#ring.buffer, this.#ring.byteOffset, ringBytes);
  }

  /** Bytes that were produced and have not left. */
  get pendingBytes(): number {
    return this.#inFlightBytes + this.batchBytes;
  }

  /** Whether an FPDU with this header and so much copied payload can be built now. */
  hasRoomFor(headerBytes: number, copiedBytes: number): boolean {
    const needed = headerBytes + copiedBytes + TRAILER_BYTES_MAX;
    if (this.#usedBytes === 0) return needed <= this.#ring.length;
    if (this.#head > this.#tail) {
      return needed <= this.#ring.length - this.#head || needed <= this.#tail;
    }
    return needed <= this.#tail - this.#head;
  }

  /** Begins an FPDU, of whose payload `copiedBytes` will come by {@link copy}. There is room for it. */
  begin(header: FpduHeader, headerBytes: number, copiedBytes: number): void {
    this.#makeContiguous(headerBytes + copiedBytes + TRAILER_BYTES_MAX);
    encodeFpduHeader(this.#view, this.#head, header);
    this.#crcStart = this.#head;
    this.#crc = 0;
    this.#ulpduLength = header.ulpduLength;
    this.#payloadLeft = header.payloadBytes;
    this.#advance(headerBytes);
  }

  /** Appends payload that may change as soon as this returns. */
  copy(bytes: Buffer, start: number, end: number): void {
    bytes.copy(this.#ring, this.#head, start, end);
    this.#payloadLeft -= end - start;
    this.#advance(end - start);
  }

  /** Appends payload that stays as it is until its batch has left. */
  refer(bytes: Buffer, start: number, end: number): void {
    this.#emitRun();
    if (this.usesCrc) {
      this.#crc = crc32c(this.#ring, this.#crcStart, this.#head, this.#crc);
      this.#crc = crc32c(bytes, start, end, this.#crc);
      this.#crcStart = this.#head;
    }
    this.#payloadLeft -= end - start;
    this.batchBytes += end - start;
    this.#sink.write(bytes.subarray(start, end), null);
  }

  /** Completes the FPDU with pad and CRC. */
  finish(): void {
    assert(this.#payloadLeft === 0, 'FPDU payload differs from its length field');
    const padBytes = padBytesFor(this.#ulpduLength);
    for (let index = 0; index < padBytes; index++) this.#ring[this.#head + index] = 0;
    this.#advance(padBytes);
    const crc = this.usesCrc ? crc32c(this.#ring, this.#crcStart, this.#head, this.#crc) : 0;
    this.#view.setUint32(this.#head, crc, true);
    this.#advance(FPDU_CRC_BYTES);
  }

  /** Hands the batch down; `count` comes back by `onLeft` once it has left. Only between two FPDUs. */
  flush(count: number): void {
    if (this.batchBytes === 0) return;
    const batch = this.#freeBatches.pop() ?? new Batch(this);
    batch.ringBytes = this.#batchRingBytes;
    batch.bytes = this.batchBytes;
    batch.count = count;
    this.#inFlightBytes += this.batchBytes;
    this.batchBytes = 0;
    this.#batchRingBytes = 0;
    // A batch ends with a CRC, so there is always a part of the ring to hang the notification on.
    this.#sink.write(this.#ring.subarray(this.#runStart, this.#head), batch);
    this.#runStart = this.#head;
  }

  batchLeft(batch: Batch): void {
    this.#inFlightBytes -= batch.bytes;
    this.#usedBytes -= batch.ringBytes;
    this.#tail = (this.#tail + batch.ringBytes) % this.#ring.length;
    this.#freeBatches.push(batch);
    this.#onLeft(batch.count);
  }

  #advance(bytes: number): void {
    this.#head += bytes;
    this.#usedBytes += bytes;
    this.#batchRingBytes += bytes;
    this.batchBytes += bytes;
  }

  /** Gives the bytes that follow `head` room in one piece, at the start of the ring if need be. */
  #makeContiguous(needed: number): void {
    if (this.#usedBytes === 0) {
      // The start of the ring is the part that is likeliest to be in the processor's cache.
      this.#head = 0;
      this.#tail = 0;
      this.#runStart = 0;
    } else if (this.#head > this.#tail && needed > this.#ring.length - this.#head) {
      this.#emitRun();
      const skipped = this.#ring.length - this.#head;
      this.#usedBytes += skipped;
      this.#batchRingBytes += skipped;
      this.#head = 0;
      this.#runStart = 0;
    }
    assert(this.#head + needed <= this.#ring.length, 'no room in the transmit ring');
  }

  #emitRun(): void {
    if (this.#runStart === this.#head) return;
    this.#sink.write(this.#ring.subarray(this.#runStart, this.#head), null);
    this.#runStart = this.#head;
  }
}

/** What a batch gives back when it has left. Pooled. */
class Batch implements Flushable {
  ringBytes = 0;
  bytes = 0;
  count = 0;
  readonly #writer: FpduWriter;

  constructor(writer: FpduWriter) {
    this.#writer = writer;
  }

  flushed(): void {
    this.#writer.batchLeft(this);
  }
}
