import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { FreeList } from '../../src/common/free-list.js';

describe('a free list', () => {
  it('makes objects when they are needed, and no more than its limit', () => {
    let made = 0;
    const list = new FreeList(2, () => ({ number: made++ }));
    expect(made).toBe(0);
    const one = list.take();
    const two = list.take();
    expect([one, two]).toEqual([{ number: 0 }, { number: 1 }]);
    expect([list.usedCount, list.isExhausted]).toEqual([2, true]);
    expect(() => list.take()).toThrow(InvariantError);
  });

  it('gives the one that was used last', () => {
    const list = new FreeList(3, () => ({}));
    const taken = [list.take(), list.take(), list.take()];
    for (const item of taken) list.give(item);
    expect(list.take()).toBe(taken[2]);
    expect([list.usedCount, list.isExhausted]).toEqual([1, false]);
  });

  it('takes nothing back that it did not give', () => {
    const list = new FreeList(1, () => ({}));
    expect(() => list.give({})).toThrow(InvariantError);
  });

  it('forgets what nobody uses, and makes it anew', () => {
    let made = 0;
    const list = new FreeList(2, () => ({ number: made++ }));
    const one = list.take();
    list.give(list.take());
    list.trim();
    expect(list.usedCount).toBe(1);
    expect(list.take()).toEqual({ number: 2 });
    expect(list.isExhausted).toBe(true);
    list.give(one);
    expect(list.take()).toBe(one);
  });
});
