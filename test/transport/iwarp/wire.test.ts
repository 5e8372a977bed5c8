import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  FpduHeader,
  MpaFlag,
  MpaFrame,
  RdmapOpcode,
  ReadRequest,
  decodeFpduHeader,
  decodeReadRequest,
  encodeFpduHeader,
  encodeMpaFrame,
  encodeReadRequest,
  fpduBytesFor,
  padBytesFor,
  payloadOffsetOf,
  rdmapOpcodeName,
  ulpduBytesWithin,
} from '../../../src/transport/iwarp/wire.js';
import { fpdu, readRequest, tagged, untagged } from '../../support/iwarp/frames.js';
import * as vectors from '../../vectors/iwarp-frames.js';

const viewOf = (bytes: Buffer): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

describe('the FPDU header codec', () => {
  it('reads and writes the vectors of every opcode', () => {
    const frames = [
      vectors.writeFpdu,
      vectors.writeFirstFpdu,
      vectors.sendFpdu,
      vectors.sendInvalidateFpdu,
      vectors.readRequestFpdu,
      vectors.readResponseFpdu,
    ];
    for (const bytes of frames) {
      const header = new FpduHeader();
      decodeFpduHeader(viewOf(bytes), 0, header);
      const written = Buffer.alloc(20);
      const length = encodeFpduHeader(viewOf(written), 0, header);
      expect(length).toBe(payloadOffsetOf(bytes[2]!));
      expect(written.subarray(0, length)).toEqual(bytes.subarray(0, length));
      expect(fpduBytesFor(header.ulpduLength)).toBe(bytes.length);
    }
  });

  it('reads the fields of a Read Request as the RFC places them', () => {
    const header = new FpduHeader();
    const request = new ReadRequest();
    decodeFpduHeader(viewOf(vectors.readRequestFpdu), 0, header);
    decodeReadRequest(viewOf(vectors.readRequestFpdu), 20, request);
    expect(header).toMatchObject({
      ulpduLength: 46,
      isTagged: false,
      isLast: true,
      opcode: RdmapOpcode.readRequest,
      queueNumber: 1,
      sequenceNumber: 1,
      messageOffset: 0,
      payloadBytes: 28,
    });
    expect(request).toEqual({
      sinkStag: 0x01020304,
      sinkOffsetHigh: 0x11121314,
      sinkOffsetLow: 0x15161718,
      lengthBytes: 4096,
      sourceStag: 0x21222324,
      sourceOffsetHigh: 0x31323334,
      sourceOffsetLow: 0x35363738,
    });
    const written = Buffer.alloc(28);
    encodeReadRequest(viewOf(written), 0, request);
    expect(written).toEqual(vectors.readRequestFpdu.subarray(20, 48));
  });

  it('agrees with the slow codec for any tagged header', () => {
    fc.assert(
      fc.property(u32, u32, u32, fc.boolean(), fc.nat(15), (stag, high, low, last, opcode) => {
        const bytes = tagged({
          opcode,
          stag,
          offset: (BigInt(high) << 32n) | BigInt(low),
          payload: Buffer.alloc(3),
          last,
        });
        const header = new FpduHeader();
        decodeFpduHeader(viewOf(bytes), 0, header);
        expect(header).toMatchObject({
          ulpduLength: 17,
          isTagged: true,
          isLast: last,
          ddpVersion: 1,
          rdmapVersion: 1,
          opcode,
          stag,
          offsetHigh: high,
          offsetLow: low,
          payloadBytes: 3,
        });
        const written = Buffer.alloc(16);
        encodeFpduHeader(viewOf(written), 0, header);
        expect(written).toEqual(bytes.subarray(0, 16));
      }),
    );
  });

  it('agrees with the slow codec for any untagged header', () => {
    fc.assert(
      fc.property(
        u32,
        u32,
        u32,
        u32,
        fc.nat(15),
        (invalidateStag, queue, sequence, messageOffset, opcode) => {
          const bytes = untagged({
            opcode,
            queue,
            sequence,
            messageOffset,
            invalidateStag,
            payload: Buffer.alloc(0),
          });
          const header = new FpduHeader();
          decodeFpduHeader(viewOf(bytes), 0, header);
          expect(header).toMatchObject({
            isTagged: false,
            opcode,
            invalidateStag,
            queueNumber: queue,
            sequenceNumber: sequence,
            messageOffset,
            payloadBytes: 0,
          });
          const written = Buffer.alloc(20);
          encodeFpduHeader(viewOf(written), 0, header);
          expect(written).toEqual(bytes.subarray(0, 20));
        },
      ),
    );
  });

  it('pads every FPDU to a multiple of four', () => {
    for (let length = 0; length < 100; length++) {
      expect(fpduBytesFor(length)).toBe(fpdu(Buffer.alloc(length)).length);
      expect((2 + length + padBytesFor(length)) % 4).toBe(0);
    }
  });

  it('finds the longest ULPDU for an FPDU size', () => {
    for (const bytes of [512, 1400, 1447, 1448, 9000, 65_500]) {
      const length = ulpduBytesWithin(bytes);
      expect(fpduBytesFor(length)).toBeLessThanOrEqual(bytes);
      expect(fpduBytesFor(length + 1)).toBeGreaterThan(bytes);
    }
  });

  it('names opcodes for logs', () => {
    expect(rdmapOpcodeName(2)).toBe('readResponse');
    expect(rdmapOpcodeName(12)).toBe('opcode 12');
  });

  it('writes a Read Request as the slow codec does', () => {
    const expected = readRequest({
      sequence: 1,
      sinkStag: 0x01020304,
      sinkOffset: 0x1112131415161718n,
      length: 4096,
      sourceStag: 0x21222324,
      sourceOffset: 0x3132333435363738n,
    });
    expect(expected).toEqual(vectors.readRequestFpdu);
  });
});

describe('the MPA frame codec', () => {
  it('writes the reply that Linux soft-iWARP writes', () => {
    const frame = new MpaFrame();
    frame.isReply = true;
    frame.flags = MpaFlag.enhanced;
    frame.privateDataBytes = 8;
    frame.ird = 1;
    frame.ord = 16;
    const bytes = Buffer.alloc(28);
    expect(encodeMpaFrame(viewOf(bytes), 0, frame)).toBe(24);
    bytes[24] = 0x80;
    expect(bytes).toEqual(vectors.mpaReplyOfSiw);
  });
});
