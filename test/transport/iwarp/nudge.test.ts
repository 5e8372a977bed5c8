import { describe, expect, it } from 'vitest';
import { NUDGES_MAX, NUDGE_FIRST_MS } from '../../../src/transport/iwarp/limits.js';
import { readFrames, tagged, untagged } from '../../support/iwarp/frames.js';
import { StreamHarness } from '../../support/iwarp/stream.js';
import type { HarnessOptions } from '../../support/iwarp/stream.js';
import { remoteAddress, sendWork, writeWork } from '../../support/transport/work.js';

const KIB = 1024;
const ENDLESS_MS = NUDGE_FIRST_MS * 2 ** (NUDGES_MAX + 2);

/** Length 14, last of an RDMA Write, key 0, offset 0, no payload, no pad, and a CRC field that is not used. */
const nudge = Buffer.from('000e' + 'c140' + '00000000' + '0000000000000000' + '00000000', 'hex');

const answer = untagged({ opcode: 3, sequence: 1, payload: Buffer.alloc(8) });

/** A stream whose first message, a Send of 8 bytes, has left. */
async function spoken(options: HarnessOptions = {}): Promise<StreamHarness> {
  const harness = new StreamHarness(options);
  harness.post(sendWork(harness.register(8), 0, 8));
  await harness.settle();
  expect(harness.frames().map(({ control }) => control)).toEqual(['4143']);
  return harness;
}

/** What leaves in the next `ms`. */
function leaving(harness: StreamHarness, ms: number): Buffer {
  harness.clock.advance(ms);
  harness.sink.leave();
  return harness.sink.take();
}

describe('an initiator that has sent and heard nothing', () => {
  it('sends an empty RDMA Write, byte for byte', async () => {
    const harness = await spoken();
    expect(leaving(harness, NUDGE_FIRST_MS - 1)).toHaveLength(0);
    expect(leaving(harness, 1).toString('hex')).toBe(nudge.toString('hex'));
  });

  it('computes its CRC when the connection has CRCs', async () => {
    const harness = await spoken({ crc: true });
    const bytes = leaving(harness, NUDGE_FIRST_MS);
    expect(bytes.subarray(0, 16).equals(nudge.subarray(0, 16))).toBe(true);
    const { frames, rest } = readFrames(bytes);
    expect(rest).toHaveLength(0);
    expect(frames.map(({ crcIsRight }) => crcIsRight)).toEqual([true]);
  });

  it('does so again after twice as long each time, and not for ever', async () => {
    const harness = await spoken();
    for (let count = 0; count < NUDGES_MAX; count++) {
      const ms = NUDGE_FIRST_MS * 2 ** count;
      expect(leaving(harness, ms - 1)).toHaveLength(0);
      expect(leaving(harness, 1).equals(nudge)).toBe(true);
    }
    expect(harness.clock.armedCount).toBe(0);
    // What is sent later does not begin it anew.
    harness.post(sendWork(harness.register(8), 0, 8));
    await harness.settle();
    expect(harness.frames()).toHaveLength(1);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
  });

  it('counts from its first message only', async () => {
    const harness = await spoken();
    harness.clock.advance(NUDGE_FIRST_MS / 2);
    harness.post(sendWork(harness.register(8), 0, 8));
    await harness.settle();
    expect(harness.frames()).toHaveLength(1);
    expect(leaving(harness, NUDGE_FIRST_MS / 2).equals(nudge)).toBe(true);
  });

  it('goes on with its messages as if there had been none', async () => {
    const harness = await spoken();
    expect(leaving(harness, NUDGE_FIRST_MS).equals(nudge)).toBe(true);
    const work = sendWork(harness.register(8), 0, 8);
    harness.post(work);
    await harness.settle();
    expect(harness.frames()).toMatchObject([{ control: '4143', sequence: 2 }]);
    expect((await work.completion).status).toBe('success');
    expect(work.records).toHaveLength(1);
  });

  it('has a peer like us that takes it and tells its consumer nothing', async () => {
    const peer = new StreamHarness({ isResponder: true });
    const { work } = peer.postReceive(8);
    peer.receive(Buffer.concat([answer, nudge]));
    peer.receive(nudge, [5]);
    await peer.settle();
    expect(work.records).toHaveLength(1);
    expect(peer.over).toEqual([]);
    expect(peer.frames()).toEqual([]);
  });
});

describe('no empty RDMA Write is sent', () => {
  it('before anything was sent', () => {
    const harness = new StreamHarness();
    expect(harness.clock.armedCount).toBe(0);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
  });

  it('by a responder, whether it may send or not', async () => {
    const harness = new StreamHarness({ isResponder: true });
    harness.post(sendWork(harness.register(8), 0, 8));
    await harness.settle();
    expect(harness.clock.armedCount).toBe(0);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
    harness.receive(tagged({ opcode: 0, stag: 0, offset: 0n, payload: Buffer.alloc(0) }));
    await harness.settle();
    expect(harness.frames()).toHaveLength(1);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
  });

  it('once the first byte of an answer is there', async () => {
    const harness = await spoken();
    expect(leaving(harness, NUDGE_FIRST_MS).equals(nudge)).toBe(true);
    harness.receive(answer.subarray(0, 1));
    expect(harness.clock.armedCount).toBe(0);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
  });

  it('when the peer was heard before anything was sent', async () => {
    const harness = new StreamHarness();
    harness.receive(answer.subarray(0, 1));
    harness.post(sendWork(harness.register(8), 0, 8));
    await harness.settle();
    expect(harness.clock.armedCount).toBe(0);
  });

  it.each([
    ['was lost', (harness: StreamHarness) => harness.stream.lost('the cable was pulled')],
    ['was closed', (harness: StreamHarness) => harness.stream.close()],
    ['was ended by its consumer', (harness: StreamHarness) => harness.queuePair.setError()],
  ])('on a stream that %s', async (_name, end) => {
    const harness = await spoken();
    end(harness);
    expect(harness.over).toHaveLength(1);
    expect(harness.clock.armedCount).toBe(0);
    expect(leaving(harness, ENDLESS_MS)).toHaveLength(0);
  });

  it('on a stream that ended with its very first message', async () => {
    const harness = new StreamHarness();
    const source = harness.register(8);
    source.region.deregister();
    harness.post(sendWork(source, 0, 8));
    await harness.settle();
    expect(harness.over).toHaveLength(1);
    expect(harness.clock.armedCount).toBe(0);
  });

  it('while a message is under way, in the socket or out of it', async () => {
    const harness = new StreamHarness();
    const work = writeWork(harness.register(4096 * KIB), 0, 4096 * KIB, remoteAddress(7, 0n));
    harness.post(work);
    await harness.ring();
    const queued = harness.sink.writeCount;
    harness.clock.advance(NUDGE_FIRST_MS);
    expect(harness.sink.writeCount).toBe(queued);
    // Everything that was built has left, and the rest is not built yet.
    harness.sink.leave();
    harness.clock.advance(2 * NUDGE_FIRST_MS);
    expect(harness.sink.writeCount).toBe(0);
    await harness.settle();
    const frames = harness.frames();
    expect(frames.every(({ payload }) => payload.length > 0)).toBe(true);
    expect(frames.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(4096 * KIB);
    // Now that it has left, the silence is one again.
    expect(leaving(harness, 4 * NUDGE_FIRST_MS).equals(nudge)).toBe(true);
    expect((await work.completion).status).toBe('success');
  });
});
