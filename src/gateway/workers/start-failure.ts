import { IserNbdError, UsageError, messageOf } from '../../common/errors.js';
import type { StartFailure } from './messages.js';

/** An error in a form that can be sent to another process. */
export function packError(error: unknown): StartFailure {
  return {
    message: messageOf(error),
    stack: error instanceof Error ? (error.stack ?? '') : '',
    code: error instanceof IserNbdError ? error.code : null,
    facts: error instanceof IserNbdError ? error.facts : {},
    isUsage: error instanceof UsageError,
  };
}

/** The error again. For a user, it is the same as from a single process. */
export function unpackError({ message, stack, code, facts, isUsage }: StartFailure): Error {
  const Kind = isUsage ? UsageError : IserNbdError;
  const error = code === null ? new Error(message) : new Kind(code, message, facts);
  if (stack !== '') error.stack = stack;
  return error;
}
