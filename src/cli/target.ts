import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { formatUriAddress } from '../common/address.js';
import { busyPoller } from '../socket/busy-poll.js';
import { systemClock } from '../common/clock.js';
import { UsageError } from '../common/errors.js';
import { parseListenAddress } from '../common/listen-address.js';
import { planListening } from '../common/listen-plan.js';
import { loadCredentials } from '../gateway/credentials.js';
import { ISCSI_PORT } from '../iscsi/portal.js';
import { createLogger } from '../observe/log.js';
import { parseLunSpec } from '../store/lun-spec.js';
import { TargetPortal } from '../target/session/portal.js';
import { openStore } from '../store/open-store.js';
import type { Store } from '../store/store.js';
import { IwarpTransport } from '../transport/iwarp/transport.js';
import {
  credentialSources,
  once,
  pollUs,
  secretStores,
  withExamples,
  withLogLevel,
  withPolling,
  chapAlgorithmList,
} from './options.js';
import { announce } from './output.js';
import { stopRequested } from './signals.js';

const DEFAULT_LISTEN = `127.0.0.1:${ISCSI_PORT}`;
/** The target of a lab shares its machine with its initiators, so it does not poll. */
const DEFAULT_POLL_US = 0;
const DEFAULT_NAME = 'iqn.2026-11.io.example:lab';

const options = (argv: Argv) =>
  withExamples(targetOptions(argv), {
    '$0 target --lun memory:256M --lun file:disk.img:1G': 'two LUNs on the iSCSI port',
  });

const targetOptions = (argv: Argv) =>
  withPolling(withLogLevel(argv), DEFAULT_POLL_US)
    .option('listen', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe: `HOST:PORT to listen on, :PORT for all addresses; repeatable [${DEFAULT_LISTEN}]`,
    })
    .option('name', { type: 'string', describe: `the target's iSCSI name [${DEFAULT_NAME}]` })
    .option('lun', {
      type: 'string',
      array: true,
      requiresArg: true,
      describe:
        'memory:SIZE or file:PATH[:SIZE]; LUNs count from 0 in the order given; at least one is needed',
    })
    .option('chap-user', { type: 'string', describe: 'CHAP name that initiators must prove' })
    .option('chap-algorithms', {
      type: 'string',
      describe: `CHAP algorithms to take, best first (docs/chap.md) [${chapAlgorithmList()}]`,
    })
    .option('chap-secret-file', {
      type: 'string',
      describe: "file with the initiators' secret [environment: ISER_NBD_CHAP_SECRET]",
    })
    .option('discovery-auth', {
      type: 'boolean',
      describe: 'ask for CHAP in discovery sessions, too',
    })
    .option('mutual-chap-user', {
      type: 'string',
      describe: 'CHAP name that the target proves to initiators',
    })
    .option('mutual-chap-secret-file', {
      type: 'string',
      describe: "file with the target's secret [environment: ISER_NBD_MUTUAL_CHAP_SECRET]",
    });

type TargetArguments = ReturnType<typeof options> extends Argv<infer T> ? T : never;

export const targetCommand: CommandModule<object, TargetArguments> = {
  command: 'target',
  describe: 'run an iSER target over iWARP, for labs and tests',
  builder: options,
  handler: runTarget,
};

async function runTarget(argv: ArgumentsCamelCase<TargetArguments>): Promise<void> {
  const { lun: specs = [] } = argv;
  if (specs.length === 0) {
    throw new UsageError('lun', 'no LUN: add --lun memory:SIZE or --lun file:PATH[:SIZE]');
  }
  const log = createLogger(argv['log-level']);
  const listen = (argv.listen ?? [DEFAULT_LISTEN]).map(parseListenAddress);
  const name = once(argv.name, 'name') ?? DEFAULT_NAME;
  const chap = loadCredentials(credentialSources(argv), secretStores(log));
  const discoveryAuth = argv['discovery-auth'] ?? false;
  if (discoveryAuth && chap === null) {
    throw new UsageError(
      'option',
      '--discovery-auth needs --chap-user: without a CHAP name, initiators have nothing to prove',
    );
  }
  busyPoller.windowUs = pollUs(argv['poll-us']) ?? DEFAULT_POLL_US;
  const luns: Store[] = [];
  for (const text of specs) luns.push(await openStore(parseLunSpec(text), { log }));
  const portal = new TargetPortal({
    transport: new IwarpTransport({ log, clock: systemClock }),
    name,
    luns,
    ...(chap === null ? {} : { chap }),
    discoveryAuth,
    clock: systemClock,
    log,
  });
  const bound = await portal.listenAll(await planListening(listen));
  for (const address of bound) {
    const where = formatUriAddress(address);
    specs.forEach((text, lun) => {
      announce(`ready iser://${where}/${name}/${lun} ${text}\n`);
    });
  }
  const signal = await stopRequested();
  log.info({ signal }, 'stopping');
  await portal.close();
  log.info('stopped');
}
