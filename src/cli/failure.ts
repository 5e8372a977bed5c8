import { InvariantError } from '../common/assert.js';
import { IserNbdError, messageOf } from '../common/errors.js';
import { printable } from '../common/printable.js';

/** The command line itself is wrong: one line, and exit status 2. */
class UsageError extends Error {}

export function refuseUsage(message: string): never {
  throw new UsageError(message.replaceAll('\n', ' '));
}

/**
 * Ends the command for a reason that its user can act on: one line on standard error, exit status 1 (2 for a wrong
 * command line). A stack is printed with `--log-level debug`, and for a bug of ours.
 */
export function fail(error: unknown): void {
  if (error instanceof UsageError) {
    process.stderr.write(`iser-nbd: ${error.message} (see iser-nbd --help)\n`);
    process.exitCode = 2;
    return;
  }
  process.stderr.write(`iser-nbd: ${printable(messageOf(error))}\n`);
  const isBug = !(error instanceof IserNbdError) || error instanceof InvariantError;
  if ((isBug || wantsDebug()) && error instanceof Error)
    process.stderr.write(`${(error.stack ?? '').split('\n').map(printable).join('\n')}\n`);
  process.exitCode = 1;
}

function wantsDebug(): boolean {
  const level = process.argv.findIndex((argument) => argument.startsWith('--log-level'));
  const text = `${process.argv[level] ?? ''} ${process.argv[level + 1] ?? ''}`;
  return level >= 0 && /debug|trace/.test(text);
}
