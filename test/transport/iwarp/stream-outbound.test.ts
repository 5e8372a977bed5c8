import { describe, expect, it } from 'vitest';
import { Access } from '../../../src/transport/verbs.js';
import {
  STREAM_CLOSE_TIMEOUT_MS,
  TRANSMIT_BYTES_MAX,
} from '../../../src/transport/iwarp/limits.js';
import { readRequest, tagged, untagged } from '../../support/iwarp/frames.js';
import type { ReadFrame } from '../../support/iwarp/frames.js';
import { StreamHarness, addressOf } from '../../support/iwarp/stream.js';
import {
  fillPattern,
  readWork,
  registerWork,
  remoteAddress,
  sendInvalidateWork,
  sendWork,
  writeWork,
} from '../../support/transport/work.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const FPDU_SIZES = [1400, 1448, 4096, 8948, 16_384, 32_768, 60_000, 65_500];

const payloadOf = (frames: readonly ReadFrame[]): Buffer =>
  Buffer.concat(frames.map((frame) => frame.payload));

describe('an iWARP stream, sending', () => {
  it('writes Sends with the control words, sequence numbers and keys of RFC 5040', async () => {
    const harness = new StreamHarness();
    const source = harness.register(100);
    fillPattern(source.slab.bytes, 1);
    harness.post(sendWork(source, 0, 76), sendInvalidateWork(source, 4, 10, 0xaabbccdd));
    await harness.settle();
    const [first, second] = harness.frames();
    expect(first).toMatchObject({
      control: '4143',
      queue: 0,
      sequence: 1,
      messageOffset: 0,
      stag: 0,
      crc: 0,
    });
    expect(first?.payload.equals(source.slab.bytes.subarray(0, 76))).toBe(true);
    expect(second).toMatchObject({ control: '4144', sequence: 2, stag: 0xaabbccdd });
    expect(second?.payload.equals(source.slab.bytes.subarray(4, 14))).toBe(true);
  });

  it.each(FPDU_SIZES)('cuts a message into whole FPDUs of at most %i bytes', async (fpduBytes) => {
    for (const crc of [false, true]) {
      const harness = new StreamHarness({ fpduBytes, crc });
      const length = 300_001;
      const source = harness.register(length);
      fillPattern(source.slab.bytes, fpduBytes);
      const address = 0xffff_ffff_ffff_0000n - 100_000n;
      harness.post(
        writeWork(source, 0, length, remoteAddress(0x1234, address)).unsignaled(),
        sendWork(source, 0, length),
      );
      await harness.settle();
      const frames = harness.frames();
      for (const frame of frames) {
        expect(frame.bytes.length).toBeLessThanOrEqual(fpduBytes);
        expect(frame.bytes.length % 4).toBe(0);
        expect(frame.padBytes.every((byte) => byte === 0)).toBe(true);
        expect(crc ? frame.crcIsRight : frame.crc === 0).toBe(true);
      }
      const writes = frames.filter((frame) => frame.isTagged);
      const sends = frames.filter((frame) => !frame.isTagged);
      for (const group of [writes, sends]) {
        expect(payloadOf(group).equals(source.slab.bytes)).toBe(true);
        expect(group.map((frame) => frame.isLast)).toEqual(
          group.map((_, index) => index === group.length - 1),
        );
      }
      let at = 0;
      for (const [index, frame] of writes.entries()) {
        expect(frame.offset).toBe(BigInt.asUintN(64, address + BigInt(at)));
        expect(sends[index]?.messageOffset ?? at).toBeGreaterThanOrEqual(0);
        at += frame.payload.length;
      }
      at = 0;
      for (const frame of sends) {
        expect(frame).toMatchObject({ sequence: 1, messageOffset: at });
        at += frame.payload.length;
      }
    }
  });

  it('gathers short and long pieces from several places', async () => {
    for (const crc of [false, true]) {
      const harness = new StreamHarness({ fpduBytes: 20_000, crc });
      const header = harness.register(200);
      const data = harness.register(100_000);
      fillPattern(header.slab.bytes, 5);
      fillPattern(data.slab.bytes, 6);
      const work = sendWork(header, 64, 76)
        .addSge(data.region, 1, 30_000)
        .addSge(header.region, 3, 0)
        .addSge(data.region, 50_000, 9001);
      harness.post(work);
      await harness.settle();
      const expected = Buffer.concat([
        header.slab.bytes.subarray(64, 140),
        data.slab.bytes.subarray(1, 30_001),
        data.slab.bytes.subarray(50_000, 59_001),
      ]);
      const frames = harness.frames();
      expect(payloadOf(frames).equals(expected)).toBe(true);
      if (crc) expect(frames.every((frame) => frame.crcIsRight)).toBe(true);
      expect((await work.completion).status).toBe('success');
    }
  });

  it('completes a Send only when its bytes have left', async () => {
    const harness = new StreamHarness();
    const work = sendWork(harness.register(64 * KIB), 0, 64 * KIB);
    harness.post(work);
    await harness.ring();
    expect(harness.sink.queuedBytes).toBeGreaterThan(64 * KIB);
    expect(work.records).toEqual([]);
    harness.sink.leave();
    expect((await work.completion).status).toBe('success');
  });

  it('holds no more than its limit in the socket, and goes on as bytes leave', async () => {
    const harness = new StreamHarness();
    const source = harness.register(MIB);
    fillPattern(source.slab.bytes, 8);
    const works = [1, 2, 3, 4].map(() => writeWork(source, 0, MIB, remoteAddress(1, 0n)));
    harness.post(...works);
    await harness.ring();
    let total = 0;
    while (total < 4 * MIB) {
      expect(harness.sink.queuedBytes).toBeLessThanOrEqual(TRANSMIT_BYTES_MAX + 70_000);
      harness.sink.leave();
      const frames = harness.frames();
      total += payloadOf(frames).length;
      await harness.settle();
      total += payloadOf(harness.frames()).length;
    }
    expect(total).toBe(4 * MIB);
    for (const work of works) expect((await work.completion).status).toBe('success');
  });

  describe('RDMA Reads', () => {
    it('asks with the right sink and source, and never for more than ORD at once', async () => {
      const harness = new StreamHarness({ readDepthOutbound: 3 });
      const sink = harness.register(1000);
      const works = Array.from({ length: 10 }, (_, index) =>
        readWork(sink, index * 100, 100, remoteAddress(0x77, 0x1_0000_0000n + BigInt(index))),
      );
      harness.post(...works);
      await harness.settle();
      let answered = 0;
      let asked = 0;
      for (;;) {
        const requests = harness.frames();
        for (const request of requests) {
          expect(request.control).toBe('4141');
          expect(request.ulpduLength).toBe(46);
          expect(request.sequence).toBe(++asked);
          expect(request.payload.readUInt32BE(12)).toBe(100);
          expect(request.payload.readUInt32BE(16)).toBe(0x77);
          expect(request.payload.readBigUInt64BE(20)).toBe(0x1_0000_0000n + BigInt(asked - 1));
          expect(request.payload.readBigUInt64BE(4)).toBe(
            addressOf(sink.region, (asked - 1) * 100),
          );
        }
        expect(asked - answered).toBeLessThanOrEqual(3);
        if (answered === works.length) break;
        harness.receive(
          tagged({
            opcode: 2,
            stag: sink.region.rkey,
            offset: addressOf(sink.region, answered * 100),
            payload: Buffer.alloc(100, ++answered),
          }),
        );
        await harness.settle();
      }
      expect(asked).toBe(10);
      for (const [index, work] of works.entries()) {
        expect((await work.completion).status).toBe('success');
        expect(sink.slab.bytes[index * 100 + 99]).toBe(index + 1);
      }
    });

    it('leave within the first bytes of a write, so that TCP does not cut them', async () => {
      const harness = new StreamHarness({ readDepthOutbound: 100 });
      const source = harness.register(20_000);
      const sink = harness.register(8);
      const works = Array.from({ length: 60 }, (_, index) =>
        index === 0 ? sendWork(source, 0, 20_000) : readWork(sink, 0, 8, remoteAddress(1, 0n)),
      );
      harness.post(...works);
      const writes: number[] = [];
      let requests = 0;
      while (requests < 59) {
        await harness.ring();
        harness.sink.leave();
        let at = 0;
        const frames = harness.frames();
        for (const frame of frames) {
          at += frame.bytes.length;
          if (frame.opcode !== 1) continue;
          requests++;
          expect(at).toBeLessThanOrEqual(1400);
        }
        writes.push(at);
        harness.runTurns();
      }
      expect(writes.length).toBeGreaterThan(2);
    });
  });

  describe('answering RDMA Reads', () => {
    function request(
      source: { region: { rkey: number; addressHigh: number; addressLow: number } },
      sequence: number,
      length: number,
    ): Buffer {
      return readRequest({
        sequence,
        sinkStag: 0x5000 + sequence,
        sinkOffset: 0xffff_fff0n,
        length,
        sourceStag: source.region.rkey,
        sourceOffset: (BigInt(source.region.addressHigh) << 32n) | BigInt(source.region.addressLow),
      });
    }

    it('answers in order, contiguous, to the sink that was asked for', async () => {
      const harness = new StreamHarness({ fpduBytes: 1448 });
      const source = harness.register(10_000, Access.remoteRead);
      fillPattern(source.slab.bytes, 2);
      harness.receive(Buffer.concat([request(source, 1, 10_000), request(source, 2, 0)]));
      await harness.settle();
      const frames = harness.frames();
      const first = frames.filter((frame) => frame.stag === 0x5001);
      expect(payloadOf(first).equals(source.slab.bytes)).toBe(true);
      let at = 0xffff_fff0n;
      for (const frame of first) {
        expect(frame.control).toBe(frame === first.at(-1) ? 'c142' : '8142');
        expect(frame.offset).toBe(at);
        at += BigInt(frame.payload.length);
      }
      expect(frames.at(-1)).toMatchObject({ control: 'c142', stag: 0x5002, ulpduLength: 14 });
    });

    it('terminates when the peer has more reads outstanding than were granted', async () => {
      const harness = new StreamHarness({ readDepthInbound: 2 });
      const source = harness.register(100);
      harness.receive(Buffer.concat([1, 2].map((sequence) => request(source, sequence, 100))));
      await harness.settle();
      expect(harness.frames()).toHaveLength(2);
      harness.receive(Buffer.concat([3, 4, 5].map((sequence) => request(source, sequence, 100))));
      await harness.settle();
      expect(harness.over[0]).toMatch(/more RDMA Reads are outstanding/);
      const terminate = harness.frames().at(-1);
      // The read header of the refused request comes along.
      expect(terminate?.payload.toString('hex', 0, 6)).toBe('0207e000002e');
      expect(terminate?.payload.subarray(6 + 18)).toEqual(request(source, 5, 100).subarray(20, 48));
    });

    it.each([
      ['a key that does not exist', { sourceStag: 0x0bad0bad }, '0100e000'],
      ['a range that is not in the region', { length: 101 }, '0101e000'],
      ['a range that passes 2^64', { sourceOffset: 0xffff_ffff_ffff_fff0n }, '0104e000'],
    ])('refuses %s', async (_name, fields, control) => {
      const harness = new StreamHarness();
      const { region } = harness.register(100);
      const good = { sequence: 1, sinkStag: 1, sinkOffset: 0n, length: 100 };
      harness.receive(
        readRequest({
          ...good,
          sourceStag: region.rkey,
          sourceOffset: addressOf(region),
          ...fields,
        }),
      );
      await harness.settle();
      expect(harness.terminate()).toBe(control);
    });

    it('refuses a region that may not be read', async () => {
      const harness = new StreamHarness();
      const source = harness.register(100, Access.remoteWrite);
      harness.receive(request(source, 1, 100));
      await harness.settle();
      expect(harness.terminate()).toBe('0102e000');
    });

    it('waits while the socket is full, and sends what the memory held when it was read', async () => {
      const harness = new StreamHarness({ readDepthInbound: 8 });
      const source = harness.register(4 * MIB, Access.remoteRead);
      source.slab.bytes.fill(1);
      harness.receive(request(source, 1, 4 * MIB));
      await harness.ring();
      expect(harness.sink.queuedBytes).toBeLessThanOrEqual(TRANSMIT_BYTES_MAX + 70_000);
      const held = harness.sink.queuedBytes;
      source.slab.bytes.fill(2);
      await harness.settle();
      const payload = payloadOf(harness.frames());
      expect(payload.length).toBe(4 * MIB);
      const changedAt = payload.indexOf(2);
      expect(changedAt).toBeGreaterThan(held / 2);
      expect(payload.subarray(0, changedAt).every((byte) => byte === 1)).toBe(true);
    });

    it('sends nothing of a region that is revoked while it is read, and terminates', async () => {
      const harness = new StreamHarness();
      const fast = harness.allocateFastRegion(4 * MIB);
      const { slab } = harness.register(4 * MIB);
      const key = fast.nextKey();
      slab.bytes.fill(1);
      harness.post(registerWork(fast, key, slab, Access.remoteRead));
      await harness.settle();
      harness.receive(request({ region: fast }, 1, 4 * MIB));
      await harness.ring();
      fast.deregister();
      slab.bytes.fill(2);
      await harness.settle();
      const frames = harness.frames();
      expect(payloadOf(frames.slice(0, -1)).includes(2)).toBe(false);
      expect(frames.at(-1)?.payload.toString('hex', 0, 4)).toBe('01000000');
      expect(harness.over[0]).toMatch(/revoked/);
    });

    it('takes turns with Sends, and never mixes two tagged messages', async () => {
      const harness = new StreamHarness({ readDepthInbound: 8, fpduBytes: 1400 });
      const source = harness.register(20_000);
      harness.post(
        ...Array.from({ length: 6 }, () => writeWork(source, 0, 20_000, remoteAddress(7, 0n))),
      );
      harness.receive(
        Buffer.concat([1, 2, 3, 4].map((sequence) => request(source, sequence, 20_000))),
      );
      await harness.settle();
      const messages: string[] = [];
      let isOpen = false;
      for (const frame of harness.frames()) {
        if (!isOpen) messages.push(frame.opcode === 0 ? 'W' : 'R');
        else expect(frame.opcode === 0 ? 'W' : 'R').toBe(messages.at(-1));
        isOpen = !frame.isLast;
      }
      expect(messages.join('')).toMatch(/^(RW|WR){4}W+$/);
    });
  });

  describe('as a responder', () => {
    it('sends nothing before the first FPDU of the initiator', async () => {
      const harness = new StreamHarness({ isResponder: true });
      const work = sendWork(harness.register(8), 0, 8);
      harness.post(work);
      await harness.settle();
      expect(harness.frames()).toEqual([]);
      harness.postReceive(8);
      const first = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(8) });
      harness.receive(first.subarray(0, first.length - 1));
      await harness.settle();
      expect(harness.frames()).toEqual([]);
      harness.receive(first.subarray(first.length - 1));
      await harness.settle();
      expect(harness.frames()).toHaveLength(1);
      expect((await work.completion).status).toBe('success');
    });

    it.each([
      ['Write', tagged({ opcode: 0, stag: 0, offset: 0n, payload: Buffer.alloc(0) }), 1],
      [
        'Read',
        readRequest({
          sequence: 1,
          sinkStag: 0,
          sinkOffset: 0n,
          length: 0,
          sourceStag: 0,
          sourceOffset: 0n,
        }),
        2,
      ],
    ])('takes a zero-length %s as the sign that it may send', async (_name, frame, count) => {
      const harness = new StreamHarness({ isResponder: true });
      harness.post(sendWork(harness.register(8), 0, 8));
      harness.receive(frame);
      await harness.settle();
      expect(harness.frames()).toHaveLength(count);
      expect(harness.over).toEqual([]);
    });

    it('keeps a zero-length Send that MPA asked for from the consumer', async () => {
      const harness = new StreamHarness({ isResponder: true, expectsSendRtr: true });
      const { work } = harness.postReceive(8);
      harness.receive(untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(0) }));
      await harness.settle();
      expect(work.records).toEqual([]);
      harness.receive(untagged({ opcode: 3, sequence: 2, payload: Buffer.alloc(0) }));
      expect(await work.completion).toMatchObject({ status: 'success', byteLength: 0 });
    });
  });

  describe('closing', () => {
    it('lets what is posted leave, and flushes what comes later', async () => {
      const harness = new StreamHarness();
      const source = harness.register(2 * MIB);
      const before = writeWork(source, 0, 2 * MIB, remoteAddress(1, 0n));
      harness.post(before);
      harness.stream.close();
      const after = sendWork(source, 0, 8);
      harness.post(after);
      expect(harness.over).toEqual([]);
      await harness.settle();
      expect(payloadOf(harness.frames()).length).toBe(2 * MIB);
      expect((await before.completion).status).toBe('success');
      expect((await after.completion).status).toBe('flushed');
      expect(harness.over).toEqual([null]);
    });

    it('waits for the reads that are out, but not for ever', async () => {
      const harness = new StreamHarness();
      const read = readWork(harness.register(8), 0, 8, remoteAddress(1, 0n));
      harness.post(read);
      await harness.settle();
      harness.stream.close();
      await harness.settle();
      expect(harness.over).toEqual([]);
      harness.clock.advance(STREAM_CLOSE_TIMEOUT_MS);
      expect(harness.over).toEqual([null]);
      expect((await read.completion).status).toBe('flushed');
      expect(harness.clock.armedCount).toBe(0);
    });

    it('does not wait when a responder may not send anything yet', () => {
      const harness = new StreamHarness({ isResponder: true });
      harness.post(sendWork(harness.register(8), 0, 8));
      harness.stream.close();
      expect(harness.over).toEqual([null]);
    });

    it('gives every request back once, and none as done, when the stream breaks with a full socket', async () => {
      const harness = new StreamHarness();
      const source = harness.register(MIB);
      const works = [1, 2, 3].map(() => writeWork(source, 0, MIB, remoteAddress(1, 0n)));
      harness.post(...works);
      await harness.ring();
      harness.stream.lost('the cable was pulled');
      await harness.ring();
      // The socket may still read the memory.
      expect(works.flatMap((work) => work.records)).toEqual([]);
      await harness.settle();
      for (const work of works) {
        expect(work.records.map((record) => record.status)).toEqual(['flushed']);
      }
      expect(harness.over).toEqual(['the cable was pulled']);
    });

    it('does not take a message for done that broke off when all that was built of it had left', async () => {
      const harness = new StreamHarness();
      const work = writeWork(harness.register(4 * MIB), 0, 4 * MIB, remoteAddress(1, 0n));
      harness.post(work);
      await harness.ring();
      harness.sink.leave();
      harness.stream.lost('the cable was pulled');
      expect((await work.completion).status).toBe('flushed');
    });

    it('tells the peer of a fault of our own consumer', async () => {
      const harness = new StreamHarness();
      const source = harness.register(8);
      source.region.deregister();
      const work = sendWork(source, 0, 8);
      harness.post(work);
      await harness.settle();
      expect((await work.completion).status).toBe('localProtectionError');
      expect(harness.terminate()).toBe('00000000');
    });

    it('ends without a word when the consumer puts the queue pair into the error state', async () => {
      const harness = new StreamHarness();
      harness.queuePair.setError();
      await harness.settle();
      expect(harness.over).toEqual([null]);
      expect(harness.frames()).toEqual([]);
    });
  });
});
