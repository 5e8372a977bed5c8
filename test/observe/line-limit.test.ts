import { describe, expect, it } from 'vitest';
import { LineLimit } from '../../src/observe/line-limit.js';

class Bed {
  nowMs = 0;
  readonly limit = new LineLimit(() => this.nowMs);

  /** How many of `count` lines with each of `messages` are written. */
  write(count: number, messages: readonly string[], isGrave = false): number {
    let written = 0;
    for (let line = 0; line < count; line++) {
      for (const message of messages) if (this.limit.admits(message, isGrave)) written++;
    }
    return written;
  }
}

describe('the limit of a log', () => {
  it('lets so many lines of a kind through, and counts the rest once', () => {
    const bed = new Bed();
    expect(bed.write(1000, ['client attached'])).toBe(50);
    expect(bed.limit.takeLeftOut()).toEqual([{ message: 'client attached', lines: 950 }]);
    expect(bed.limit.takeLeftOut()).toEqual([]);
  });

  it('lets a few a second through for as long as it goes on', () => {
    const bed = new Bed();
    bed.write(1000, ['client attached']);
    bed.nowMs += 10_000;
    expect(bed.write(1000, ['client attached'])).toBe(50);
    bed.nowMs += 1000;
    expect(bed.write(1000, ['client attached'])).toBe(5);
  });

  it('keeps no kind out because of another', () => {
    const bed = new Bed();
    bed.write(1000, ['client attached']);
    expect(bed.write(1, ['disk lost'])).toBe(1);
  });

  it('is not got around by ever new messages, and keeps room for what is grave', () => {
    const bed = new Bed();
    const many = Array.from({ length: 5000 }, (_, index) => `message ${index}`);
    expect(bed.write(1, many)).toBeLessThanOrEqual(400);
    expect(bed.write(1, ['one more'])).toBe(0);
    bed.nowMs += 1000;
    expect(bed.write(1, many)).toBeLessThanOrEqual(40);
    const sum = bed.limit.takeLeftOut().reduce((total, { lines }) => total + lines, 0);
    expect(sum).toBeGreaterThan(9000);
    expect(bed.write(3, ['disk lost'], true)).toBe(3);
  });

  it('forgets what has not come for long', () => {
    const bed = new Bed();
    bed.write(
      1,
      Array.from({ length: 300 }, (_, index) => `message ${index}`),
    );
    bed.nowMs += 60_000;
    bed.limit.takeLeftOut();
    expect(bed.write(1000, ['another'])).toBe(50);
  });
});
