import { describe, expect, it } from 'vitest';
import { CounterSums, nonZero, readingsOf } from '../../src/observe/counter-sums.js';
import { CounterSet } from '../../src/observe/counters.js';

function counted(reads: number, writes: number) {
  const set = new CounterSet();
  set.counter('requests', '', { command: 'READ', export: 'a' }).add(reads);
  set.counter('requests', '', { export: 'a', command: 'WRITE' }).add(writes);
  set.counter('connections', '').add(1);
  return readingsOf(set);
}

describe('counters of several processes', () => {
  it('add up by name and labels', () => {
    const sums = new CounterSums();
    sums.update('1', counted(1, 2));
    sums.update('2', counted(10, 0));
    expect(nonZero(sums.total())).toEqual({
      'requests{command="READ",export="a"}': 11,
      'requests{command="WRITE",export="a"}': 2,
      connections: 2,
    });
  });

  it('take the place of what the same process told before', () => {
    const sums = new CounterSums();
    sums.update('1', counted(1, 2));
    sums.update('1', counted(5, 2));
    expect(nonZero(sums.total())['requests{command="READ",export="a"}']).toBe(5);
  });

  it('never go back: what an ended process told stays', () => {
    const sums = new CounterSums();
    sums.update('1', counted(5, 0));
    sums.end('1');
    sums.end('1');
    expect(nonZero(sums.total())['requests{command="READ",export="a"}']).toBe(5);
    sums.update('1', counted(2, 0));
    expect(nonZero(sums.total())).toEqual({
      'requests{command="READ",export="a"}': 7,
      connections: 2,
    });
    sums.end('1');
    sums.end('2');
    expect(nonZero(sums.total())['requests{command="READ",export="a"}']).toBe(7);
  });

  it('leave out what is zero, and keep odd label values apart', () => {
    const set = new CounterSet();
    set.counter('n', '', { export: 'a"b' }).add(1);
    set.counter('n', '', { export: 'ab' }).add(0);
    expect(nonZero(readingsOf(set))).toEqual({ 'n{export="a\\"b"}': 1 });
  });
});
