/** What an operating error is about: the peers and names a reader needs to act on it. Never a secret. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean>>;

/**
 * The base of every operating error. `code` is stable and for programs; `message` is one sentence for people
 * that says what is wrong and, where it is known, what to do.
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

/** The user asked for something that cannot be: a bad URL, size, name or file. */
export class ConfigError extends IserNbdError {
  override readonly name: string = 'ConfigError';
}

/** What was asked for cannot be understood, or does not go together: the command line itself has to change. */
export class UsageError extends ConfigError {}

/** The message of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
