import type { Argv } from 'yargs';
import { POLL_US_MAX } from '../socket/busy-poll.js';
import { UsageError } from '../common/errors.js';
import {
  CHAP_ALGORITHMS,
  chapAlgorithmName,
  parseChapAlgorithms,
} from '../iscsi/chap-algorithm.js';
import { LOG_LEVELS } from '../observe/log.js';
import type { LogLevel, Logger } from '../observe/log.js';
import type { CredentialSources, SecretStores } from '../gateway/credentials.js';
import { SecretFiles } from '../gateway/secret-file.js';

/** The options of every command. */
export function withLogLevel<T>(argv: Argv<T>, level: LogLevel = 'info') {
  return argv.option('log-level', {
    choices: LOG_LEVELS,
    default: level,
    describe: 'what to log on standard error: lines for people on a terminal, JSON otherwise',
  });
}

/** The polling option of a server. */
export function withPolling<T>(argv: Argv<T>, defaultUs: number) {
  return argv.option('poll-us', {
    type: 'string',
    describe:
      'how many microseconds to poll for more after bytes have arrived, before sleeping; ' +
      `0 turns it off, at most ${POLL_US_MAX} [${defaultUs}]`,
  });
}

/** @throws UsageError for a text that is not a number of microseconds in the allowed range */
export function pollUs(text: string | undefined): number | null {
  const given = once(text, 'poll-us');
  if (given === null) return null;
  const value = /^\d{1,9}$/.test(given) ? Number(given) : Infinity;
  if (value <= POLL_US_MAX) return value;
  throw new UsageError(
    'option',
    `--poll-us ${given}: expected whole microseconds from 0 to ${POLL_US_MAX}`,
  );
}

/** The options of a command that logs in. */
export function withInitiator<T>(argv: Argv<T>) {
  return withChapAlgorithms(argv)
    .option('initiator-name', {
      type: 'string',
      describe: 'our iSCSI name [iqn.2026-11.io.example.iser-nbd:HOSTNAME]',
    })
    .option('chap-user', { type: 'string', describe: 'CHAP name, where the URL has no user@' })
    .option('chap-secret-file', {
      type: 'string',
      describe: 'file with our CHAP secret [environment: ISER_NBD_CHAP_SECRET]',
    })
    .option('mutual-chap-user', {
      type: 'string',
      describe: 'CHAP name that the target must prove',
    })
    .option('mutual-chap-secret-file', {
      type: 'string',
      describe: "file with the target's CHAP secret [environment: ISER_NBD_MUTUAL_CHAP_SECRET]",
    });
}

/** The algorithms that there are, best first, as an option takes them. */
export function chapAlgorithmList(): string {
  return CHAP_ALGORITHMS.map(chapAlgorithmName).join(',');
}

function withChapAlgorithms<T>(argv: Argv<T>) {
  return argv.option('chap-algorithms', {
    type: 'string',
    describe:
      'CHAP algorithms to allow, best first; when a target takes no list, md5 is tried alone, if the list has it ' +
      `(docs/chap.md) [${chapAlgorithmList()}]`,
  });
}

export interface ChapArguments {
  'chap-algorithms'?: string | undefined;
  'chap-user'?: string | undefined;
  'chap-secret-file'?: string | undefined;
  'mutual-chap-user'?: string | undefined;
  'mutual-chap-secret-file'?: string | undefined;
}

export function credentialSources(argv: ChapArguments): CredentialSources {
  const algorithms = once(argv['chap-algorithms'], 'chap-algorithms');
  return {
    user: once(argv['chap-user'], 'chap-user'),
    secretFile: once(argv['chap-secret-file'], 'chap-secret-file'),
    mutualUser: once(argv['mutual-chap-user'], 'mutual-chap-user'),
    mutualSecretFile: once(argv['mutual-chap-secret-file'], 'mutual-chap-secret-file'),
    algorithms: algorithms === null ? null : parseChapAlgorithms(algorithms),
  };
}

/** The sources of this process's secrets. Warnings about them go to `log`. */
export function secretStores(log: Logger): SecretStores {
  return { environment: process.env, files: new SecretFiles(log) };
}

/**
 * The value of an option; null when it is not given.
 *
 * @throws UsageError when the option is empty, or is given twice: yargs makes an array of that
 */
export function once(value: string | undefined, name: string): string | null {
  if (value === undefined) return null;
  if (typeof value !== 'string')
    throw new UsageError('option', `--${name} is given more than once`);
  if (value === '') throw new UsageError('option', `--${name} needs a value`);
  return value;
}

/**
 * Examples for --help: lines to copy, and what each does. The explanation stands above its line: beside it, yargs would
 * break the line that people copy.
 */
export function withExamples<T>(argv: Argv<T>, examples: Readonly<Record<string, string>>) {
  for (const [line, what] of Object.entries(examples)) {
    argv.example(`${COMMENT}${what}`, '').example(line, '');
  }
  return argv;
}

/** The start of a line that explains the example below it. */
export const COMMENT = '# ';
