import type { MemoryKey } from '../../../src/transport/verbs.js';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../../src/transport/rnic/fault.js';
import { RegionSpan } from '../../../src/transport/rnic/placement.js';
import { Access, NO_MEMORY_KEY, VerbsError, WorkStatus } from '../../../src/transport/verbs.js';
import { ALL_ACCESS } from '../../support/transport/pair.js';
import { RnicBench } from '../../support/transport/rnic.js';
import {
  invalidateWork,
  readWork,
  registerWork,
  remoteAddress,
  sendWork,
  writeWork,
} from '../../support/transport/work.js';
import { turn } from '../../support/waiting.js';

const elsewhere = remoteAddress(1, 0n);

describe('send queue', () => {
  it('rings one doorbell per turn, however often something is posted', async () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    bench.post(sendWork(buffer, 0, 8), sendWork(buffer, 0, 8));
    bench.post(sendWork(buffer, 0, 8));
    expect(bench.driver.doorbells).toBe(0);
    await turn();
    expect(bench.driver.doorbells).toBe(1);
    bench.post(sendWork(buffer, 0, 8));
    await turn();
    expect(bench.driver.doorbells).toBe(2);
  });

  it('hands out requests in posting order, and executes REG_MR and LOCAL_INV between them', () => {
    const bench = new RnicBench();
    const buffer = bench.register(64);
    const fast = bench.domain.allocateFastRegion(64);
    const key = fast.nextKey();
    const first = sendWork(buffer, 0, 8);
    const second = sendWork(buffer, 0, 8);
    bench.post(
      first,
      registerWork(fast, key, buffer.slab, ALL_ACCESS),
      second,
      invalidateWork(key),
    );
    expect(bench.queuePair.takeSend()?.request).toBe(first.request);
    expect(fast.isValid).toBe(false);
    expect(bench.queuePair.takeSend()?.request).toBe(second.request);
    expect(fast.isValid).toBe(true);
    expect(bench.queuePair.takeSend()).toBeNull();
    expect(fast.isValid).toBe(false);
  });

  it('completes in posting order, whatever order the wire finishes in', async () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    const order: number[] = [];
    const works = [0, 1, 2, 3].map((index) => {
      const work = sendWork(buffer, 0, 8);
      work.onDone = () => order.push(index);
      return work;
    });
    bench.post(...works);
    const slots = bench.takeAll();
    bench.queuePair.completeSend(slots[2]!);
    bench.queuePair.completeSend(slots[1]!);
    await turn();
    expect(order).toEqual([]);
    bench.queuePair.completeSend(slots[0]!);
    await turn();
    expect(order).toEqual([0, 1, 2]);
    bench.queuePair.completeSend(slots[3]!);
    await turn();
    expect(order).toEqual([0, 1, 2, 3]);
  });

  it('flushes only what the wire has let go of, and the rest when it does', async () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    const works = [0, 1, 2].map(() => sendWork(buffer, 0, 8));
    bench.post(...works);
    const held = bench.queuePair.takeSend();
    bench.queuePair.setError();
    let isDrained = false;
    const drained = bench.queuePair.drain().then(() => (isDrained = true));
    await turn();
    expect(works.flatMap((work) => work.records)).toEqual([]);
    expect(isDrained).toBe(false);
    bench.queuePair.completeSend(held!);
    await drained;
    expect(works.map((work) => work.records.map((record) => record.status))).toEqual([
      ['flushed'],
      ['flushed'],
      ['flushed'],
    ]);
  });

  it('flushes unsignalled successes that no signalled one has covered', async () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    const quiet = sendWork(buffer, 0, 8).unsignaled();
    const failing = sendWork(buffer, 0, 8);
    const behind = sendWork(buffer, 0, 8).unsignaled();
    bench.post(quiet, failing, behind);
    const slots = bench.takeAll();
    bench.queuePair.completeSend(slots[0]!);
    bench.queuePair.completeSend(slots[2]!);
    bench.queuePair.failSend(slots[1]!, WorkStatus.remoteAccessError, Fault.bounds);
    await turn();
    const statuses = [quiet, failing, behind].map((work) => work.records[0]?.status);
    expect(statuses).toEqual(['flushed', 'remoteAccessError', 'flushed']);
    expect(bench.driver.errors).toHaveLength(1);
    expect(bench.driver.errors[0]?.fault).toBe(Fault.bounds);
  });

  it('keeps no more reads out than agreed, and rings again when one is answered', async () => {
    const bench = new RnicBench({ initiator: 2, responder: 0 });
    const buffer = bench.register(300);
    const works = [0, 1, 2].map((index) => readWork(buffer, index * 100, 100, elsewhere));
    const last = sendWork(buffer, 0, 8);
    bench.post(...works, last);
    await turn();
    expect(bench.takeAll()).toHaveLength(2);
    await turn();
    const doorbells = bench.driver.doorbells;
    expect(answerRead(bench, 0, 100)).toBe(Fault.none);
    await turn();
    expect(bench.driver.doorbells).toBe(doorbells + 1);
    expect(bench.takeAll().map((slot) => slot.request)).toEqual([works[2]!.request, last.request]);
    expect(works[0]!.records[0]).toMatchObject({ status: 'success', byteLength: 100 });
  });

  it('holds back what is posted after an orderly close', async () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    const before = sendWork(buffer, 0, 8);
    const after = sendWork(buffer, 0, 8);
    bench.post(before);
    bench.queuePair.beginClose();
    bench.post(after);
    expect(bench.queuePair.isSendIdle).toBe(false);
    const slots = bench.takeAll();
    expect(slots.map((slot) => slot.request)).toEqual([before.request]);
    expect(bench.queuePair.isSendIdle).toBe(false);
    bench.queuePair.completeSend(slots[0]!);
    expect(bench.queuePair.isSendIdle).toBe(true);
    bench.queuePair.fail(Fault.none);
    await turn();
    expect(before.records[0]?.status).toBe('success');
    expect(after.records[0]?.status).toBe('flushed');
    expect(bench.driver.errors).toEqual([{ reason: null, fault: Fault.none }]);
  });

  it('wraps round its ring thousands of times', async () => {
    const bench = new RnicBench(undefined, 5);
    const buffer = bench.register(8);
    let completed = 0;
    for (let round = 0; round < 2000; round++) {
      const works = [0, 1, 2, 3, 4].map((index) => {
        const work = sendWork(buffer, 0, 8);
        work.request.signaled = index === 4;
        work.onDone = () => completed++;
        return work;
      });
      bench.post(...works);
      for (const slot of bench.takeAll()) bench.queuePair.completeSend(slot);
      await works[4]!.completion;
    }
    expect(completed).toBe(2000);
  });

  it('refuses to send before it is connected, more than it holds, and too many elements', () => {
    const bench = new RnicBench();
    const buffer = bench.register(8);
    const unconnected = bench.createQueuePair();
    expect(() => unconnected.postSend(sendWork(buffer, 0, 8).request)).toThrow(VerbsError);
    const twoSinks = readWork(buffer, 0, 4, elsewhere).addSge(buffer.region, 4, 4);
    expect(() => bench.post(twoSinks)).toThrow(VerbsError);
    expect(() => bench.post(...Array.from({ length: 33 }, () => sendWork(buffer, 0, 8)))).toThrow(
      VerbsError,
    );
    expect(bench.takeAll()).toEqual([]);
  });
});

describe('inbound segments', () => {
  it('places a Send piece by piece, and completes it with the message', async () => {
    const bench = new RnicBench();
    const sink = bench.register(64);
    const receive = bench.receive(sink, 10, 20);
    const { queuePair } = bench;
    const bytes = Buffer.from('0123456789abcdefghij');
    expect(queuePair.beginSend(0, 8)).toBe(Fault.none);
    expect(queuePair.place(bytes, 0, 3)).toBe(Fault.none);
    expect(queuePair.place(bytes, 3, 3)).toBe(Fault.none);
    expect(queuePair.place(bytes, 3, 8)).toBe(Fault.none);
    expect(queuePair.beginSend(8, 12)).toBe(Fault.none);
    expect(queuePair.place(new Uint8Array(bytes), 8, 20)).toBe(Fault.none);
    expect(queuePair.endSend(20, false, NO_MEMORY_KEY)).toBe(Fault.none);
    expect(await receive.completion).toMatchObject({ status: 'success', byteLength: 20 });
    expect(sink.slab.bytes.toString('latin1', 10, 30)).toBe(bytes.toString());
    expect(queuePair.beginSend(0, 1)).toBe(Fault.noReceive);
  });

  it('refuses a Send segment that reaches behind the posted receive', () => {
    const bench = new RnicBench();
    bench.receive(bench.register(64), 10, 20);
    expect(bench.queuePair.beginSend(0, 21)).toBe(Fault.messageTooLong);
    expect(bench.queuePair.beginSend(15, 6)).toBe(Fault.messageTooLong);
    expect(bench.queuePair.beginSend(15, 5)).toBe(Fault.none);
  });

  it('refuses more payload than the header announced', () => {
    const bench = new RnicBench();
    const { region, slab } = bench.register(64);
    const { rkey, addressHigh, addressLow } = region;
    expect(bench.queuePair.beginWrite(rkey, addressHigh, addressLow, 8)).toBe(Fault.none);
    expect(bench.queuePair.place(Buffer.alloc(9, 1), 0, 9)).toBe(Fault.bounds);
    expect(slab.bytes.equals(Buffer.alloc(64))).toBe(true);
  });

  it('places nothing more once the key is revoked between two pieces', () => {
    const bench = new RnicBench();
    const { region, slab } = bench.register(64);
    const { rkey, addressHigh, addressLow } = region;
    const bytes = Buffer.alloc(64, 1);
    expect(bench.queuePair.beginWrite(rkey, addressHigh, addressLow, 64)).toBe(Fault.none);
    expect(bench.queuePair.place(bytes, 0, 10)).toBe(Fault.none);
    region.deregister();
    expect(bench.queuePair.place(bytes, 10, 64)).toBe(Fault.invalidStag);
    expect(slab.bytes.indexOf(0)).toBe(10);
  });

  it('places nothing more once the queue pair is in the error state', () => {
    const bench = new RnicBench();
    const sink = bench.register(64);
    bench.receive(sink);
    expect(bench.queuePair.beginSend(0, 64)).toBe(Fault.none);
    bench.queuePair.setError();
    expect(bench.queuePair.place(Buffer.alloc(64, 1), 0, 64)).not.toBe(Fault.none);
    expect(bench.queuePair.beginSend(0, 64)).toBe(Fault.notConnected);
    expect(bench.queuePair.endSend(64, false, NO_MEMORY_KEY)).toBe(Fault.notConnected);
    expect(sink.slab.bytes.equals(Buffer.alloc(64))).toBe(true);
  });

  it('takes zero-length Writes and Reads whatever their key', () => {
    const bench = new RnicBench();
    const span = new RegionSpan();
    expect(bench.queuePair.beginWrite(NO_MEMORY_KEY, 0, 0, 0)).toBe(Fault.none);
    expect(bench.queuePair.place(Buffer.alloc(0), 0, 0)).toBe(Fault.none);
    expect(bench.queuePair.beginRead(NO_MEMORY_KEY, 0, 0, 0, span)).toBe(Fault.none);
    expect(span.length).toBe(0);
  });

  it('admits no more reads of the peer than were granted', () => {
    const bench = new RnicBench({ initiator: 0, responder: 2 });
    const { region } = bench.register(64);
    const span = new RegionSpan();
    const { rkey, addressHigh, addressLow } = region;
    const read = (): Fault => bench.queuePair.beginRead(rkey, addressHigh, addressLow, 64, span);
    expect([read(), read(), read()]).toEqual([Fault.none, Fault.none, Fault.readDepth]);
    bench.queuePair.endRead();
    expect([read(), read()]).toEqual([Fault.none, Fault.readDepth]);
  });

  it('does not count a read that it refused', () => {
    const bench = new RnicBench({ initiator: 0, responder: 1 });
    const { region } = bench.register(64);
    const span = new RegionSpan();
    const { rkey, addressHigh, addressLow } = region;
    expect(bench.queuePair.beginRead(rkey, addressHigh, addressLow, 65, span)).toBe(Fault.bounds);
    expect(bench.queuePair.beginRead(rkey, addressHigh, addressLow, 64, span)).toBe(Fault.none);
  });
});

/** Answers part of the oldest read; its sink starts at slab offset `from` of the work's own region. */
function answerRead(bench: RnicBench, skip: number, length: number, isLast = true): Fault {
  const { queuePair } = bench;
  const slot = queuePair.oldestRead;
  const sge = slot?.request?.sges[0];
  if (slot === null || !sge?.region) return Fault.readResponse;
  const base = (BigInt(sge.region.addressHigh) << 32n) + BigInt(sge.region.addressLow);
  const to = remoteAddress(slot.sinkKey, base + BigInt(sge.offset - sge.region.offset + skip));
  const fault = queuePair.beginReadResponse(to.key, to.high, to.low, length);
  if (fault !== Fault.none) return fault;
  const placed = queuePair.place(Buffer.alloc(length, 0xee), 0, length);
  return placed === Fault.none ? queuePair.endReadResponse(isLast) : placed;
}

describe('read responses', () => {
  function benchWithRead(length = 100): { bench: RnicBench; work: ReturnType<typeof readWork> } {
    const bench = new RnicBench();
    const buffer = bench.register(8192);
    // The sink lies across a 32-bit boundary of the address space.
    const work = readWork(buffer, 4090, length, elsewhere);
    bench.post(work);
    bench.takeAll();
    return { bench, work };
  }

  it('are placed in segments, in order, and complete the read with the last', async () => {
    const { bench, work } = benchWithRead();
    expect(answerRead(bench, 0, 40, false)).toBe(Fault.none);
    expect(answerRead(bench, 40, 59, false)).toBe(Fault.none);
    expect(answerRead(bench, 99, 1)).toBe(Fault.none);
    expect(await work.completion).toMatchObject({ status: 'success', byteLength: 100 });
  });

  it('are refused when nothing was asked for', () => {
    expect(new RnicBench().queuePair.beginReadResponse(1 as MemoryKey, 0, 0, 10)).toBe(
      Fault.readResponse,
    );
  });

  it.each([
    ['at another place', 1, 50],
    ['in front of the sink', -1, 50],
    ['longer than the read', 0, 101],
  ])('are refused %s', (_, skip, length) => {
    const { bench } = benchWithRead();
    expect(answerRead(bench, skip, length)).toBe(Fault.readResponse);
  });

  it('are refused when they leave a gap, or end early', () => {
    const { bench } = benchWithRead();
    expect(answerRead(bench, 0, 40, false)).toBe(Fault.none);
    expect(answerRead(bench, 41, 10, false)).toBe(Fault.readResponse);
    expect(answerRead(bench, 40, 10, true)).toBe(Fault.readResponse);
  });

  it('are refused under another key than the sink had', () => {
    const { bench } = benchWithRead();
    const sge = bench.queuePair.oldestRead!.posted.sges[0]!;
    const { addressHigh, addressLow, rkey } = sge.region!;
    const fault = bench.queuePair.beginReadResponse(
      ((rkey ^ 1) >>> 0) as MemoryKey,
      addressHigh,
      addressLow + 4090,
      10,
    );
    expect(fault).toBe(Fault.readResponse);
  });

  it('are refused once the sink is not registered any more', () => {
    const { bench } = benchWithRead();
    bench.queuePair.oldestRead!.posted.sges[0]!.region!.deregister();
    expect(answerRead(bench, 0, 50)).toBe(Fault.localBuffer);
  });

  it('are flushed with the connection, without waiting for the wire', async () => {
    const { bench, work } = benchWithRead();
    bench.queuePair.fail(Fault.none);
    await turn();
    expect(work.records.map((record) => record.status)).toEqual(['flushed']);
  });
});

describe('fast regions', () => {
  it('open to the queue pair that registered them, and to no other of the same domain', () => {
    const bench = new RnicBench();
    const other = bench.createQueuePair();
    other.activate(bench.driver, { initiator: 1, responder: 1 });
    const { slab } = bench.register(64);
    const fast = bench.domain.allocateFastRegion(64);
    const key = fast.nextKey();
    bench.post(registerWork(fast, key, slab, Access.remoteWrite));
    bench.takeAll();
    const { addressHigh, addressLow } = fast;
    expect(bench.queuePair.beginWrite(key, addressHigh, addressLow, 64)).toBe(Fault.none);
    expect(other.beginWrite(key, addressHigh, addressLow, 64)).toBe(Fault.notAssociated);
    expect(other.checkInvalidate(key)).toBe(Fault.notAssociated);
    expect(fast.isValid).toBe(true);
  });

  it('keep their address over every registration, so that it can be advertised in advance', () => {
    const bench = new RnicBench();
    const fast = bench.domain.allocateFastRegion(64);
    const { addressHigh, addressLow } = fast;
    for (let round = 0; round < 3; round++) {
      const { slab } = bench.register(64);
      const key = fast.nextKey();
      bench.post(registerWork(fast, key, slab, ALL_ACCESS, 5, 50));
      bench.takeAll();
      expect(fast).toMatchObject({ addressHigh, addressLow, offset: 5, length: 50, slab });
      expect(bench.queuePair.beginWrite(key, addressHigh, addressLow, 50)).toBe(Fault.none);
      expect(bench.queuePair.place(Buffer.from([9]), 0, 1)).toBe(Fault.none);
      expect(slab.bytes[5]).toBe(9);
      expect(bench.queuePair.beginWrite(key, addressHigh, addressLow, 51)).toBe(Fault.bounds);
      bench.post(invalidateWork(key));
      bench.takeAll();
    }
  });

  it.each([
    ['longer than it was allocated for', 0, 65],
    ['outside of the slab', 100, 30],
    ['of a negative length', 0, -1],
  ])('refuse to map memory %s', async (_, offset, length) => {
    const bench = new RnicBench();
    const { slab } = bench.register(128);
    const fast = bench.domain.allocateFastRegion(64);
    const work = registerWork(fast, fast.nextKey(), slab, ALL_ACCESS, offset, length);
    bench.post(work);
    bench.takeAll();
    expect((await work.completion).status).toBe('localProtectionError');
    expect(fast.isValid).toBe(false);
    expect(bench.driver.errors[0]?.fault).toBe(Fault.localRequest);
  });

  it('give up a drawn key that was never registered', () => {
    const bench = new RnicBench();
    const before = bench.device.regions.count;
    const fast = bench.domain.allocateFastRegion(64);
    for (let round = 0; round < 100; round++) fast.nextKey();
    expect(bench.device.regions.count).toBe(before + 1);
    fast.deregister();
    expect(bench.device.regions.count).toBe(before);
    expect(() => fast.nextKey()).toThrow(VerbsError);
  });

  it('cannot be invalidated twice', async () => {
    const bench = new RnicBench();
    const { slab } = bench.register(64);
    const fast = bench.domain.allocateFastRegion(64);
    const key = fast.nextKey();
    const again = invalidateWork(key);
    bench.post(registerWork(fast, key, slab, ALL_ACCESS), invalidateWork(key), again);
    bench.takeAll();
    expect((await again.completion).status).toBe('localProtectionError');
  });
});

describe('local memory', () => {
  it.each([
    ['outside of the region', 60, 8],
    ['of a negative length', 8, -4],
  ])('is refused %s', async (_, offset, length) => {
    const bench = new RnicBench();
    const work = writeWork(bench.register(64), offset, length, elsewhere);
    bench.post(work);
    expect(bench.takeAll()).toEqual([]);
    expect((await work.completion).status).toBe('localProtectionError');
  });
});
