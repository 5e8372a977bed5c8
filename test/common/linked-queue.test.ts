import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { LinkedQueue } from '../../src/common/linked-queue.js';

class Item {
  next: Item | null = null;
  constructor(readonly number: number) {}
}

const numbersOf = (queue: LinkedQueue<Item>): number[] => {
  const numbers: number[] = [];
  for (let item = queue.takeAll(); item !== null; item = LinkedQueue.nextOf(item)) {
    numbers.push(item.number);
  }
  return numbers;
};

describe('a linked queue', () => {
  it('behaves as an array does, whatever is done to it', () => {
    const step = fc.constantFrom('push', 'unshift', 'shift', 'append', 'takeAll');
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const queue = new LinkedQueue<Item>();
        let model: number[] = [];
        steps.forEach((name, index) => {
          const item = new Item(index);
          if (name === 'push') {
            queue.push(item);
            model.push(index);
          } else if (name === 'unshift') {
            queue.unshift(item);
            model.unshift(index);
          } else if (name === 'shift') {
            const first = queue.shift();
            expect(first?.number).toBe(model.shift());
            expect(first?.next ?? null).toBeNull();
          } else if (name === 'append') {
            const other = new LinkedQueue<Item>();
            if (index % 3 > 0) other.push(item);
            if (index % 3 > 1) other.push(new Item(-index));
            queue.append(other);
            expect(other.isEmpty).toBe(true);
            model.push(...[index, -index].slice(0, index % 3));
          } else {
            expect(numbersOf(queue)).toEqual(model);
            model = [];
          }
          expect(queue.isEmpty).toBe(model.length === 0);
          expect(queue.head?.number).toBe(model[0]);
        });
        expect(numbersOf(queue)).toEqual(model);
      }),
    );
  });

  it('leaves no link on what it gives out', () => {
    const queue = new LinkedQueue<Item>();
    const items = [new Item(0), new Item(1), new Item(2)];
    for (const item of items) queue.push(item);
    expect(numbersOf(queue)).toEqual([0, 1, 2]);
    expect(items.map(({ next }) => next)).toEqual([null, null, null]);
  });

  it('does not go behind itself', () => {
    const queue = new LinkedQueue<Item>();
    expect(() => queue.append(queue)).toThrow(InvariantError);
  });
});
