import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { ConfigError } from '../common/errors.js';
import { systemClock } from '../common/clock.js';
import { readConfigFile } from '../gateway/config.js';
import type { ConfigFile } from '../gateway/config.js';
import { loadCredentials } from '../gateway/credentials.js';
import type { CredentialSources } from '../gateway/credentials.js';
import { Gateway } from '../gateway/gateway.js';
import type { ExportConfig, GatewayConfig, ListenConfig } from '../gateway/gateway.js';
import { defaultInitiatorName } from '../gateway/lun.js';
import { parseExportUrl, parseListenAddress } from '../gateway/url.js';
import { CounterSet } from '../observe/counters.js';
import { createLogger } from '../observe/log.js';
import { credentialSources, once, withInitiator, withLogLevel } from './options.js';
import { stopRequested } from './signals.js';

const DEFAULT_LISTEN = '127.0.0.1:10809';
const LAB_EXPORT = 'lab=memory:256M';

const options = (argv: Argv) =>
  withLogLevel(withInitiator(argv))
    .option('config', { type: 'string', describe: 'YAML file with listen, unix and exports' })
    .option('export', {
      type: 'string',
      array: true,
      describe:
        'NAME=URL, where URL is iser://[user@]HOST[:PORT]/TARGET-IQN/LUN, memory:SIZE or file:PATH[:SIZE]; ' +
        `repeatable [${LAB_EXPORT}]`,
    })
    .option('listen', {
      type: 'string',
      array: true,
      describe: `HOST:PORT to serve NBD on; repeatable [${DEFAULT_LISTEN}]`,
    })
    .option('unix', {
      type: 'string',
      array: true,
      describe: 'Unix socket to serve NBD on; repeatable',
    })
    .option('read-only', {
      type: 'boolean',
      default: false,
      describe: 'refuse writes on every export',
    })
    .example('$0 serve', 'an embedded memory LUN on nbd://127.0.0.1:10809/lab')
    .example(
      '$0 serve --export disk=iser://192.0.2.1/iqn.2026-11.io.example:lab/0',
      'a remote LUN over iWARP',
    );

type ServeArguments = ReturnType<typeof options> extends Argv<infer T> ? T : never;

export const serveCommand: CommandModule<object, ServeArguments> = {
  command: 'serve',
  describe: 'serve LUNs as NBD exports',
  builder: options,
  handler: serve,
};

async function serve(argv: ArgumentsCamelCase<ServeArguments>): Promise<void> {
  const log = createLogger(argv['log-level']);
  const isLab = argv.export === undefined && argv.config === undefined;
  const config = configOf(argv);
  const gateway = await Gateway.start(config, {
    log,
    clock: systemClock,
    counters: new CounterSet(),
  });
  for (const uri of gateway.uris) process.stdout.write(`ready ${uri}\n`);
  if (isLab) process.stdout.write(howToAttach(gateway.uris[0] ?? ''));
  const signal = await stopRequested();
  log.info({ signal }, 'stopping: requests in flight finish first');
  await gateway.stop(log);
  log.info('stopped');
}

function configOf(argv: ArgumentsCamelCase<ServeArguments>): GatewayConfig {
  const configPath = once(argv.config, 'config');
  const file = configPath === null ? null : readConfigFile(configPath);
  const sources = credentialSources(argv);
  const exports = [
    ...(file?.exports ?? []).map((item) => exportFromFile(item, sources)),
    ...(argv.export ?? (file === null ? [LAB_EXPORT] : [])).map((text) =>
      exportFromOption(text, sources),
    ),
  ].map((item) => (argv['read-only'] ? { ...item, readOnly: true } : item));
  if (exports.length === 0) throw new ConfigError('exports', 'no exports: add --export NAME=URL');
  const tcp = [...(file?.listen ?? []), ...(argv.listen ?? [])].map(parseListenAddress);
  const unix = [...(file?.unix ?? []), ...(argv.unix ?? [])].map((path) => ({ path }));
  const listen: ListenConfig[] = [...tcp, ...unix];
  if (listen.length === 0) listen.push(parseListenAddress(DEFAULT_LISTEN));
  const initiatorName =
    once(argv['initiator-name'], 'initiator-name') ?? file?.initiatorName ?? defaultInitiatorName();
  return { exports, listen, initiatorName };
}

function exportFromOption(text: string, sources: CredentialSources): ExportConfig {
  const separator = text.indexOf('=');
  if (separator <= 0) {
    throw new ConfigError('export', `--export ${text}: expected NAME=URL, as in ${LAB_EXPORT}`);
  }
  const name = text.slice(0, separator);
  return exportConfig(
    name,
    text.slice(separator + 1),
    { description: '', readOnly: false },
    sources,
  );
}

function exportFromFile(
  item: ConfigFile['exports'][number],
  sources: CredentialSources,
): ExportConfig {
  return exportConfig(item.name, item.url, item, {
    user: item.chapUser ?? sources.user,
    secretFile: item.chapSecretFile ?? sources.secretFile,
    mutualUser: item.mutualChapUser ?? sources.mutualUser,
    mutualSecretFile: item.mutualChapSecretFile ?? sources.mutualSecretFile,
  });
}

function exportConfig(
  name: string,
  urlText: string,
  { description, readOnly }: { description: string; readOnly: boolean },
  sources: CredentialSources,
): ExportConfig {
  const url = parseExportUrl(urlText);
  const credentials =
    url.kind === 'embedded'
      ? null
      : loadCredentials({ ...sources, user: url.user ?? sources.user }, process.env);
  return { name, url, description, readOnly, credentials };
}

/** For a person who has just typed `npm start`. */
function howToAttach(uri: string): string {
  const { hostname, port, pathname } = new URL(uri.replace(/^nbd:/, 'http:'));
  const name = decodeURIComponent(pathname.slice(1));
  return [
    '',
    'attach it:',
    `  as a block device   sudo modprobe nbd && sudo nbd-client -N ${name} ${hostname} ${port || '80'} /dev/nbd0`,
    `  in a VM             qemu-system-x86_64 -drive file=${uri},format=raw,if=virtio`,
    `  copy an image in    nbdcopy disk.img ${uri}`,
    '',
    'It is memory: its data is gone when this ends (Ctrl-C).',
    '',
  ].join('\n');
}
