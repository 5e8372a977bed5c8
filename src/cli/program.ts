import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { discoverCommand } from './discover.js';
import { fail, refuseUsage } from './failure.js';
import { infoCommand } from './info.js';
import { serveWorkerCommand } from './serve-worker.js';
import { serveCommand } from './serve.js';
import { targetCommand } from './target.js';
import { version } from './version.js';

const parser = yargs(hideBin(process.argv))
  .scriptName('iser-nbd')
  .usage(
    '$0 COMMAND\n\nServes iSER LUNs (iSCSI over RDMA, or over iWARP on plain TCP) as NBD exports.',
  )
  .command(serveCommand)
  .command(serveWorkerCommand)
  .command(targetCommand)
  .command(discoverCommand)
  .command(infoCommand)
  .demandCommand(1, 'a command is missing: serve, target, discover or info')
  .recommendCommands()
  .strict()
  .parserConfiguration({ 'duplicate-arguments-array': true, 'greedy-arrays': false })
  .version(version())
  .alias('help', 'h')
  .wrap(100)
  .exitProcess(false)
  .fail((message, error) => {
    if (error) throw error;
    refuseUsage(message);
  });

try {
  await parser.parseAsync();
} catch (error) {
  fail(error);
}
