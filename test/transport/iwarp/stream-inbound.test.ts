import fc from 'fast-check';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/transport/verbs.js';
import { readRequest, tagged, untagged } from '../../support/iwarp/frames.js';
import { StreamHarness, addressOf } from '../../support/iwarp/stream.js';
import type { HarnessOptions } from '../../support/iwarp/stream.js';
import {
  fillPattern,
  readWork,
  registerWork,
  remoteAddress,
} from '../../support/transport/work.js';
import * as vectors from '../../vectors/iwarp-frames.js';

const send = (sequence: number, payload: Uint8Array, more: object = {}): Buffer =>
  untagged({ opcode: 3, sequence, payload, ...more });

/** Gives the stream one frame that it must refuse, and checks the Terminate and that everything ends. */
async function expectTerminate(
  harness: StreamHarness,
  frame: Buffer,
  control: string,
): Promise<void> {
  const posted = harness.postReceive(16);
  harness.receive(frame);
  await harness.settle();
  expect(harness.over).toHaveLength(1);
  expect(harness.over[0]).not.toBeNull();
  expect(harness.terminate()).toBe(control);
  expect(harness.queuePair.isInError).toBe(true);
  expect((await posted.work.completion).status).toBe('flushed');
  // Nothing that comes after it has an effect, and nothing more is said.
  harness.receive(frame);
  await harness.settle();
  expect(harness.frames()).toEqual([]);
}

describe('an iWARP stream, receiving', () => {
  it('delivers Sends of all four kinds', async () => {
    const harness = new StreamHarness();
    const fast = harness.allocateFastRegion(4096);
    const { slab } = harness.register(64);
    const keys: number[] = [];
    for (let sequence = 1; sequence <= 4; sequence++) {
      const opcode = sequence + 2;
      const { slab: sink, work } = harness.postReceive(10);
      const withInvalidate = opcode === 4 || opcode === 6;
      let key = 0;
      if (withInvalidate) {
        key = fast.nextKey();
        harness.post(registerWork(fast, key, slab, Access.remoteWrite));
        await harness.settle();
      }
      const payload = Buffer.from([sequence, 2, 3]);
      harness.receive(untagged({ opcode, sequence, payload, invalidateStag: key }));
      expect(await work.completion).toMatchObject({
        status: 'success',
        byteLength: 3,
        withInvalidate,
        invalidatedKey: key,
      });
      expect(sink.bytes.subarray(0, 3)).toEqual(payload);
      expect(fast.isValid).toBe(false);
      keys.push(key);
    }
    expect(harness.over).toEqual([]);
  });

  it('puts the segments of a Send together, and lets tagged segments come between', async () => {
    const harness = new StreamHarness();
    const { slab, work } = harness.postReceive(100);
    const target = harness.register(100);
    const write = (delta: number, fill: number, last: boolean): Buffer =>
      tagged({
        opcode: 0,
        stag: target.region.rkey,
        offset: addressOf(target.region, delta),
        payload: Buffer.alloc(10, fill),
        last,
      });
    harness.receive(
      Buffer.concat([
        send(1, Buffer.alloc(33, 1), { last: false }),
        write(0, 7, false),
        send(1, Buffer.alloc(33, 2), { last: false, messageOffset: 33 }),
        write(10, 8, true),
        send(1, Buffer.alloc(34, 3), { messageOffset: 66 }),
      ]),
    );
    expect((await work.completion).byteLength).toBe(100);
    expect([slab.bytes[0], slab.bytes[33], slab.bytes[99]]).toEqual([1, 2, 3]);
    expect([target.slab.bytes[0], target.slab.bytes[10], target.slab.bytes[20]]).toEqual([7, 8, 0]);
  });

  it('completes no receive before the CRC of its FPDU is right', async () => {
    const harness = new StreamHarness({ crc: true });
    const { work } = harness.postReceive(100);
    const frame = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(50) }, { crc: true });
    for (let length = 0; length < frame.length; length++) {
      harness.receive(frame.subarray(length, length + 1));
      await harness.ring();
      expect(work.records).toHaveLength(length === frame.length - 1 ? 1 : 0);
    }
    expect((await work.completion).status).toBe('success');
  });

  it('ends with the CRC Terminate for a corrupted FPDU, which completes nothing', async () => {
    const harness = new StreamHarness({ crc: true });
    const frame = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(50) }, { crc: true });
    frame[30]! ^= 1;
    await expectTerminate(harness, frame, '20020000');
  });

  it('counts sequence numbers per queue', async () => {
    const harness = new StreamHarness();
    const { region } = harness.register(64);
    for (let sequence = 1; sequence <= 3; sequence++) {
      const { work } = harness.postReceive(4);
      harness.receive(send(sequence, Buffer.alloc(4)));
      harness.receive(
        readRequest({
          sequence,
          sinkStag: 9,
          sinkOffset: 0n,
          length: 4,
          sourceStag: region.rkey,
          sourceOffset: addressOf(region),
        }),
      );
      expect((await work.completion).status).toBe('success');
    }
    await harness.settle();
    expect(harness.over).toEqual([]);
    expect(harness.frames()).toHaveLength(3);
  });

  const anyPayload = Buffer.alloc(8);
  it.each<[string, Buffer, string]>([
    ['a wrong sequence number', send(2, anyPayload), '1203c000'],
    ['a sequence number of 0', send(0, anyPayload), '1203c000'],
    ['a queue that does not exist', send(1, anyPayload, { queue: 3 }), '1201c000'],
    ['a Send on the queue of Read Requests', send(1, anyPayload, { queue: 1 }), '1201c000'],
    ['a message offset that jumps', send(1, anyPayload, { messageOffset: 4 }), '1204c000'],
    ['a Send longer than the receive', send(1, Buffer.alloc(17)), '1205c000'],
    ['DDP version 0 on an untagged segment', send(1, anyPayload, { ddpVersion: 0 }), '1206c000'],
    ['RDMAP version 0', send(1, anyPayload, { rdmapVersion: 0 }), '0205c000'],
    ['RDMAP version 2', send(1, anyPayload, { rdmapVersion: 2 }), '0205c000'],
    [
      'an opcode that does not exist',
      untagged({ opcode: 9, sequence: 1, payload: anyPayload }),
      '0206c000',
    ],
    [
      'an RDMA Write that is untagged',
      untagged({ opcode: 0, sequence: 1, payload: anyPayload }),
      '0206c000',
    ],
    [
      'a Send that is tagged',
      tagged({ opcode: 3, stag: 1, offset: 0n, payload: anyPayload }),
      '0206c000',
    ],
    [
      'DDP version 2 on a tagged segment',
      tagged({ opcode: 0, stag: 1, offset: 0n, payload: anyPayload, ddpVersion: 2 }),
      '1104c000',
    ],
    [
      'a key that does not exist',
      tagged({ opcode: 0, stag: 0x12345678, offset: 0n, payload: anyPayload }),
      '1100c000',
    ],
    [
      'a Read Response that nobody asked for',
      tagged({ opcode: 2, stag: 1, offset: 0n, payload: anyPayload }),
      '0206c000',
    ],
    [
      'a Send with Invalidate of a key that does not exist',
      untagged({ opcode: 4, sequence: 1, payload: anyPayload, invalidateStag: 77 }),
      '0100c000',
    ],
    [
      'a Read Request that is too short',
      untagged({ opcode: 1, queue: 1, sequence: 1, payload: Buffer.alloc(24) }),
      '20030000',
    ],
    [
      'a Read Request that is too long',
      untagged({ opcode: 1, queue: 1, sequence: 1, payload: Buffer.alloc(32) }),
      '20030000',
    ],
    [
      'a Read Request in two segments',
      untagged({ opcode: 1, queue: 1, sequence: 1, payload: Buffer.alloc(28), last: false }),
      '20030000',
    ],
  ])('terminates for %s', async (_name, frame, control) => {
    await expectTerminate(new StreamHarness(), frame, control);
  });

  it('terminates a Send that finds no receive', async () => {
    const harness = new StreamHarness();
    harness.receive(send(1, anyPayload));
    await harness.settle();
    const terminate = harness.frames().at(-1);
    // Layer, type and code in the RFC's order, then the length and header of the segment.
    expect(terminate?.payload.toString('hex')).toBe(
      '1202c000' + '001a' + '414300000000' + '00000000' + '00000001' + '00000000',
    );
    expect(terminate).toMatchObject({ queue: 2, sequence: 1, isLast: true });
  });

  it('terminates when the opcode changes in the middle of a message', async () => {
    const harness = new StreamHarness();
    harness.postReceive(64);
    harness.receive(send(1, anyPayload, { last: false }));
    const next = untagged({ opcode: 5, sequence: 1, messageOffset: 8, payload: anyPayload });
    await expectTerminate(harness, next, '0206c000');
  });

  describe('an RDMA Write', () => {
    const writeTo = (stag: number, offset: bigint, length: number): Buffer =>
      tagged({ opcode: 0, stag, offset, payload: Buffer.alloc(length, 0xff) });

    it.each([
      ['one byte before the region', -1, 4, '1101c000'],
      ['one byte past the region', 97, 4, '1101c000'],
      ['far away', 1 << 30, 4, '1101c000'],
    ])('is refused %s, and places nothing', async (_name, delta, length, control) => {
      const harness = new StreamHarness();
      const { slab, region } = harness.register(100);
      await expectTerminate(
        harness,
        writeTo(region.rkey, addressOf(region, delta), length),
        control,
      );
      expect(slab.bytes.equals(Buffer.alloc(100))).toBe(true);
    });

    it('is refused when the range passes 2^64', async () => {
      const harness = new StreamHarness();
      const { region } = harness.register(100);
      await expectTerminate(harness, writeTo(region.rkey, 0xffff_ffff_ffff_fffen, 4), '1103c000');
    });

    it('is refused where only reading is allowed', async () => {
      const harness = new StreamHarness();
      const { slab, region } = harness.register(100, Access.remoteRead);
      await expectTerminate(harness, writeTo(region.rkey, addressOf(region), 4), '0102c000');
      expect(slab.bytes.equals(Buffer.alloc(100))).toBe(true);
    });

    it('is refused with a revoked key', async () => {
      const harness = new StreamHarness();
      const { slab, region } = harness.register(100);
      region.deregister();
      await expectTerminate(harness, writeTo(region.rkey, addressOf(region), 4), '1100c000');
      expect(slab.bytes.equals(Buffer.alloc(100))).toBe(true);
    });

    it('is refused with a key of another protection domain', async () => {
      const harness = new StreamHarness();
      const { slab } = harness.register(100);
      const other = harness.device.allocateProtectionDomain();
      const foreign = other.registerMemory({ slab, offset: 0, length: 100 }, Access.remoteWrite);
      await expectTerminate(harness, writeTo(foreign.rkey, addressOf(foreign), 4), '1102c000');
    });

    it('places what was in bounds, stops when its key is revoked on the way, and terminates', async () => {
      const harness = new StreamHarness();
      const { slab, region } = harness.register(100);
      const frame = writeTo(region.rkey, addressOf(region), 100);
      harness.receive(frame.subarray(0, 50));
      region.deregister();
      await expectTerminate(harness, frame.subarray(50), '1100c000');
      expect(slab.bytes.indexOf(0)).toBe(34);
    });

    it('of no bytes needs no key', async () => {
      const harness = new StreamHarness();
      harness.receive(writeTo(0, 0n, 0));
      await harness.settle();
      expect(harness.over).toEqual([]);
    });
  });

  describe('a Read Response', () => {
    const LENGTH = 1000;

    async function reading(options?: HarnessOptions) {
      const harness = new StreamHarness(options);
      const sink = harness.register(LENGTH + 1);
      const works = [0, 1].map(() =>
        readWork(sink, 0, LENGTH, remoteAddress(0x11223344, 0xffff_ffff_0000_0000n)),
      );
      harness.post(...works);
      await harness.settle();
      const requests = harness.frames();
      expect(requests).toHaveLength(2);
      const sinkStag = requests[0]!.payload.readUInt32BE(0);
      const sinkOffset = requests[0]!.payload.readBigUInt64BE(4);
      const respond = (delta: number, length: number, last: boolean, stag = sinkStag): Buffer =>
        tagged({
          opcode: 2,
          stag,
          offset: sinkOffset + BigInt(delta),
          payload: Buffer.alloc(length, 0xab),
          last,
        });
      return { harness, sink, works, respond };
    }

    it('completes its read, in any number of segments', async () => {
      const { harness, works, sink, respond } = await reading();
      harness.receive(Buffer.concat([respond(0, 600, false), respond(600, 400, true)]));
      expect(await works[0]!.completion).toMatchObject({ status: 'success', byteLength: LENGTH });
      expect(sink.slab.bytes.subarray(0, LENGTH).equals(Buffer.alloc(LENGTH, 0xab))).toBe(true);
      expect(works[1]!.records).toEqual([]);
    });

    it.each<[string, [number, number, boolean], string]>([
      ['is too short', [0, LENGTH - 1, true], '1101c000'],
      ['is too long', [0, LENGTH + 1, true], '1101c000'],
      ['starts in the wrong place', [4, 100, false], '1101c000'],
      ['starts before its place', [-4, 100, false], '1101c000'],
    ])('terminates when it %s', async (_name, [delta, length, last], control) => {
      const { harness, works, sink, respond } = await reading();
      await expectTerminate(harness, respond(delta, length, last), control);
      for (const work of works) expect((await work.completion).status).toBe('flushed');
      expect(sink.slab.bytes[LENGTH]).toBe(0);
    });

    it('terminates when a segment is left out', async () => {
      const { harness, respond } = await reading();
      harness.receive(respond(0, 400, false));
      await expectTerminate(harness, respond(500, 500, true), '1101c000');
    });

    it('terminates when a segment comes twice', async () => {
      const { harness, respond } = await reading();
      harness.receive(respond(0, 400, false));
      await expectTerminate(harness, respond(0, 400, false), '1101c000');
    });

    it('terminates when it goes to another key', async () => {
      const { harness, respond } = await reading();
      const other = harness.register(LENGTH);
      await expectTerminate(harness, respond(0, 100, false, other.region.rkey), '1100c000');
      expect(other.slab.bytes.equals(Buffer.alloc(LENGTH))).toBe(true);
    });

    it('terminates when there are more responses than reads', async () => {
      const { harness, works, respond } = await reading();
      harness.receive(Buffer.concat([respond(0, LENGTH, true), respond(0, LENGTH, true)]));
      for (const work of works) expect((await work.completion).status).toBe('success');
      await expectTerminate(harness, respond(0, LENGTH, true), '0206c000');
    });
  });

  describe('a Terminate', () => {
    const terminate = (payload: Buffer): Buffer =>
      untagged({ opcode: 7, queue: 2, sequence: 1, payload });

    it.each([
      ['the RFC’s order', vectors.rfcTerminateNoBuffer, /no buffer available$/],
      ['soft-iWARP’s order', vectors.siwTerminateNoBuffer, /no buffer available$/],
      [
        'an order that cannot be told',
        Buffer.from('02060000', 'hex'),
        /unexpected opcode, or .*insufficient IRD/,
      ],
      ['no order at all', Buffer.alloc(1), /too short/],
      ['any length', Buffer.alloc(2000, 0x11), /unknown Terminate/],
    ])('in %s ends the stream without an answer', async (_name, payload, reason) => {
      const harness = new StreamHarness();
      const { work } = harness.postReceive(10);
      harness.receive(terminate(payload));
      await harness.settle();
      expect(harness.over).toHaveLength(1);
      expect(harness.over[0]).toMatch(reason);
      expect(harness.frames()).toEqual([]);
      expect((await work.completion).status).toBe('flushed');
    });

    it.each([
      ['in one piece', []],
      ['in pieces', [70, 71, 100, 200]],
    ])('ends the stream once, however many of them come, %s', async (_name, cuts) => {
      const lines: string[] = [];
      const log = pino({ base: null }, { write: (line: string) => void lines.push(line) });
      const harness = new StreamHarness({ log });
      harness.receive(
        Buffer.concat(Array.from({ length: 100 }, () => terminate(vectors.rfcTerminateNoBuffer))),
        cuts,
      );
      await harness.settle();
      expect(harness.over).toHaveLength(1);
      expect(lines).toHaveLength(1);
    });

    it('that refuses our read fails it as a remote access error', async () => {
      const harness = new StreamHarness();
      const read = readWork(harness.register(10), 0, 10, remoteAddress(1, 0n));
      harness.post(read);
      await harness.settle();
      harness.receive(terminate(vectors.siwTerminateSourceStag));
      expect((await read.completion).status).toBe('remoteAccessError');
    });
  });

  it('ends in order when the peer finishes between FPDUs, and says so when not', () => {
    const orderly = new StreamHarness();
    orderly.stream.peerFinished();
    expect(orderly.over).toEqual([null]);
    const cut = new StreamHarness();
    cut.receive(vectors.sendFpdu.subarray(0, 3));
    cut.stream.peerFinished();
    expect(cut.over[0]).toMatch(/in the middle of an FPDU/);
  });

  it('survives any bytes: it waits for more, or ends, and its memory is what it was', async () => {
    const piece = fc.oneof(
      fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.from(bytes)),
      fc
        .record({
          opcode: fc.nat(8),
          queue: fc.nat(3),
          sequence: fc.nat(3),
          messageOffset: fc.constantFrom(0, 0, 0, 10),
          last: fc.boolean(),
          payload: fc.uint8Array({ maxLength: 40 }),
        })
        .map((fields) => untagged(fields)),
      fc
        .record({
          opcode: fc.constantFrom(0, 2),
          stag: fc.nat(),
          offset: fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
          payload: fc.uint8Array({ maxLength: 40 }),
        })
        .map((fields) => tagged(fields)),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(piece, { maxLength: 6 }),
        fc.array(fc.nat(400)),
        async (pieces, cuts) => {
          const harness = new StreamHarness();
          const canary = harness.register(1000);
          fillPattern(canary.slab.bytes, 4);
          const before = Buffer.from(canary.slab.bytes);
          const receives = [1, 2, 3].map(() => harness.postReceive(32));
          harness.receive(
            Buffer.concat(pieces),
            cuts.sort((a, b) => a - b),
          );
          harness.stream.peerFinished();
          await harness.settle();
          for (const { work } of receives) expect(work.records).toHaveLength(1);
          expect(harness.over).toHaveLength(1);
          expect(canary.slab.bytes.equals(before)).toBe(true);
        },
      ),
    );
  });
});
