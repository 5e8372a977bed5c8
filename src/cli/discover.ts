import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { loadCredentials, withUrl } from '../gateway/credentials.js';
import { discover } from '../gateway/lun.js';
import { escapeJson } from '../common/printable.js';
import { parsePortalUrl } from '../gateway/url.js';
import { createLogger } from '../observe/log.js';
import { describeTargets } from './describe-targets.js';
import { initiatorContext } from './initiator-context.js';
import { credentialSources, secretStores, withInitiator, withLogLevel } from './options.js';
import { print } from './output.js';

const options = (argv: Argv) =>
  withLogLevel(withInitiator(argv), 'warn')
    .positional('portal', {
      type: 'string',
      demandOption: true,
      describe: 'iser://[user@]HOST[:PORT]',
    })
    .option('json', { type: 'boolean', default: false, describe: 'print JSON' });

type DiscoverArguments = ReturnType<typeof options> extends Argv<infer T> ? T : never;

export const discoverCommand: CommandModule<object, DiscoverArguments> = {
  command: 'discover <portal>',
  describe: 'list the targets that a portal offers (SendTargets)',
  builder: options,
  handler: runDiscover,
};

async function runDiscover(argv: ArgumentsCamelCase<DiscoverArguments>): Promise<void> {
  const { portal, user, chapAlgorithms, ...choice } = parsePortalUrl(argv.portal);
  const sources = credentialSources(argv);
  const log = createLogger(argv['log-level']);
  const credentials = loadCredentials(
    withUrl(sources, { user, chapAlgorithms }),
    secretStores(log),
  );
  const context = initiatorContext(argv, log);
  const targets = await discover(portal, choice, credentials, context);
  if (argv.json) {
    print(`${escapeJson(JSON.stringify(targets, null, 2))}\n`);
    return;
  }
  print(describeTargets(targets));
}
