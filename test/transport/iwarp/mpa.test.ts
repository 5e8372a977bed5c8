import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  MpaFrameReader,
  encodeMpaReject,
  encodeMpaReply,
  encodeMpaRequest,
  readMpaReply,
  readMpaRequest,
} from '../../../src/transport/iwarp/mpa.js';
import type { CrcMode } from '../../../src/transport/iwarp/mpa.js';
import { Terminate } from '../../../src/transport/iwarp/terminate.js';
import type { ConnectionParameters } from '../../../src/transport/verbs.js';
import { mpaFrame } from '../../support/iwarp/frames.js';
import type { MpaFields } from '../../support/iwarp/frames.js';
import * as vectors from '../../vectors/iwarp-frames.js';

const iserHeader = Buffer.from('80000000', 'hex');

function parameters(
  responderResources: number,
  initiatorDepth: number,
  privateData: Uint8Array = iserHeader,
): ConnectionParameters {
  return { privateData, responderResources, initiatorDepth };
}

function readerOf(kind: 'request' | 'reply', bytes: Buffer): MpaFrameReader {
  const reader = new MpaFrameReader(kind);
  reader.receive(bytes, 0, bytes.length);
  expect(reader.failure).toBeNull();
  expect(reader.isComplete).toBe(true);
  return reader;
}

function request(fields: Omit<MpaFields, 'kind'>): MpaFrameReader {
  return readerOf('request', mpaFrame({ kind: 'Req', ...fields }));
}

function reply(fields: Omit<MpaFields, 'kind'>): MpaFrameReader {
  return readerOf('reply', mpaFrame({ kind: 'Rep', ...fields }));
}

describe('the MPA initiator', () => {
  it('asks as Linux initiators do: revision 2, enhanced, no markers, client-server', () => {
    const bytes = encodeMpaRequest(parameters(16, 1), 'off');
    expect(Buffer.from(bytes)).toEqual(vectors.mpaRequestOfIser);
  });

  it('asks for CRCs when told to', () => {
    expect(encodeMpaRequest(parameters(16, 1), 'on')[16]).toBe(0x50);
  });

  it('never offers more reads than it can bear', () => {
    const bytes = Buffer.from(encodeMpaRequest(parameters(5000, 0x3fff), 'off'));
    expect([bytes.readUInt16BE(20), bytes.readUInt16BE(22)]).toEqual([128, 128]);
  });

  it('takes the reply of Linux soft-iWARP', () => {
    const reader = readerOf('reply', vectors.mpaReplyOfSiw);
    expect(readMpaReply(reader, parameters(16, 1), 'off')).toEqual({
      type: 'accepted',
      agreement: {
        crc: false,
        readDepthInbound: 16,
        readDepthOutbound: 1,
        peer: parameters(1, 16, Uint8Array.from(iserHeader)),
      },
    });
  });

  it('never has more reads outstanding than the peer grants, or it wants itself', () => {
    const cases = [
      { wanted: 8, granted: 2, expected: 2 },
      { wanted: 2, granted: 8, expected: 2 },
      { wanted: 4, granted: 0, expected: 0 },
      { wanted: 4, granted: 0x3fff, expected: 4 },
    ];
    for (const { wanted, granted, expected } of cases) {
      const outcome = readMpaReply(
        reply({ flags: 0x10, depths: [granted, 1] }),
        parameters(16, wanted),
        'off',
      );
      expect(outcome).toMatchObject({
        type: 'accepted',
        agreement: { readDepthOutbound: expected },
      });
    }
  });

  it.each<[CrcMode, number, boolean]>([
    ['off', 0x10, false],
    ['off', 0x50, true],
    ['on', 0x10, true],
    ['on', 0x50, true],
  ])('with CRC %s and reply flags %i agrees on CRC %s', (crc, flags, expected) => {
    const outcome = readMpaReply(reply({ flags, depths: [1, 1] }), parameters(16, 1), crc);
    expect(outcome).toMatchObject({ type: 'accepted', agreement: { crc: expected } });
  });

  it('hears a rejection, with or without enhanced data', () => {
    expect(
      readMpaReply(readerOf('reply', vectors.mpaRejectOfSiw), parameters(16, 1), 'off'),
    ).toEqual({ type: 'rejected', privateData: new Uint8Array(0) });
    const plain = reply({ flags: 0x20, revision: 1, privateData: Buffer.from('no') });
    expect(readMpaReply(plain, parameters(16, 1), 'off')).toEqual({
      type: 'rejected',
      privateData: Uint8Array.from(Buffer.from('no')),
    });
  });

  it.each<[string, Omit<MpaFields, 'kind'>, unknown]>([
    ['revision 1', { flags: 0x10, revision: 1, depths: [1, 1] }, null],
    ['revision 3', { flags: 0x10, revision: 3, depths: [1, 1] }, null],
    ['no enhanced data', { flags: 0 }, null],
    ['enhanced data that is announced and missing', { flags: 0x10 }, null],
    ['a wish for markers', { flags: 0x90, depths: [1, 1] }, null],
    [
      'a ready-to-receive that was not offered',
      { flags: 0x10, depths: [0x8001, 0x8001] },
      Terminate.llpRtr,
    ],
    ['more reads than we bear', { flags: 0x10, depths: [1, 129] }, Terminate.llpInsufficientIrd],
  ])('cannot use a reply with %s', (_name, fields, terminate) => {
    expect(readMpaReply(reply(fields), parameters(16, 1), 'off')).toMatchObject({
      type: 'unusable',
      terminate,
    });
  });

  it('bears more reads than it offered when the peer insists and it can', () => {
    const outcome = readMpaReply(
      reply({ flags: 0x10, depths: [1, 100] }),
      parameters(16, 1),
      'off',
    );
    expect(outcome).toMatchObject({ agreement: { readDepthInbound: 100 } });
  });
});

describe('the MPA responder', () => {
  it('answers a Linux initiator with exactly eight bytes of private data', () => {
    const reader = readerOf('request', vectors.mpaRequestOfIser);
    const outcome = readMpaRequest(reader);
    expect(outcome).toEqual({
      type: 'acceptable',
      peer: parameters(16, 1, Uint8Array.from(iserHeader)),
    });
    const acceptance = encodeMpaReply(reader, parameters(16, 1), parameters(1, 16), 'off');
    expect(Buffer.from(acceptance.bytes)).toEqual(vectors.mpaReplyOfSiw);
    expect(acceptance.agreement).toMatchObject({
      crc: false,
      readDepthInbound: 1,
      readDepthOutbound: 16,
    });
  });

  it.each([0, 1, 2])('serves revision %i and answers in it', (revision) => {
    const reader = request({ flags: 0, revision, privateData: iserHeader });
    const outcome = readMpaRequest(reader);
    expect(outcome).toEqual({
      type: 'acceptable',
      peer: parameters(1, 1, Uint8Array.from(iserHeader)),
    });
    const { bytes, agreement } = encodeMpaReply(reader, parameters(1, 1), parameters(4, 4), 'off');
    expect(Buffer.from(bytes)).toEqual(
      mpaFrame({ kind: 'Rep', flags: 0, revision, privateData: iserHeader }),
    );
    // One read at a time towards a peer that could not say what it bears.
    expect(agreement).toMatchObject({ readDepthInbound: 4, readDepthOutbound: 1 });
  });

  it('refuses revision 3 without an answer', () => {
    expect(readMpaRequest(request({ flags: 0x10, revision: 3, depths: [1, 1] }))).toMatchObject({
      type: 'refused',
      reply: null,
    });
  });

  it('rejects a peer that wants markers, as Linux soft-iWARP does', () => {
    const outcome = readMpaRequest(request({ flags: 0x90, depths: [1, 1] }));
    expect(outcome.type).toBe('refused');
    if (outcome.type !== 'refused') return;
    expect(Buffer.from(outcome.reply ?? [])).toEqual(vectors.mpaRejectOfSiw);
  });

  it('refuses enhanced data that is announced and missing', () => {
    const short = request({ flags: 0x10, privateData: Buffer.alloc(3) });
    expect(readMpaRequest(short)).toMatchObject({ type: 'refused', reply: null });
  });

  it('wants no more reads than the peer bears', () => {
    const reader = request({ flags: 0x10, depths: [3, 1] });
    const { agreement, bytes } = encodeMpaReply(reader, parameters(3, 1), parameters(8, 8), 'off');
    expect(agreement).toMatchObject({ readDepthInbound: 8, readDepthOutbound: 3 });
    expect(Buffer.from(bytes).readUInt16BE(22)).toBe(3);
  });

  it.each<[CrcMode, number, number]>([
    ['off', 0x10, 0x10],
    ['off', 0x50, 0x50],
    ['on', 0x10, 0x50],
    ['on', 0x50, 0x50],
  ])('with CRC %s answers request flags %i with %i', (crc, flags, expected) => {
    const reader = request({ flags, depths: [1, 1] });
    const { bytes, agreement } = encodeMpaReply(reader, parameters(1, 1), parameters(1, 1), crc);
    expect(bytes[16]).toBe(expected);
    expect(agreement.crc).toBe((expected & 0x40) !== 0);
  });

  it.each([
    ['Write', 0x8001, 0xc001, 0x8001, 0x8001, false],
    ['Read', 0xc001, 0x4001, 0x8001, 0x4001, false],
    ['Send', 0xc001, 0x0001, 0xc001, 0x0001, true],
    ['nothing', 0x8001, 0x0001, 0x8001, 0x8001, false],
  ])(
    'chooses a ready-to-receive message for a peer-to-peer initiator that offers %s',
    (_name, ird, ord, replyIrd, replyOrd, expectsSendRtr) => {
      const reader = request({ flags: 0x10, depths: [ird, ord] });
      const acceptance = encodeMpaReply(reader, parameters(1, 1), parameters(1, 1), 'off');
      const bytes = Buffer.from(acceptance.bytes);
      expect([bytes.readUInt16BE(20), bytes.readUInt16BE(22)]).toEqual([replyIrd, replyOrd]);
      expect(acceptance.expectsSendRtr).toBe(expectsSendRtr);
    },
  );

  it('writes a rejection with the consumer’s bytes', () => {
    const reader = request({ flags: 0x10, depths: [1, 1] });
    expect(Buffer.from(encodeMpaReject(reader, Buffer.from('busy')))).toEqual(
      mpaFrame({ kind: 'Rep', flags: 0x30, depths: [0, 0], privateData: Buffer.from('busy') }),
    );
  });
});

describe('the MPA frame reader', () => {
  const whole = mpaFrame({
    kind: 'Req',
    flags: 0x10,
    depths: [7, 9],
    privateData: Buffer.from('private data'),
  });

  it('reads the same from any pieces, and takes no byte that follows', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(whole.length + 10)), fc.nat(10), (cuts, following) => {
        const stream = Buffer.concat([whole, Buffer.alloc(following, 0xaa)]);
        const reader = new MpaFrameReader('request');
        let taken = 0;
        let at = 0;
        for (const cut of [...cuts.sort((a, b) => a - b), stream.length]) {
          const end = Math.min(cut, stream.length);
          taken += reader.receive(stream, at, end);
          at = Math.max(at, end);
        }
        expect(taken).toBe(whole.length);
        expect(reader.isComplete).toBe(true);
        expect(reader.frame).toMatchObject({ ird: 7, ord: 9, revision: 2, flags: 0x10 });
        expect(Buffer.from(reader.privateData).toString()).toBe('private data');
      }),
    );
  });

  it('is not complete before the last byte, at every length', () => {
    for (let length = 0; length < whole.length; length++) {
      const reader = new MpaFrameReader('request');
      expect(reader.receive(whole, 0, length)).toBe(length);
      expect([reader.isComplete, reader.failure]).toEqual([false, null]);
    }
  });

  it('fails at the first byte of another protocol', () => {
    const reader = new MpaFrameReader('request');
    reader.receive(Buffer.from('SSH-2.0'), 0, 1);
    expect(reader.failure).toMatch(/MPA ID Req Frame/);
    const mirror = new MpaFrameReader('request');
    mirror.receive(vectors.mpaReplyOfSiw, 0, 28);
    expect(mirror.failure).not.toBeNull();
  });

  it('takes 512 bytes of private data and refuses 513', () => {
    const longest = mpaFrame({ kind: 'Rep', flags: 0, privateData: Buffer.alloc(512, 1) });
    expect(readerOf('reply', longest).privateData).toEqual(new Uint8Array(512).fill(1));
    const reader = new MpaFrameReader('reply');
    const tooLong = mpaFrame({ kind: 'Rep', flags: 0, privateData: Buffer.alloc(513) });
    reader.receive(tooLong, 0, tooLong.length);
    expect(reader.failure).toMatch(/513/);
  });

  it('survives any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.boolean(), (bytes, keyed) => {
        const stream = Buffer.concat([keyed ? whole.subarray(0, 16) : Buffer.alloc(0), bytes]);
        const reader = new MpaFrameReader('request');
        expect(reader.receive(stream, 0, stream.length)).toBeLessThanOrEqual(stream.length);
        if (reader.isComplete) expect(readMpaRequest(reader).type).toMatch(/acceptable|refused/);
      }),
    );
  });
});
