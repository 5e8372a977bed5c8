import { fileURLToPath } from 'node:url';
import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { systemClock } from '../common/clock.js';
import { DEFAULT_POLL_US } from '../gateway/config.js';
import { Gateway } from '../gateway/gateway.js';
import type { GatewayConfig } from '../gateway/gateway-config.js';
import type { Serving } from '../gateway/serving.js';
import { processSpawner } from '../gateway/workers/worker-process.js';
import { PrimaryGateway } from '../gateway/workers/primary-gateway.js';
import { CounterSet } from '../observe/counters.js';
import { createLogger } from '../observe/log.js';
import type { LogLevel, Logger } from '../observe/log.js';
import { announce } from './output.js';
import { withExamples, withInitiator, withLogLevel, withPolling } from './options.js';
import { DEFAULT_LISTEN, LAB_EXPORT, serveConfig } from './serve-config.js';
import { WORKER_COMMAND } from './serve-worker.js';
import { onCountsAsked, onHangup, stopRequested } from './signals.js';
import { withTls } from './tls-options.js';

const options = (argv: Argv) =>
  withExamples(serveOptions(argv), {
    '$0 serve': 'an embedded memory LUN on nbd://127.0.0.1:10809/lab',
    '$0 serve --export disk=iser://192.0.2.1/iqn.2026-11.io.example:lab/0':
      'a remote LUN over iWARP',
  });

const serveOptions = (argv: Argv) =>
  withTls(withPolling(withLogLevel(withInitiator(argv)), DEFAULT_POLL_US))
    .option('config', {
      type: 'string',
      // Otherwise yargs would take `-` for an argument of its own.
      requiresArg: true,
      describe: 'YAML file with listen, unix, exports, tls and limits; - is standard input',
    })
    .option('export', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe:
        'NAME=URL, where URL is iser://[user@]HOST[:PORT]/TARGET-IQN/LUN, memory:SIZE or file:PATH[:SIZE]; ' +
        `repeatable [${LAB_EXPORT}]`,
    })
    .option('listen', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe: `HOST:PORT to serve NBD on, :PORT for all addresses; repeatable [${DEFAULT_LISTEN}]`,
    })
    .option('unix', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe: 'Unix socket to serve NBD on; repeatable',
    })
    .option('unix-mode', {
      type: 'string',
      describe: 'permission bits of Unix sockets, as in 0660 [what the umask leaves]',
    })
    .option('unix-owner', {
      type: 'string',
      describe: 'owner of Unix sockets: USER, USER:GROUP or :GROUP',
    })
    .option('default-export', {
      type: 'string',
      describe: 'export for clients that name none [the only one]',
    })
    .option('read-only', {
      type: 'boolean',
      default: false,
      describe: 'refuse writes on every export',
    })
    .option('workers', {
      type: 'string',
      describe: 'processes that share the connections (docs/workers.md) [1]',
    });

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
  const config = serveConfig(argv, log);
  // Handled from the start: without a handler, SIGHUP would end the process.
  let serving: Serving | null = null;
  onHangup(() => (serving === null ? log.info('nothing to reload yet') : serving.reload(log)));
  onCountsAsked(() => void serving?.report().then((counts) => log.info(counts, 'counters')));
  const gateway = await startServing(config, log, argv['log-level']);
  serving = gateway;
  if (config.listen.some((where) => 'fd' in where)) {
    // The program that opened the sockets knows their addresses, and may use standard output for data, as nbdcopy does.
    log.info({ uris: gateway.uris }, 'ready');
  } else {
    for (const uri of gateway.uris) announce(`ready ${uri}\n`);
    const [uri] = gateway.uris;
    if (isLab && uri?.startsWith('nbd:') === true) announce(howToAttach(uri));
  }
  const signal = await stopRequested();
  log.info({ signal }, 'stopping: requests in flight finish first');
  await gateway.stop(log);
  log.info('stopped');
}

function startServing(config: GatewayConfig, log: Logger, logLevel: LogLevel): Promise<Serving> {
  const services = { log, clock: systemClock, counters: new CounterSet() };
  if (config.workers === 1) return Gateway.start(config, services);
  const main = fileURLToPath(new URL('main.js', import.meta.url));
  const spawn = processSpawner(main, [WORKER_COMMAND]);
  return PrimaryGateway.start(config, { ...services, spawn, logLevel });
}

/** Help for a person who has just typed `npm start`. */
function howToAttach(uri: string): string {
  const { hostname: bracketed, port, pathname } = new URL(uri.replace(/^nbd:/, 'http:'));
  const hostname = bracketed.replace(/[[\]]/g, '');
  const name = decodeURIComponent(pathname.slice(1));
  return [
    '',
    'attach it:',
    `  as a block device   sudo modprobe nbd && sudo nbd-client -N ${name} ${hostname} ${port || '80'} /dev/nbd0`,
    `  in a VM             qemu-system-x86_64 -drive file=${uri},format=raw,if=virtio`,
    `  copy an image in    nbdcopy disk.img ${uri}`,
    '',
    'The disk is in memory: its data is lost when this program ends (Ctrl-C).',
    '',
  ].join('\n');
}
