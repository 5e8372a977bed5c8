import yargs from 'yargs';
import { hideBin } from 'yargs/helpers';
import { withCommands } from './commands.js';
import { UsageError } from '../common/errors.js';
import { commandDefinitions } from './definitions.js';
import type { CommandDefinition } from './definitions.js';
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
  .wrap(80)
  .locale('en')
  .exitProcess(false)
  .check(checkOnce)
  .fail((message, error) => {
    // yargs passes on what it throws itself, without a message, and what our handlers throw.
    if (error && error.name !== 'YError') throw error;
    refuseUsage(clearer(message || error.message));
  });

/** yargs gives the number of missing arguments only; the command's usage has their names. */
function clearer(message: string): string {
  const usage = currentCommand()?.usage;
  const isMissing = message.startsWith('Not enough non-option arguments') && usage !== undefined;
  if (isMissing) return `an argument is missing: iser-nbd ${usage}`;
  // yargs names an unknown option twice, once without its dashes: read-only, readOnly.
  return message.replace(
    /^Unknown arguments: ([\w-]+), ([a-zA-Z]+)$/,
    (all, name: string, again) =>
      name.replaceAll('-', '') === String(again).toLowerCase() ? `Unknown argument: ${name}` : all,
  );
}

/** Checks the options again: yargs makes an array of an option that is given twice, and reads any value of a switch. */
function checkOnce(argv: Readonly<Record<string, unknown>>): true {
  for (const { name, isRepeatable, takesValue } of currentCommand()?.options ?? []) {
    if (!isRepeatable && Array.isArray(argv[name])) {
      throw new UsageError('option', `--${name} is given more than once`);
    }
    const wrong = process.argv.find((text) => text.startsWith(`--${name}=`));
    if (!takesValue && wrong !== undefined && !/=(true|false)$/.test(wrong)) {
      throw new UsageError('option', `${wrong}: --${name} takes no value`);
    }
  }
  return true;
}

function currentCommand(): CommandDefinition | undefined {
  return commandDefinitions(withCommands).find(({ name }) => name === process.argv[2]);
}

try {
  await parser.parseAsync();
} catch (error) {
  fail(error);
}
// A worker has only begun here. It settles the streams at its own end.
if (process.argv[2] !== WORKER_COMMAND) await settleStreams();
