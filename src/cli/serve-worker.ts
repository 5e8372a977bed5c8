import type { Argv, CommandModule } from 'yargs';
import { UsageError } from '../common/errors.js';
import { runWorker } from '../gateway/workers/worker.js';

export const WORKER_COMMAND = 'serve-worker';

interface WorkerArguments {
  number: number | undefined;
}

/** Starts a worker process of `serve --workers`. The number is for people who look at a list of processes. */
export const serveWorkerCommand: CommandModule<object, WorkerArguments> = {
  command: `${WORKER_COMMAND} [number]`,
  describe: false,
  builder: (argv: Argv) => argv.positional('number', { type: 'number' }),
  handler: () => {
    if (process.send === undefined) {
      throw new UsageError('worker', 'workers are started by iser-nbd serve --workers N');
    }
    runWorker();
  },
};
