import type { ArgumentsCamelCase, Argv, CommandModule } from 'yargs';
import { credentialsFor } from '../gateway/credentials.js';
import { openPath } from '../gateway/lun.js';
import { escapeJson } from '../common/printable.js';
import { parseExportUrl } from '../gateway/url.js';
import { createLogger } from '../observe/log.js';
import { inspectLogicalUnit } from '../disk/inspect.js';
import { describeLun } from './describe-lun.js';
import { initiatorContext } from './initiator-context.js';
import { credentialSources, secretStores, withInitiator, withLogLevel } from './options.js';
import { print } from './output.js';
import { formatReport } from './report.js';
import type { Report } from './report.js';

const options = (argv: Argv) =>
  withLogLevel(withInitiator(argv), 'warn')
    .positional('url', {
      type: 'string',
      demandOption: true,
      describe: 'iser://[user@]HOST[:PORT]/TARGET-IQN/LUN, memory:SIZE or file:PATH[:SIZE]',
    })
    .option('json', { type: 'boolean', default: false, describe: 'print JSON' });

type InfoArguments = ReturnType<typeof options> extends Argv<infer T> ? T : never;

export const infoCommand: CommandModule<object, InfoArguments> = {
  command: 'info <url>',
  describe: 'log in and describe a LUN: identity, capacity, limits, provisioning, session',
  builder: options,
  handler: runInfo,
};

async function runInfo(argv: ArgumentsCamelCase<InfoArguments>): Promise<void> {
  const url = parseExportUrl(argv.url);
  const sources = credentialSources(argv);
  const log = createLogger(argv['log-level']);
  const credentials = credentialsFor(url, sources, secretStores(log));
  const context = initiatorContext(argv, log);
  const path = await openPath(url, credentials, context);
  const inspect = async (): Promise<Report> => {
    const unit = await inspectLogicalUnit(path.port, context);
    return describeLun(unit, path.session.parameters);
  };
  const description = await inspect().finally(() => path.close());
  const text = argv.json
    ? escapeJson(JSON.stringify(description, null, 2))
    : formatReport(description);
  // After the logout: the reader of the output may be slow.
  print(`${text}\n`);
}
