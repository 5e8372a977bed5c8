import { UsageError, messageOf } from '../common/errors.js';
import { printable } from '../common/printable.js';
import { isExpected } from '../observe/log.js';
import { complain } from './output.js';

/** Reports a message of the command line's parser. */
export function refuseUsage(message: string): never {
  throw new UsageError('usage', message.replaceAll('\n', ' '));
}

/**
 * Reports why the command failed: one line on standard error, exit status 1, or 2 when the command line has to change. A
 * stack is printed with `--log-level debug`, and for a bug of ours.
 */
export function fail(error: unknown): void {
  process.exitCode = error instanceof UsageError ? 2 : 1;
  const help =
    error instanceof UsageError && error.code === 'usage' ? ' (see iser-nbd --help)' : '';
  complain(`iser-nbd: ${printable(messageOf(error))}${help}\n`);
  if ((!isExpected(error) || wantsDebug()) && error instanceof Error)
    complain(`${(error.stack ?? '').split('\n').map(printable).join('\n')}\n`);
}

function wantsDebug(): boolean {
  const level = process.argv.findIndex((argument) => argument.startsWith('--log-level'));
  const text = `${process.argv[level] ?? ''} ${process.argv[level + 1] ?? ''}`;
  return level >= 0 && /debug|trace/.test(text);
}
