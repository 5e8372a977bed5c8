import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FpduReceiver } from '../../../src/transport/iwarp/fpdu-receiver.js';
import type { SegmentHandler } from '../../../src/transport/iwarp/fpdu-receiver.js';
import { FpduWriter } from '../../../src/transport/iwarp/fpdu-writer.js';
import { Terminate } from '../../../src/transport/iwarp/terminate.js';
import type { TerminateCode } from '../../../src/transport/iwarp/terminate.js';
import { FpduHeader } from '../../../src/transport/iwarp/wire.js';
import { fpdu, naiveCrc32c, readFrames, tagged, untagged } from '../../support/iwarp/frames.js';
import { FakeSink } from '../../support/iwarp/stream.js';
import * as vectors from '../../vectors/iwarp-frames.js';

/** Writes down the segments it is given, as text. */
class Recorder implements SegmentHandler {
  readonly segments: string[] = [];
  #payload: Buffer[] = [];
  #open = '';

  onHeader(header: FpduHeader): TerminateCode | null {
    const where = header.isTagged
      ? `${header.stag}:${header.offsetHigh}:${header.offsetLow}`
      : `${header.queueNumber}:${header.sequenceNumber}:${header.messageOffset}:${header.invalidateStag}`;
    this.#open = `${header.opcode} ${header.isLast} ${where}`;
    this.#payload = [];
    return null;
  }

  onPayload(bytes: Buffer, start: number, end: number): TerminateCode | null {
    expect(end).toBeGreaterThan(start);
    this.#payload.push(Buffer.from(bytes.subarray(start, end)));
    return null;
  }

  onSegment(header: FpduHeader): TerminateCode | null {
    const payload = Buffer.concat(this.#payload);
    expect(payload.length).toBe(header.payloadBytes);
    this.segments.push(`${this.#open} ${payload.toString('hex')}`);
    return null;
  }
}

function receive(stream: Buffer, cuts: readonly number[], crc: boolean) {
  const recorder = new Recorder();
  const receiver = new FpduReceiver(recorder);
  receiver.usesCrc = crc;
  const buffer = Buffer.alloc(stream.length + 1);
  let at = 0;
  for (const cut of [...cuts, stream.length]) {
    if (cut < at) continue;
    // Each piece lands somewhere else in a buffer that is used again and again.
    const shift = at % 2;
    stream.copy(buffer, shift, at, cut);
    receiver.receive(buffer, shift, shift + cut - at);
    buffer.fill(0xee);
    at = cut;
  }
  return { receiver, segments: recorder.segments };
}

const anyFrame = (crc: boolean) =>
  fc.oneof(
    fc
      .record({
        opcode: fc.constantFrom(0, 2),
        stag: fc.integer({ min: 0, max: 0xffff_ffff }),
        offset: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
        payload: fc.uint8Array({ maxLength: 400 }),
        last: fc.boolean(),
      })
      .map((fields) => tagged(fields, { crc })),
    fc
      .record({
        opcode: fc.constantFrom(1, 3, 4, 5, 6, 7),
        queue: fc.nat(3),
        sequence: fc.nat(),
        messageOffset: fc.nat(),
        invalidateStag: fc.nat(),
        payload: fc.uint8Array({ maxLength: 400 }),
        last: fc.boolean(),
      })
      .map((fields) => untagged(fields, { crc })),
  );

describe('the FPDU receiver', () => {
  it.each([false, true])('gives the same for any split of a stream (CRC %s)', (crc) => {
    fc.assert(
      fc.property(
        fc.array(anyFrame(crc), { minLength: 1, maxLength: 8 }),
        fc.array(fc.nat(3000)),
        (frames, cuts) => {
          const stream = Buffer.concat(frames);
          const whole = receive(stream, [], crc);
          const sorted = cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b);
          const split = receive(stream, sorted, crc);
          expect(whole.receiver.failure).toBeNull();
          expect(whole.segments).toHaveLength(frames.length);
          expect(split.segments).toEqual(whole.segments);
          expect(split.receiver.isAtBoundary).toBe(true);
        },
      ),
    );
  });

  it.each([false, true])('stands a cut at every offset, and byte by byte (CRC %s)', (crc) => {
    const stream = Buffer.concat([
      untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(77, 1) }, { crc }),
      tagged({ opcode: 0, stag: 5, offset: 9n, payload: Buffer.alloc(30, 2) }, { crc }),
      untagged({ opcode: 3, sequence: 2, payload: Buffer.alloc(0) }, { crc }),
    ]);
    const expected = receive(stream, [], crc).segments;
    expect(expected).toHaveLength(3);
    for (let cut = 0; cut <= stream.length; cut++) {
      expect(receive(stream, [cut], crc).segments).toEqual(expected);
    }
    expect(receive(stream, [...stream.keys()], crc).segments).toEqual(expected);
  });

  it('delivers nothing of an FPDU that is cut short, at every length', () => {
    const stream = untagged(
      { opcode: 3, sequence: 1, payload: Buffer.alloc(21, 1) },
      { crc: true },
    );
    for (let length = 1; length < stream.length; length++) {
      const { receiver, segments } = receive(stream.subarray(0, length), [], true);
      expect(segments).toEqual([]);
      expect(receiver.failure).toBeNull();
      expect(receiver.isAtBoundary).toBe(false);
    }
  });

  it('finds every single wrong byte when CRCs are on, wherever the stream is cut', () => {
    const good = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(21, 1) }, { crc: true });
    // A wrong length shifts the place of the CRC; what follows is then judged as part of this FPDU.
    const stream = Buffer.concat([good, Buffer.alloc(70_000, 0x55)]);
    for (let at = 0; at < good.length; at++) {
      const bad = Buffer.from(stream);
      bad[at]! ^= 0x10;
      for (const cuts of [[], [at], [at + 1]]) {
        const { receiver, segments } = receive(bad, cuts, true);
        expect(segments).toEqual([]);
        expect([Terminate.llpCrc, Terminate.llpFraming]).toContain(receiver.failure);
      }
    }
  });

  it('ignores the CRC field and the pad when CRCs are off', () => {
    const frame = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(5, 1) });
    frame.fill(0xff, frame.length - 7);
    expect(receive(frame, [], false).segments).toHaveLength(1);
  });

  it('refuses a length that does not hold its header', () => {
    for (let length = 0; length < 18; length++) {
      const untaggedFrame = Buffer.alloc(40);
      untaggedFrame.writeUInt16BE(length, 0);
      untaggedFrame.write('4143', 2, 'hex');
      const taggedFrame = Buffer.from(untaggedFrame);
      taggedFrame.write('c140', 2, 'hex');
      for (const cuts of [[], [3], [17]]) {
        expect(receive(untaggedFrame, cuts, false).receiver.failure).toBe(Terminate.llpFraming);
        if (length >= 14) continue;
        expect(receive(taggedFrame, cuts, false).receiver.failure).toBe(Terminate.llpFraming);
      }
    }
  });

  it('takes the longest FPDU that a length can tell', () => {
    const frame = fpdu(Buffer.concat([Buffer.from('c140', 'hex'), Buffer.alloc(65_533)]));
    expect(receive(frame, [1000, 60_000], false).segments).toHaveLength(1);
  });

  it('takes nothing more after a failure', () => {
    const bad = Buffer.alloc(24);
    const good = vectors.sendFpdu;
    const { receiver, segments } = receive(Buffer.concat([bad, good]), [24], false);
    expect(receiver.failure).toBe(Terminate.llpFraming);
    expect(segments).toEqual([]);
  });

  it('takes nothing more once it is stopped, not even of what it was just given', () => {
    const frame = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(40) });
    const recorder = new Recorder();
    const receiver = new FpduReceiver({
      onHeader: (header) => recorder.onHeader(header),
      onPayload: (bytes, start, end) => recorder.onPayload(bytes, start, end),
      onSegment: (header) => {
        receiver.stop();
        return recorder.onSegment(header);
      },
    });
    const three = Buffer.concat([frame, frame, frame]);
    receiver.receive(three, 0, three.length);
    receiver.receive(three, 0, three.length);
    expect(recorder.segments).toHaveLength(1);
    expect(receiver.failure).toBeNull();
  });

  it('keeps the header of the segment that was refused', () => {
    const frame = vectors.readRequestFpdu;
    for (const cuts of [[], [7], [30]]) {
      const receiver = new FpduReceiver({
        onHeader: () => Terminate.untaggedSequence,
        onPayload: () => null,
        onSegment: () => null,
      });
      let at = 0;
      for (const cut of [...cuts, frame.length]) {
        receiver.receive(frame, at, cut);
        at = cut;
      }
      expect(receiver.failure).toBe(Terminate.untaggedSequence);
      expect(receiver.headerBytes.subarray(0, receiver.headerLength)).toEqual(
        frame.subarray(0, 20),
      );
    }
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 2000 }),
        fc.array(fc.nat(2000)),
        fc.boolean(),
        (bytes, cuts, crc) => {
          const stream = Buffer.from(bytes);
          const sorted = cuts.map((cut) => cut % (stream.length + 1)).sort((a, b) => a - b);
          receive(stream, sorted, crc);
        },
      ),
    );
  });
});

describe('the FPDU writer', () => {
  function sendHeader(payloadBytes: number): FpduHeader {
    const header = new FpduHeader();
    header.ulpduLength = 18 + payloadBytes;
    header.isLast = true;
    header.opcode = 3;
    header.sequenceNumber = 7;
    return header;
  }

  it('writes the vector of a padded Send', () => {
    const sink = new FakeSink();
    const writer = new FpduWriter(sink, 256, () => undefined);
    writer.begin(sendHeader(5), 20, 5);
    writer.copy(Buffer.from([9, 1, 2, 3, 4, 5, 9]), 1, 6);
    writer.finish();
    writer.flush(1);
    sink.leave();
    expect(sink.take()).toEqual(vectors.sendFpdu);
  });

  it('builds the same bytes from any mix of copied and referred pieces, and any batches', () => {
    const piece = fc.record({
      bytes: fc.uint8Array({ minLength: 1, maxLength: 60 }),
      copied: fc.boolean(),
    });
    const message = fc.record({
      pieces: fc.array(piece, { maxLength: 4 }),
      flush: fc.boolean(),
      leave: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(message, { maxLength: 40 }), fc.boolean(), (messages, crc) => {
        const sink = new FakeSink();
        let left = 0;
        // A ring so small that it wraps many times.
        const writer = new FpduWriter(sink, 700, (count) => (left += count));
        writer.usesCrc = crc;
        const expected: Buffer[] = [];
        let inBatch = 0;
        for (const { pieces, flush, leave } of messages) {
          const payload = Buffer.concat(pieces.map(({ bytes }) => bytes));
          const copied = pieces.reduce((sum, one) => sum + (one.copied ? one.bytes.length : 0), 0);
          if (!writer.hasRoomFor(20, copied)) {
            writer.flush(inBatch);
            inBatch = 0;
            sink.leave();
          }
          expect(writer.hasRoomFor(20, copied)).toBe(true);
          writer.begin(sendHeader(payload.length), 20, copied);
          for (const { bytes, copied: isCopied } of pieces) {
            const memory = Buffer.from(bytes);
            if (isCopied) {
              writer.copy(memory, 0, memory.length);
              memory.fill(0xee);
            } else {
              writer.refer(memory, 0, memory.length);
            }
          }
          writer.finish();
          inBatch++;
          expected.push(untagged({ opcode: 3, sequence: 7, payload }, { crc }));
          if (flush) {
            writer.flush(inBatch);
            inBatch = 0;
          }
          if (leave && inBatch === 0) sink.leave();
        }
        writer.flush(inBatch);
        sink.leave();
        expect(sink.take().equals(Buffer.concat(expected))).toBe(true);
        expect(left).toBe(messages.length);
        expect(writer.pendingBytes).toBe(0);
      }),
    );
  });

  it('does not use a part of the ring again before its batch has left', () => {
    const sink = new FakeSink();
    const writer = new FpduWriter(sink, 256, () => undefined);
    let built = 0;
    while (writer.hasRoomFor(20, 40)) {
      writer.begin(sendHeader(40), 20, 40);
      writer.copy(Buffer.alloc(40, built++), 0, 40);
      writer.finish();
      writer.flush(1);
    }
    expect(built).toBe(3);
    sink.leave();
    const { frames } = readFrames(sink.take());
    expect(frames.map((frame) => frame.payload[0])).toEqual([0, 1, 2]);
    expect(writer.hasRoomFor(20, 40)).toBe(true);
  });

  it('gathers short FPDUs into one buffer', () => {
    const sink = new FakeSink();
    const writer = new FpduWriter(sink, 4096, () => undefined);
    for (let index = 0; index < 10; index++) {
      writer.begin(sendHeader(8), 20, 8);
      writer.copy(Buffer.alloc(8), 0, 8);
      writer.finish();
    }
    writer.flush(10);
    expect(sink.writeCount).toBe(1);
  });

  it('computes CRCs least significant byte first', () => {
    expect(naiveCrc32c(new Uint8Array(32))).toBe(0x8a9136aa);
    const sink = new FakeSink();
    const writer = new FpduWriter(sink, 256, () => undefined);
    writer.usesCrc = true;
    writer.begin(sendHeader(0), 20, 0);
    writer.finish();
    writer.flush(1);
    sink.leave();
    const { frames } = readFrames(sink.take());
    expect(frames[0]?.crcIsRight).toBe(true);
  });
});
