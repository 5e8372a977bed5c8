import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { InvariantError } from '../../src/common/assert.js';
import { ConfigError } from '../../src/common/errors.js';
import { createLogger } from '../../src/observe/log.js';
import type { LogLevel, Logger } from '../../src/observe/log.js';

interface Line {
  readonly priority: number;
  readonly line: Record<string, unknown> & { err?: Record<string, unknown> };
}

let lines: Line[];
beforeEach(() => {
  lines = [];
  vi.useFakeTimers();
});
afterEach(() => vi.useRealTimers());

function logger(level: LogLevel = 'info'): Logger {
  return createLogger(
    level,
    {},
    {
      output: (text, priority) =>
        void lines.push({ priority, line: JSON.parse(text) as Line['line'] }),
    },
  );
}

describe('the log', () => {
  it('tells an error that can be expected without its stack, and a bug with it', () => {
    const log = logger();
    const cause = Object.assign(new Error('connect ECONNRESET'), { code: 'ECONNRESET' });
    log.warn({ err: new ConfigError('lun', 'it is too large', {}, cause) }, 'expected');
    log.warn({ err: cause }, 'expected, too');
    log.error({ err: new InvariantError('this cannot be') }, 'a bug');
    log.error({ err: new TypeError('x is undefined') }, 'another');
    const [first, second, ...bugs] = lines.map(({ line }) => line.err ?? {});
    expect(first).toEqual({
      type: 'ConfigError',
      code: 'lun',
      message: 'it is too large',
      cause: 'connect ECONNRESET',
    });
    expect(second).toEqual({ type: 'Error', code: 'ECONNRESET', message: 'connect ECONNRESET' });
    for (const bug of bugs) expect(bug['stack']).toMatch(/log\.test/);
    expect(bugs).toHaveLength(2);
  });

  it('gives each level its priority', () => {
    const log = logger('trace');
    log.child({ conn: 1 }).fatal('x');
    log.error('x');
    log.warn('x');
    log.info('x');
    log.debug('x');
    log.trace('x');
    expect(lines.map(({ priority }) => priority)).toEqual([2, 3, 4, 6, 7, 7]);
  });

  it('leaves out lines that come too often, of all children together, and says how many', () => {
    const log = logger();
    for (let conn = 0; conn < 200; conn++) log.child({ conn }).info('client attached');
    expect(lines).toHaveLength(50);
    log.info({ export: 'x' }, 'another');
    expect(lines).toHaveLength(51);
    vi.advanceTimersByTime(10_000);
    expect(lines.slice(51).map(({ line }) => line)).toMatchObject([
      { level: 40, lines: 150, like: 'client attached' },
    ]);
    vi.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(52);
  });

  it('leaves out nothing of what somebody looks for who debugs', () => {
    const log = logger('debug');
    for (let line = 0; line < 1000; line++) log.debug('looking closely');
    expect(lines).toHaveLength(1000);
  });
});
