import fc from 'fast-check';
import { expect, it } from 'vitest';
import { AllocationMap } from '../../src/store/allocation-map.js';

const PAGE = 4096;

it('behaves as an array of flags, one for each page', () => {
  const range = fc.record({
    isAllocate: fc.boolean(),
    offset: fc.nat(100 * PAGE - 1),
    length: fc.nat(60 * PAGE),
  });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 * PAGE }), fc.array(range), (size, ranges) => {
      const map = new AllocationMap(size);
      const pages = new Array<boolean>(Math.ceil(size / PAGE)).fill(false);
      for (const { isAllocate, offset, length } of ranges) {
        const start = Math.min(offset, size - 1);
        const bytes = Math.min(length, size - start);
        pages.forEach((_, page) => {
          const from = page * PAGE;
          const to = Math.min(from + PAGE, size);
          const isTouched = bytes > 0 && from < start + bytes && to > start;
          const isWhole = from >= start && to <= start + bytes;
          if (isAllocate ? isTouched : isWhole) pages[page] = isAllocate;
        });
        if (isAllocate) map.allocate(start, bytes);
        else map.free(start, bytes);
      }
      pages.forEach((state, page) => {
        expect(map.isAllocated(page * PAGE)).toBe(state);
        const next = pages.findIndex((other, index) => index > page && other !== state);
        const end = next < 0 ? size : next * PAGE;
        expect(map.runBytes(page * PAGE, size)).toBe(end - page * PAGE);
      });
      expect(map.isAnyAllocated(0, size)).toBe(pages.includes(true));
    }),
  );
});

it('has larger pages rather than more than 2^24 of them', () => {
  expect(new AllocationMap(2 ** 36).pageBytes).toBe(4096);
  expect(new AllocationMap(2 ** 36 + 1).pageBytes).toBe(8192);
  expect(new AllocationMap(2 ** 44).pageBytes).toBe(2 ** 20);
});
