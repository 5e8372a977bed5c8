import { pino } from 'pino';
import { IserNbdError } from '../../src/common/errors.js';
import type { Logger } from '../../src/observe/log.js';

/** A logger that keeps errors which are not the peer's: whatever is logged that is no operating error is a bug. */
export class BugLog {
  readonly logger: Logger;
  #bug: Error | null = null;

  constructor() {
    const note = (value: unknown): void => {
      if (value instanceof Error && !(value instanceof IserNbdError) && !('syscall' in value)) {
        this.#bug ??= value;
      }
    };
    this.logger = pino(
      {
        level: 'debug',
        hooks: {
          logMethod: ([facts]) => {
            if (typeof facts === 'object' && facts !== null) Object.values(facts).forEach(note);
          },
        },
      },
      { write: () => undefined },
    );
  }

  /** @throws what was found since it was asked last. */
  check(): void {
    const bug = this.#bug;
    this.#bug = null;
    if (bug !== null) throw new Error('a bug was logged', { cause: bug });
  }
}
