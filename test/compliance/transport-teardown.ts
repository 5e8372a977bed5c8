import { describe, expect, it } from 'vitest';
import { VerbsError } from '../../src/transport/verbs.js';
import type { Endpoint, TestBuffer, TransportPair } from '../support/transport/pair.js';
import type { ReceiveWork, SendWork } from '../support/transport/work.js';
import { fillPattern, readWork, remoteAt, sendWork, writeWork } from '../support/transport/work.js';
import type { TransportContext } from './transport-suite.js';
import { turn } from '../support/waiting.js';

/** How a connection can end. Each leaves both sides with everything completed. */
const ends: readonly { readonly title: string; readonly end: (pair: TransportPair) => void }[] = [
  { title: 'this side disconnects', end: ({ active }) => active.id.disconnect() },
  { title: 'the peer disconnects', end: ({ passive }) => passive.id.disconnect() },
  { title: 'the queue pair is put into the error state', end: endInError },
  { title: "the peer's queue pair fails", end: ({ passive }) => passive.queuePair.setError() },
  { title: 'the queue pair is drained', end: ({ active }) => void active.queuePair.drain() },
  { title: 'the peer destroys its id', end: ({ passive }) => passive.id.destroy() },
];

export function teardownTests(context: TransportContext): void {
  describe('teardown', () => {
    it.each(ends)('flushes every posted receive once, in order, when $title', async ({ end }) => {
      const pair = await context.pair();
      const sink = pair.active.register(64);
      const order: number[] = [];
      const receives = Array.from({ length: 20 }, (_, index) => {
        const receive = pair.active.receive(sink);
        receive.onDone = () => order.push(index);
        return receive;
      });
      end(pair);
      const records = await Promise.all(receives.map((receive) => receive.completion));
      await pair.active.queuePair.drain();
      expect(new Set(records.map((record) => record.status))).toEqual(new Set(['flushed']));
      expect(order).toEqual([...receives.keys()]);
      expect(receives.every((receive) => receive.records.length === 1)).toBe(true);
    });

    it.each(ends)('completes everything exactly once under load when $title', async ({ end }) => {
      const pair = await context.pair();
      const here = new Load(pair.active, pair.passive);
      const there = new Load(pair.passive, pair.active);
      await here.reached(60);
      end(pair);
      await here.stopped;
      await there.stopped;
      await Promise.all([pair.active.queuePair.drain(), pair.passive.queuePair.drain()]);
      here.expectAllCompletedOnce();
      there.expectAllCompletedOnce();
    });

    it('delivers what was queued before an orderly disconnect', async () => {
      const { active, passive } = await context.pair();
      const count = 30;
      const source = active.register(100_000);
      fillPattern(source.slab.bytes, 4);
      const target = passive.register(100_000);
      const sink = passive.register(count * 16);
      const receives = Array.from({ length: count + 1 }, (_, index) =>
        passive.receive(sink, Math.min(index, count - 1) * 16, 16),
      );
      const write = writeWork(source, 0, 100_000, remoteAt(target.region)).unsignaled();
      const sends = Array.from({ length: count }, (_, index) => sendWork(source, index * 16, 16));
      active.post(write, ...sends);
      active.id.disconnect();
      const records = await Promise.all(receives.map((receive) => receive.completion));
      expect(records.slice(0, count).every((record) => record.status === 'success')).toBe(true);
      expect(records[count]?.status).toBe('flushed');
      expect(sink.slab.bytes.equals(source.slab.bytes.subarray(0, count * 16))).toBe(true);
      expect(target.slab.bytes.equals(source.slab.bytes)).toBe(true);
      expect((await passive.events.next('disconnected')).reason).toBeNull();
    });

    it('flushes what is posted after a disconnect', async () => {
      const { active } = await context.pair();
      const buffer = active.register(64);
      active.id.disconnect();
      const late = sendWork(buffer, 0, 64);
      active.post(late);
      expect((await late.completion).status).toBe('flushed');
      await active.events.next('disconnected');
      const afterwards = [sendWork(buffer, 0, 64).unsignaled(), sendWork(buffer, 0, 64)];
      const receive = active.receive(buffer);
      active.post(...afterwards);
      for (const work of [...afterwards, receive]) {
        expect((await work.completion).status).toBe('flushed');
      }
      await turn();
      expect([...afterwards, receive].every((work) => work.records.length === 1)).toBe(true);
    });

    it('resolves every drain, again and again, when nothing is posted any more', async () => {
      const { active } = await context.pair();
      const receive = active.receive(active.register(64));
      await Promise.all([active.queuePair.drain(), active.queuePair.drain()]);
      expect(receive.records).toHaveLength(1);
      await active.queuePair.drain();
      active.queuePair.setError();
      expect(receive.records).toHaveLength(1);
    });

    it('does not destroy a queue pair that has work, a queue or a domain in use', async () => {
      const { active } = await context.pair();
      const receive = active.receive(active.register(64));
      expect(() => active.queuePair.destroy()).toThrow(VerbsError);
      expect(() => active.completionQueue.destroy()).toThrow(VerbsError);
      expect(() => active.domain.deallocate()).toThrow(VerbsError);
      expect(receive.records).toEqual([]);
    });

    it('disconnects once, however often it is asked to', async () => {
      const { active, passive } = await context.pair();
      active.id.disconnect();
      active.id.disconnect();
      passive.id.disconnect();
      await active.events.next('disconnected');
      await passive.events.next('disconnected');
      active.id.disconnect();
      active.queuePair.setError();
      await turn();
      for (const side of [active, passive]) {
        expect(side.events.types.filter((type) => type === 'disconnected')).toHaveLength(1);
      }
    });
  });
}

function endInError({ active }: TransportPair): void {
  active.queuePair.setError();
}

const LOAD_DEPTH = 16;
const LOAD_BYTES = 6000;

/** Keeps Sends, Writes, Reads and the receives for the peer's Sends posted, until one of them fails. */
class Load {
  readonly stopped: Promise<void>;
  readonly #endpoint: Endpoint;
  readonly #local: TestBuffer;
  readonly #target: TestBuffer;
  readonly #works: (SendWork | ReceiveWork)[] = [];
  readonly #waiting: { count: number; resolve: () => void }[] = [];
  #stop: () => void = () => undefined;
  #isStopped = false;
  #completed = 0;

  constructor(endpoint: Endpoint, peer: Endpoint) {
    this.stopped = new Promise((resolve) => (this.#stop = resolve));
    this.#endpoint = endpoint;
    this.#local = endpoint.register(LOAD_BYTES * 2);
    this.#target = peer.register(LOAD_BYTES);
    const landing = peer.register(LOAD_BYTES);
    // The peer's receives, one for each Send that may be out: the Send is reposted only after its receive.
    for (let lane = 0; lane < LOAD_DEPTH; lane++) this.#runLane(peer, landing, lane);
  }

  reached(count: number): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ count, resolve });
    });
  }

  expectAllCompletedOnce(): void {
    expect(this.#works.length).toBeGreaterThan(LOAD_DEPTH);
    const counts = new Set(this.#works.map((work) => work.records.length));
    expect(counts).toEqual(new Set([1]));
  }

  /** A lane posts a Write, a Read and a Send, and again when they and the peer's receive have completed. */
  #runLane(peer: Endpoint, landing: TestBuffer, lane: number): void {
    if (this.#isStopped) return;
    let left = 4;
    const done = ({ status }: { status: string }): void => {
      if (status !== 'success') this.#ended();
      this.#progressed();
      if (--left === 0) this.#runLane(peer, landing, lane);
    };
    const receive = peer.receive(landing);
    const works = [
      writeWork(this.#local, 0, LOAD_BYTES, remoteAt(this.#target.region)),
      readWork(this.#local, LOAD_BYTES, LOAD_BYTES, remoteAt(this.#target.region)),
      sendWork(this.#local, 0, 1 + lane * 64),
    ];
    for (const work of [...works, receive]) {
      work.onDone = done;
      this.#works.push(work);
    }
    this.#endpoint.post(...works);
  }

  #ended(): void {
    this.#isStopped = true;
    this.#stop();
  }

  #progressed(): void {
    this.#completed++;
    for (const waiter of this.#waiting) {
      if (this.#completed >= waiter.count) waiter.resolve();
    }
  }
}
