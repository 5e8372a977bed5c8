import { assert } from '../../common/assert.js';
import { crc32c } from '../../common/crc32c.js';
import type { Flushable } from '../../socket/data-socket.js';
import { FPDU_CRC_BYTES, FPDU_PAD_BYTES_MAX, encodeFpduHeader, padBytesFor } from './wire.js';
import type { FpduHeader } from './wire.js';

/** The destination of the bytes: a data socket. */
export interface ByteSink {
  write(bytes: Uint8Array, owner: Flushable | null): void;
}

/** The ring space of an FPDU in addition to its header and its copied payload. */
const TRAILER_BYTES_MAX = FPDU_PAD_BYTES_MAX + FPDU_CRC_BYTES;

/**
 * Builds FPDUs and writes them to the sink in batches. Headers, trailers and short payload are copied into a ring
 * that is allocated once. Long payload is written from its own place. Adjacent parts of the ring are written as one
 * buffer, so a batch of short FPDUs is one buffer:
 *
 *     ring      [ H payload T H T H payload T . . . ]         H header, T pad and CRC
 *     buffers    <-------------> <-> ...
 *                               ^ a long payload of another slab goes between
 *
 * A part of the ring is reused only after its batch has left.
 */
export class FpduWriter {
  /** True when the CRC is computed. Otherwise the CRC field is zero. */
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
  /** The start of the ring part that is not written to the sink yet. */
  #runStart = 0;
  /** The start of the ring part that the current FPDU's CRC does not cover yet. */
  #crcStart = 0;
  #crc = 0;
  #ulpduLength = 0;
  #payloadLeft = 0;

  /** `onLeft` is called once per batch after its bytes have left, with the `count` of its {@link flush}. */
  constructor(sink: ByteSink, ringBytes: number, onLeft: (count: number) => void) {
    this.#sink = sink;
    this.#onLeft = onLeft;
    this.#ring = Buffer.allocUnsafeSlow(ringBytes);
    this.#view = new DataView(this.#ring.buffer, this.#ring.byteOffset, ringBytes);
  }

  /** The bytes that were built and have not left. */
  get pendingBytes(): number {
    return this.#inFlightBytes + this.batchBytes;
  }

  /** True when the ring has room for an FPDU with this header and this copied payload. */
  hasRoomFor(headerBytes: number, copiedBytes: number): boolean {
    const needed = headerBytes + copiedBytes + TRAILER_BYTES_MAX;
    if (this.#usedBytes === 0) return needed <= this.#ring.length;
    if (this.#head > this.#tail) {
      return needed <= this.#ring.length - this.#head || needed <= this.#tail;
    }
    return needed <= this.#tail - this.#head;
  }

  /** Begins an FPDU. {@link copy} will add `copiedBytes` of its payload. The caller has checked {@link hasRoomFor}. */
  begin(header: FpduHeader, headerBytes: number, copiedBytes: number): void {
    this.#makeContiguous(headerBytes + copiedBytes + TRAILER_BYTES_MAX);
    encodeFpduHeader(this.#view, this.#head, header);
    this.#crcStart = this.#head;
    this.#crc = 0;
    this.#ulpduLength = header.ulpduLength;
    this.#payloadLeft = header.payloadBytes;
    this.#advance(headerBytes);
  }

  /** Appends a copy of payload. The source may change after this call. */
  copy(bytes: Buffer, start: number, end: number): void {
    bytes.copy(this.#ring, this.#head, start, end);
    this.#payloadLeft -= end - start;
    this.#advance(end - start);
  }

  /** Appends payload without a copy. The source must not change until the batch has left. */
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

  /** Writes the batch to the sink. `onLeft` receives `count` after the batch has left. Call only between two FPDUs. */
  flush(count: number): void {
    if (this.batchBytes === 0) return;
    const batch = this.#freeBatches.pop() ?? new Batch(this);
    batch.ringBytes = this.#batchRingBytes;
    batch.bytes = this.batchBytes;
    batch.count = count;
    this.#inFlightBytes += this.batchBytes;
    this.batchBytes = 0;
    this.#batchRingBytes = 0;
    // A batch ends with a CRC in the ring, so its last buffer is a ring part that can carry the notification.
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

  /** Ensures `needed` contiguous bytes after `head`. Moves `head` to the start of the ring if necessary. */
  #makeContiguous(needed: number): void {
    if (this.#usedBytes === 0) {
      // The start of the ring is most likely to be in the processor's cache.
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

/** Reports the end of one batch. Pooled. */
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
