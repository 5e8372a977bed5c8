import type { Argv } from 'yargs';
import { completionCommand } from './completion.js';
import { commandDefinitions } from './definitions.js';
import { discoverCommand } from './discover.js';
import { infoCommand } from './info.js';
import { serveWorkerCommand } from './serve-worker.js';
import { serveCommand } from './serve.js';
import { targetCommand } from './target.js';

/** Adds all commands to a parser, or to a recorder of definitions. */
export function withCommands<T>(argv: Argv<T>) {
  return argv
    .command(serveCommand)
    .command(serveWorkerCommand)
    .command(targetCommand)
    .command(discoverCommand)
    .command(infoCommand)
    .command(completionCommand(() => commandDefinitions(withCommands)));
}
