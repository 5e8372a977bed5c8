import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { Ring } from '../../src/common/ring.js';

describe('a ring', () => {
  it('rounds its capacity up to a power of two', () => {
    const capacities = [1, 2, 3, 5, 8, 1000].map((min) => new Ring(min).capacity);
    expect(capacities).toEqual([1, 2, 4, 8, 8, 1024]);
  });

  it('refuses a capacity that makes no sense', () => {
    expect(() => new Ring(0)).toThrow(InvariantError);
    expect(() => new Ring(2 ** 25)).toThrow(InvariantError);
  });

  it('gives back nothing when it is empty, and takes nothing when it is full', () => {
    const ring = new Ring<string>(1);
    expect(ring.shift()).toBeUndefined();
    expect(ring.peek()).toBeUndefined();
    ring.push('a');
    expect(ring.isFull).toBe(true);
    expect(() => ring.push('b')).toThrow(InvariantError);
    expect(ring.peek()).toBe('a');
    expect(ring.shift()).toBe('a');
    expect(ring.peek()).toBeUndefined();
  });

  it('behaves as an array does, whatever is pushed and shifted', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 9 }), fc.array(fc.boolean()), (capacity, pushes) => {
        const ring = new Ring<number>(capacity);
        const model: number[] = [];
        for (const [index, isPush] of pushes.entries()) {
          if (isPush && !ring.isFull) {
            ring.push(index);
            model.push(index);
          } else if (!isPush) {
            expect(ring.shift()).toBe(model.shift());
          }
          expect(ring.length).toBe(model.length);
          expect(ring.peek()).toBe(model[0]);
          expect(ring.isFull).toBe(model.length === ring.capacity);
        }
      }),
    );
  });
});
