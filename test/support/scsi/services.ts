import { ManualClock } from '../common/manual-clock.js';
import { SlabPool } from '../../../src/common/slab.js';
import type { ScsiLog, ScsiServices } from '../../../src/disk/control.js';

/** One line of log: level, message and facts. */
export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface TestServices extends ScsiServices {
  readonly clock: ManualClock;
  readonly lines: LogLine[];
}

/** Services with a clock that the test moves and a log that it reads. */
export function testServices(pool = new SlabPool()): TestServices {
  const lines: LogLine[] = [];
  const at = (level: string) => (facts: object, message: string) => {
    lines.push({ level, message, facts: { ...facts } });
  };
  const log: ScsiLog = {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
  };
  return { pool, clock: new ManualClock(), log, lines };
}
