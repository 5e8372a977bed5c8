import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { withCommands } from './commands.js';
import { fail, refuseUsage } from './failure.js';
import { settleStreams } from '../observe/standard-streams.js';
import { WORKER_COMMAND } from './serve-worker.js';
import { version } from './version.js';

const parser = withCommands(yargs(hideBin(process.argv)))
  .scriptName('iser-nbd')
  .usage(
    '$0 COMMAND\n\nServes iSER LUNs (iSCSI over RDMA, or over iWARP on plain TCP) as NBD exports.',
  )
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
// A worker has only begun; it does this at its end.
if (process.argv[2] !== WORKER_COMMAND) await settleStreams();
