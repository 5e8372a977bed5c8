import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  TERMINATE_BYTES_MAX,
  Terminate,
  decodeTerminate,
  describeTerminate,
  encodeTerminate,
} from '../../../src/transport/iwarp/terminate.js';
import type { TerminateCode } from '../../../src/transport/iwarp/terminate.js';
import * as vectors from '../../vectors/iwarp-frames.js';

const codes: [string, TerminateCode][] = Object.entries(Terminate);
const read = (bytes: Uint8Array) => decodeTerminate(bytes, 0, bytes.length);

describe('the Terminate codec', () => {
  it('writes the RFC byte order, with the terminated segment behind', () => {
    const segment = {
      header: Buffer.concat([Buffer.from('005e', 'hex'), vectors.rfcTerminateNoBuffer.subarray(6)]),
      headerBytes: 20,
      readRequest: null,
    };
    const out = Buffer.alloc(TERMINATE_BYTES_MAX);
    const length = encodeTerminate(out, 0, Terminate.untaggedNoBuffer, segment);
    expect(out.subarray(0, length)).toEqual(vectors.rfcTerminateNoBuffer);
  });

  it('adds the read header of a terminated Read Request', () => {
    const out = Buffer.alloc(TERMINATE_BYTES_MAX);
    const length = encodeTerminate(out, 0, Terminate.invalidStag, {
      header: vectors.readRequestFpdu,
      headerBytes: 20,
      readRequest: vectors.readRequestFpdu.subarray(20, 48),
    });
    expect(length).toBe(TERMINATE_BYTES_MAX);
    expect(out.toString('hex', 0, 6)).toBe('0100e000002e');
    expect(out.subarray(4)).toEqual(vectors.readRequestFpdu.subarray(0, 48));
  });

  it('writes four bytes when no segment is to blame', () => {
    const out = Buffer.alloc(TERMINATE_BYTES_MAX);
    expect(encodeTerminate(out, 0, Terminate.llpCrc, null)).toBe(4);
    expect(out.toString('hex', 0, 4)).toBe('20020000');
  });

  it('reads the Terminates of Linux soft-iWARP, whose bit fields lie the other way round', () => {
    expect(read(vectors.siwTerminateNoBuffer)).toEqual([
      { order: 'swapped', layer: 1, type: 2, code: 2, known: Terminate.untaggedNoBuffer },
    ]);
    expect(read(vectors.siwTerminateCrc)).toEqual([
      { order: 'swapped', layer: 2, type: 0, code: 2, known: Terminate.llpCrc },
    ]);
    expect(read(vectors.siwTerminateSourceStag)).toEqual([
      { order: 'swapped', layer: 0, type: 1, code: 0, known: Terminate.invalidStag },
    ]);
  });

  it('reads the RFC order', () => {
    expect(read(vectors.rfcTerminateNoBuffer)).toEqual([
      { order: 'rfc', layer: 1, type: 2, code: 2, known: Terminate.untaggedNoBuffer },
    ]);
    expect(read(Buffer.from('20020000', 'hex'))).toEqual([
      { order: 'rfc', layer: 2, type: 0, code: 2, known: Terminate.llpCrc },
    ]);
  });

  it('gives both readings when neither bits nor codes tell the order', () => {
    const readings = read(Buffer.from('02060000', 'hex'));
    expect(readings.map((reading) => reading.known)).toEqual([
      Terminate.unexpectedOpcode,
      Terminate.llpInsufficientIrd,
    ]);
    expect(describeTerminate(readings)).toBe(
      `${Terminate.unexpectedOpcode.meaning}, or (other byte order) ${Terminate.llpInsufficientIrd.meaning}`,
    );
  });

  it.each(codes)('reads back what it writes for %s', (_name, code) => {
    const out = Buffer.alloc(TERMINATE_BYTES_MAX);
    const length = encodeTerminate(out, 0, code, {
      header: vectors.sendFpdu,
      headerBytes: 20,
      readRequest: null,
    });
    expect(decodeTerminate(out, 0, length).map((reading) => reading.known)).toEqual([code]);
    const bare = encodeTerminate(out, 0, code, null);
    expect(decodeTerminate(out, 0, bare).map((reading) => reading.known)).toContain(code);
  });

  it('has something to say about any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        expect(describeTerminate(read(bytes)).length).toBeGreaterThan(10);
      }),
    );
  });
});
