import { UsageError } from '../common/errors.js';
import { parseListenAddress } from '../common/listen-address.js';
import { accessRule } from '../gateway/access-config.js';
import { inheritedSockets } from '../gateway/activation.js';
import { DEFAULT_POLL_US, readConfigFile } from '../gateway/config.js';
import type { ConfigFile } from '../gateway/config.js';
import { checkSecretFiles, credentialsFor } from '../gateway/credentials.js';
import type { CredentialSources, SecretStores } from '../gateway/credentials.js';
import type { ExportConfig, GatewayConfig, ListenConfig } from '../gateway/gateway-config.js';
import { defaultInitiatorName } from '../gateway/initiator-context.js';
import { warnOfReaders } from '../gateway/secret-file.js';
import { unixSocketAddress } from '../gateway/unix-socket.js';
import { parseExportUrl } from '../gateway/url.js';
import { WORKERS_MAX } from '../gateway/workers/limits.js';
import { parseChapAlgorithms } from '../iscsi/chap-algorithm.js';
import type { AccessRule } from '../nbd/access.js';
import type { Logger } from '../observe/log.js';
import { credentialSources, once, pollUs, secretStores } from './options.js';
import type { ChapArguments } from './options.js';
import { tlsSettings } from './tls-options.js';
import type { TlsArguments } from './tls-options.js';

export const DEFAULT_LISTEN = '127.0.0.1:10809';
export const LAB_EXPORT = 'lab=memory:256M';

/** The command line of `serve`. */
export interface ServeArguments extends ChapArguments, TlsArguments {
  config?: string | undefined;
  export?: string[] | undefined;
  listen?: string[] | undefined;
  unix?: string[] | undefined;
  'unix-mode'?: string | undefined;
  'unix-owner'?: string | undefined;
  'default-export'?: string | undefined;
  'read-only': boolean;
  'poll-us'?: string | undefined;
  'initiator-name'?: string | undefined;
  workers?: string | undefined;
}

/**
 * Combines command line, configuration file and inherited sockets. Lists are joined; of single values, that of the
 * command line wins.
 *
 * @throws ConfigError when a value is wrong or missing, or a file cannot be read
 */
export function serveConfig(argv: ServeArguments, log: Logger): GatewayConfig {
  const configPath = once(argv.config, 'config');
  const file = configPath === null ? null : readConfigFile(configPath);
  const exports = exportsOf(argv, file, secretStores(log));
  if (exports.length === 0) throw new UsageError('exports', 'no exports: add --export NAME=URL');
  const tls = tlsSettings(argv, file?.tls);
  for (const path of [tls?.files.key ?? null, tls?.files.psk ?? null]) {
    if (path !== null) warnOfReaders(path, { what: 'the TLS key', log });
  }
  return {
    exports,
    defaultExport: once(argv['default-export'], 'default-export') ?? file?.default ?? null,
    listen: listenersOf(argv, file),
    tls,
    limits: file?.limits ?? {},
    pollUs: pollUs(argv['poll-us']) ?? file?.pollUs ?? DEFAULT_POLL_US,
    initiatorName:
      once(argv['initiator-name'], 'initiator-name') ??
      file?.initiatorName ??
      defaultInitiatorName(),
    workers: workersOf(argv) ?? file?.workers ?? 1,
  };
}

function workersOf(argv: ServeArguments): number | null {
  const text = once(argv.workers, 'workers');
  if (text === null) return null;
  const workers = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (workers >= 1 && workers <= WORKERS_MAX) return workers;
  throw new UsageError('workers', `--workers ${text}: expected a number from 1 to ${WORKERS_MAX}`);
}

function listenersOf(argv: ServeArguments, file: ConfigFile | null): ListenConfig[] {
  const mode = once(argv['unix-mode'], 'unix-mode') ?? undefined;
  const owner = once(argv['unix-owner'], 'unix-owner') ?? undefined;
  const unix = [...(file?.unix ?? []), ...(argv.unix ?? [])].map((item) =>
    unixSocketAddress({ mode, owner, ...(typeof item === 'string' ? { path: item } : item) }),
  );
  if (unix.length === 0 && (mode ?? owner) !== undefined) {
    throw new UsageError('unix', '--unix-mode and --unix-owner are for --unix, which is missing');
  }
  const tcp = [...(file?.listen ?? []), ...(argv.listen ?? [])].map(parseListenAddress);
  const listen: ListenConfig[] = [...inheritedSockets(), ...tcp, ...unix];
  return listen.length > 0 ? listen : [parseListenAddress(DEFAULT_LISTEN)];
}

function exportsOf(
  argv: ServeArguments,
  file: ConfigFile | null,
  stores: SecretStores,
): ExportConfig[] {
  const sources = credentialSources(argv);
  // Checked even when every export has a secret file of its own.
  checkSecretFiles(sources, stores);
  const named = argv.export ?? (file === null ? [LAB_EXPORT] : []);
  return [
    ...(file?.exports ?? []).map((item) => exportFromFile(item, sources, stores)),
    ...named.map((text) => exportFromOption(text, sources, stores)),
  ].map((item) => (argv['read-only'] ? { ...item, readOnly: true } : item));
}

function exportFromOption(
  text: string,
  sources: CredentialSources,
  stores: SecretStores,
): ExportConfig {
  const separator = text.indexOf('=');
  if (separator <= 0) {
    throw new UsageError('export', `--export ${text}: expected NAME=URL, as in ${LAB_EXPORT}`);
  }
  const name = text.slice(0, separator);
  return exportConfig(
    name,
    text.slice(separator + 1),
    { description: '', readOnly: false, allow: null },
    sources,
    stores,
  );
}

function exportFromFile(
  item: ConfigFile['exports'][number],
  sources: CredentialSources,
  stores: SecretStores,
): ExportConfig {
  return exportConfig(
    item.name,
    item.url,
    { ...item, allow: accessRule(item.allow) },
    {
      user: item.chapUser ?? sources.user,
      secretFile: item.chapSecretFile ?? sources.secretFile,
      mutualUser: item.mutualChapUser ?? sources.mutualUser,
      mutualSecretFile: item.mutualChapSecretFile ?? sources.mutualSecretFile,
      algorithms: algorithmsOf(item) ?? sources.algorithms,
    },
    stores,
  );
}

/** The configuration file may have a list, or a text as on the command line. */
function algorithmsOf({ chapAlgorithms: given }: ConfigFile['exports'][number]) {
  if (given === undefined) return null;
  return parseChapAlgorithms(typeof given === 'string' ? given : given.join(','));
}

interface ServedAs {
  readonly description: string;
  readonly readOnly: boolean;
  readonly allow: AccessRule | null;
}

function exportConfig(
  name: string,
  urlText: string,
  { description, readOnly, allow }: ServedAs,
  sources: CredentialSources,
  stores: SecretStores,
): ExportConfig {
  const url = parseExportUrl(urlText);
  const credentials = credentialsFor(url, sources, stores);
  return { name, url, description, readOnly, allow, credentials };
}
