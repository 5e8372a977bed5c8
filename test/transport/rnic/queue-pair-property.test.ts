import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Fault } from '../../../src/transport/rnic/fault.js';
import type { SendSlot } from '../../../src/transport/rnic/send-queue.js';
import { NO_MEMORY_KEY, WorkStatus } from '../../../src/transport/verbs.js';
import { RnicBench } from '../../support/transport/rnic.js';
import type { SendWork } from '../../support/transport/work.js';
import { fillPattern, sendWork } from '../../support/transport/work.js';
import { turn } from '../../support/waiting.js';

const QUEUE_LENGTH = 8;

type Step =
  | { readonly type: 'post'; readonly signals: readonly boolean[] }
  | { readonly type: 'take'; readonly count: number }
  | { readonly type: 'complete'; readonly pick: number }
  | { readonly type: 'turn' }
  | { readonly type: 'fail'; readonly pick: number }
  | { readonly type: 'error' };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      type: fc.constant('post' as const),
      signals: fc.array(fc.boolean(), { minLength: 1, maxLength: 4 }),
    }),
  },
  { weight: 6, arbitrary: fc.record({ type: fc.constant('take' as const), count: fc.nat(4) }) },
  { weight: 9, arbitrary: fc.record({ type: fc.constant('complete' as const), pick: fc.nat() }) },
  { weight: 4, arbitrary: fc.constant({ type: 'turn' as const }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant('fail' as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.constant({ type: 'error' as const }) },
);

/** A queue pair under any sequence of steps, with what happened to each request. */
class SendQueueRun {
  readonly bench = new RnicBench(undefined, QUEUE_LENGTH);
  readonly buffer = this.bench.register(8);
  readonly works: SendWork[] = [];
  /** Numbers of requests in the order of their completions. */
  readonly order: number[] = [];
  readonly held: SendSlot[] = [];
  /** Everything before this has been delivered or is implied. */
  covered = 0;
  failed: SendWork | null = null;

  apply(action: Step): Promise<void> | void {
    switch (action.type) {
      case 'post':
        return this.#post(action.signals);
      case 'take':
        for (let count = action.count; count > 0; count--) {
          const slot = this.bench.queuePair.takeSend();
          if (slot !== null) this.held.push(slot);
        }
        return;
      case 'complete': {
        const slot = this.#letGo(action.pick);
        if (slot !== undefined) this.bench.queuePair.completeSend(slot);
        return;
      }
      case 'fail': {
        if (this.bench.queuePair.isInError) return;
        const slot = this.#letGo(action.pick);
        if (slot === undefined) return;
        this.failed = this.works.find((work) => work.request === slot.request) ?? null;
        this.bench.queuePair.failSend(slot, WorkStatus.remoteOperationError, Fault.bounds);
        return;
      }
      case 'error':
        this.bench.queuePair.setError();
        return;
      case 'turn':
        return turn();
    }
  }

  #post(signals: readonly boolean[]): void {
    if (this.works.length - this.covered + signals.length > QUEUE_LENGTH) return;
    const chain = signals.map((signaled) => {
      const work = sendWork(this.buffer, 0, 8);
      const number = this.works.push(work) - 1;
      work.request.signaled = signaled;
      work.onDone = () => {
        this.order.push(number);
        this.covered = number + 1;
      };
      return work;
    });
    this.bench.post(...chain);
  }

  #letGo(pick: number): SendSlot | undefined {
    return this.held.splice(pick % Math.max(this.held.length, 1), 1)[0];
  }
}

describe('any life of a send queue', () => {
  it('completes in posting order, at most once, and accounts for every request in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 80 }), async (steps) => {
        const run = new SendQueueRun();
        for (const action of steps) await run.apply(action);
        const drained = run.bench.queuePair.drain();
        for (const slot of run.held) run.bench.queuePair.completeSend(slot);
        await drained;

        expect(run.order).toEqual([...run.order].sort((left, right) => left - right));
        expect(new Set(run.order).size).toBe(run.order.length);
        let isFlushing = false;
        let isImplied = false;
        for (const work of [...run.works].reverse()) {
          // Seen from the end: flushed requests, then successes, of which the unsignalled ones are implied.
          const status = work.records[0]?.status;
          if (status === 'success') {
            expect(work.request.signaled).toBe(true);
            isImplied = true;
          } else if (status === undefined) {
            expect(work.request.signaled).toBe(false);
            expect(isImplied).toBe(true);
          } else {
            expect(isImplied).toBe(false);
            expect(status).toBe(work === run.failed ? 'remoteOperationError' : 'flushed');
            isFlushing = true;
          }
        }
        expect(isFlushing || run.works.length === 0 || isImplied).toBe(true);
        run.bench.queuePair.destroy();
      }),
      { numRuns: 300 },
    );
  });
});

describe('any split of a message', () => {
  it('into segments and pieces places the same bytes', () => {
    const split = fc.array(fc.nat(2000), { maxLength: 12 });
    fc.assert(
      fc.property(fc.nat(2000), split, split, fc.integer(), (length, segments, pieces, seed) => {
        const bench = new RnicBench();
        const { queuePair } = bench;
        const bytes = Buffer.alloc(length);
        fillPattern(bytes, seed);
        const sink = bench.register(length + 20);
        bench.receive(sink, 10, length);
        const target = bench.register(length + 20);
        const { rkey, addressHigh, addressLow } = target.region;
        const cuts = (places: readonly number[], from: number, to: number): number[] => [
          from,
          ...places.filter((place) => place > from && place < to).sort((a, b) => a - b),
          to,
        ];
        const outer = cuts(segments, 0, length);
        for (let index = 0; index + 1 < outer.length; index++) {
          const [from, to] = [outer[index] ?? 0, outer[index + 1] ?? 0];
          const inner = cuts(pieces, from, to);
          const place = (): void => {
            for (let at = 0; at + 1 < inner.length; at++) {
              expect(queuePair.place(bytes, inner[at] ?? 0, inner[at + 1] ?? 0)).toBe(Fault.none);
            }
          };
          expect(queuePair.beginSend(from, to - from)).toBe(Fault.none);
          place();
          const low = addressLow + 10 + from;
          const high = addressHigh + (low > 0xffff_ffff ? 1 : 0);
          expect(queuePair.beginWrite(rkey, high, low % 2 ** 32, to - from)).toBe(Fault.none);
          place();
        }
        expect(queuePair.endSend(length, false, NO_MEMORY_KEY)).toBe(Fault.none);
        for (const { slab } of [sink, target]) {
          expect(slab.bytes.subarray(10, 10 + length).equals(bytes)).toBe(true);
          expect(slab.bytes.subarray(0, 10).equals(Buffer.alloc(10))).toBe(true);
          expect(slab.bytes.subarray(10 + length).equals(Buffer.alloc(10))).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });
});
