/** The peers and names that an operating error is about. A reader needs them to act on it. Never a secret. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean>>;

/**
 * The base of every operating error. `code` is stable and is for programs. `message` is one sentence for people: it says
 * what is wrong and, where that is known, what to do.
 */
export class IserNbdError extends Error {
  override readonly name: string = 'IserNbdError';
  readonly code: string;
  readonly facts: ErrorFacts;

  constructor(code: string, message: string, facts: ErrorFacts = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.facts = facts;
  }
}

/** The user asked for something impossible: a bad URL, size, name or file. */
export class ConfigError extends IserNbdError {
  override readonly name: string = 'ConfigError';
}

/** The command line itself has to change: an argument cannot be read, or two arguments contradict each other. */
export class UsageError extends ConfigError {}

/** The message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
