import { isUtf8 } from 'node:buffer';
import { readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { POLL_US_MAX } from '../socket/busy-poll.js';
import { ConfigError, UsageError, messageOf } from '../common/errors.js';
import { allowSchema } from './access-config.js';
import { limitsSchema } from './limits-config.js';
import { WORKERS_MAX } from './workers/limits.js';

const tls = z.strictObject({
  mode: z.enum(['off', 'on', 'require']).optional(),
  cert: z.string().optional(),
  key: z.string().optional(),
  ca: z.string().optional(),
  psk: z.string().optional(),
});

export type TlsConfig = z.infer<typeof tls>;

const unixSocket = z.union([
  z.string(),
  z.strictObject({
    path: z.string(),
    // YAML would read an unquoted 0660 as a decimal number.
    mode: z.string('write it in quotes, as in "0660"').optional(),
    owner: z.string().optional(),
  }),
]);

/** How long `serve` polls by default. */
export const DEFAULT_POLL_US = 100;

/** The configuration file of `serve`, in YAML. A value that is also an option has the same name in both. */
const configFile = z.strictObject({
  listen: z.array(z.string()).default([]),
  unix: z.array(unixSocket).default([]),
  default: z.string().optional(),
  tls: tls.optional(),
  limits: limitsSchema.optional(),
  /** Microseconds to poll for more after bytes have arrived, before sleeping. */
  pollUs: z.int().min(0).max(POLL_US_MAX).optional(),
  initiatorName: z.string().optional(),
  /** Processes that share the connections. */
  workers: z.int().min(1).max(WORKERS_MAX).optional(),
  exports: z
    .array(
      z.strictObject({
        name: z.string(),
        url: z.string(),
        description: z.string().default(''),
        readOnly: z.boolean().default(false),
        allow: allowSchema.optional(),
        chapUser: z.string().optional(),
        chapSecretFile: z.string().optional(),
        mutualChapUser: z.string().optional(),
        mutualChapSecretFile: z.string().optional(),
        chapAlgorithms: z.union([z.string(), z.array(z.string())]).optional(),
      }),
    )
    .default([]),
});

export type ConfigFile = z.infer<typeof configFile>;

/** The path that means standard input. */
const STANDARD_INPUT = '-';

/**
 * Reads a configuration file. `asked` is a path, or `-` for standard input.
 *
 * @throws ConfigError when the file cannot be read, and UsageError for the first error in the file
 */
export function readConfigFile(asked: string): ConfigFile {
  const path = asked === STANDARD_INPUT ? 'standard input' : asked;
  let bytes: Buffer;
  try {
    bytes = readFileSync(asked === STANDARD_INPUT ? 0 : asked);
  } catch (error) {
    throw new ConfigError('config-file', `cannot read the configuration: ${messageOf(error)}`);
  }
  // A lenient decoder could turn two names that are not UTF-8 into the same name.
  if (!isUtf8(bytes)) throw new UsageError('config-file', `${path} is not UTF-8`);
  let document: unknown;
  try {
    document = parseYaml(bytes.toString('utf8'));
  } catch (error) {
    const firstLine = messageOf(error).split('\n')[0] ?? '';
    throw new UsageError('config-file', `${path} is not YAML: ${firstLine}`);
  }
  const result = configFile.safeParse(document ?? {});
  if (result.success) return result.data;
  // A misspelt field causes two errors, one unknown and one missing field. The unknown field is the better message.
  const { issues } = result.error;
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0];
  const where = issue === undefined || issue.path.length === 0 ? '' : `${issue.path.join('.')}: `;
  throw new UsageError(
    'config-file',
    `${path}: ${where}${issue?.message ?? 'not a configuration'}`,
  );
}
