import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../../src/common/assert.js';
import { SoftCompletionQueue } from '../../../src/transport/rnic/completion-queue.js';
import { VerbsError, WorkOpcode, WorkStatus } from '../../../src/transport/verbs.js';
import { RnicBench } from '../../support/transport/rnic.js';
import { turn } from '../../support/waiting.js';

function push(queue: SoftCompletionQueue, bench: RnicBench, done: () => void): void {
  queue.push(bench.queuePair, false, 0, WorkOpcode.send, WorkStatus.success, 0, done);
}

describe('completion queue', () => {
  it('runs handlers in order, in a later microtask, and tells when the batch is over', async () => {
    const bench = new RnicBench();
    const queue = new SoftCompletionQueue(8);
    const seen: string[] = [];
    queue.onBatchEnd = () => seen.push('end');
    push(queue, bench, () => seen.push('first'));
    push(queue, bench, () => seen.push('second'));
    expect(seen).toEqual([]);
    await Promise.resolve();
    expect(seen).toEqual(['first', 'second', 'end']);
  });

  it('leaves what a handler causes to the next batch', async () => {
    const bench = new RnicBench();
    const queue = new SoftCompletionQueue(8);
    const seen: string[] = [];
    queue.onBatchEnd = () => seen.push('end');
    push(queue, bench, () => {
      seen.push('cause');
      push(queue, bench, () => seen.push('effect'));
    });
    await turn();
    expect(seen).toEqual(['cause', 'end', 'effect', 'end']);
  });

  it('keeps the order while it grows to its depth', async () => {
    const bench = new RnicBench();
    const queue = new SoftCompletionQueue(1000);
    const seen: number[] = [];
    for (let index = 0; index < 40; index++) push(queue, bench, () => seen.push(index));
    await turn();
    for (let index = 40; index < 1040; index++) push(queue, bench, () => seen.push(index));
    await turn();
    expect(seen).toEqual([...Array(1040).keys()]);
  });

  it('treats an overflow as a bug of whoever sized it', () => {
    const bench = new RnicBench();
    const queue = new SoftCompletionQueue(3);
    for (let index = 0; index < 3; index++) push(queue, bench, () => undefined);
    expect(() => push(queue, bench, () => undefined)).toThrow(InvariantError);
  });

  it.each([0, -1, 1.5, 1 << 20])('refuses a depth of %d', (depth) => {
    expect(() => new SoftCompletionQueue(depth)).toThrow(VerbsError);
  });
});
