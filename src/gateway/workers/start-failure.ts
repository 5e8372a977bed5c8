import { IserNbdError, messageOf } from '../../common/errors.js';
import type { StartFailure } from './messages.js';

/** An error as it can be sent to another process. */
export function packError(error: unknown): StartFailure {
  return {
    message: messageOf(error),
    stack: error instanceof Error ? (error.stack ?? '') : '',
    code: error instanceof IserNbdError ? error.code : null,
    facts: error instanceof IserNbdError ? error.facts : {},
  };
}

/** The error again, which for a user is what it would have been in one process. */
export function unpackError({ message, stack, code, facts }: StartFailure): Error {
  const error = code === null ? new Error(message) : new IserNbdError(code, message, facts);
  if (stack !== '') error.stack = stack;
  return error;
}
