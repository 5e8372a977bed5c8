import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { SLOT_TABLE_CAPACITY_MAX, SlotTable } from '../../src/common/slot-table.js';

function tableOf(count: number): SlotTable<number> {
  return new SlotTable(Array.from({ length: count }, (_, index) => index));
}

describe('a slot table', () => {
  it('hands out every slot once, and then says that it has none', () => {
    const table = tableOf(4);
    const items = [0, 1, 2, 3].map(() => table.get(table.acquire()));
    expect(items.sort()).toEqual([0, 1, 2, 3]);
    expect(table.acquire()).toBe(-1);
    expect(table.freeCount).toBe(0);
    expect(table.usedCount).toBe(4);
  });

  it('does not know a tag that was given back, even when its slot is in use again', () => {
    const table = tableOf(1);
    const first = table.acquire();
    table.release(first);
    const second = table.acquire();
    expect(second).not.toBe(first);
    expect(table.get(first)).toBeUndefined();
    expect(table.get(second)).toBe(0);
  });

  it('does not know a tag that it never issued', () => {
    const table = tableOf(4);
    const tag = table.acquire();
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), (other) => {
        if (other !== tag) expect(table.get(other)).toBeUndefined();
      }),
    );
  });

  it('refuses to take a tag back that is not in use', () => {
    const table = tableOf(2);
    const tag = table.acquire();
    table.release(tag);
    expect(() => table.release(tag)).toThrow(InvariantError);
    expect(() => table.release(0xffffffff)).toThrow(InvariantError);
  });

  it('has a bounded capacity', () => {
    expect(() => tableOf(0)).toThrow(InvariantError);
    expect(() => tableOf(SLOT_TABLE_CAPACITY_MAX + 1)).toThrow(InvariantError);
    expect(tableOf(SLOT_TABLE_CAPACITY_MAX).capacity).toBe(4096);
  });

  it('never issues 0xffffffff, and stays right when a slot’s generations come round', () => {
    const table = tableOf(1);
    let last = -1;
    for (let count = 0; count < 2 ** 20 + 10; count++) {
      const tag = table.acquire();
      if (tag === last || tag === 0xffffffff || tag < 0) throw new Error(`tag ${tag}`);
      table.release(tag);
      last = tag;
    }
    expect(table.get(table.acquire())).toBe(0);
  });

  it('shows every slot in use, which may be given back while it is shown', () => {
    const table = tableOf(5);
    const tags = [1, 2, 3].map(() => table.acquire());
    const seen: number[] = [];
    table.forEachUsed((item, tag) => {
      expect(table.get(tag)).toBe(item);
      seen.push(tag);
      table.release(tag);
    });
    expect(seen.sort()).toEqual(tags.sort());
    expect(table.usedCount).toBe(0);
  });
});
