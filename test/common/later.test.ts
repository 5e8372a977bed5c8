import { afterEach, describe, expect, it } from 'vitest';
import { soon } from '../../src/common/later.js';
import { turn } from '../support/waiting.js';

const caught: { error: unknown; origin: string }[] = [];
const earlier = process.listeners('uncaughtException');
const onCaught = (error: unknown, origin: string): void => {
  caught.push({ error, origin });
};

afterEach(() => {
  process.removeListener('uncaughtException', onCaught);
  for (const listener of earlier) {
    if (!process.listeners('uncaughtException').includes(listener)) {
      process.on('uncaughtException', listener);
    }
  }
  caught.length = 0;
});

describe('soon', () => {
  it('calls in order, when the present turn has ended, and before the event loop goes on', async () => {
    const seen: string[] = [];
    setImmediate(() => seen.push('immediate'));
    soon(() => {
      seen.push('a');
      soon(() => seen.push('c'));
    });
    soon(() => seen.push('b'));
    seen.push('turn');
    await turn();
    expect(seen).toEqual(['turn', 'a', 'b', 'c', 'immediate']);
  });

  it('calls once for each time that it is asked', async () => {
    let count = 0;
    const action = (): void => {
      count++;
    };
    for (let round = 0; round < 3; round++) {
      soon(action);
      soon(action);
      await turn();
    }
    expect(count).toBe(6);
  });

  it('reports what an action throws as uncaught, and still calls the others', async () => {
    for (const listener of earlier) process.removeListener('uncaughtException', listener);
    process.on('uncaughtException', onCaught);
    const error = new Error('a bug');
    const seen: string[] = [];
    soon(() => seen.push('before'));
    soon(() => {
      throw error;
    });
    soon(() => seen.push('behind'));
    await turn();
    soon(() => seen.push('later'));
    await turn();
    expect(seen).toEqual(['before', 'behind', 'later']);
    expect(caught).toEqual([{ error, origin: 'uncaughtException' }]);
  });
});
