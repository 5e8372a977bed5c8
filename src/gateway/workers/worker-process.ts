import { nextTurn } from '../../common/later.js';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { MUTUAL_SECRET_VARIABLE, SECRET_VARIABLE } from '../credentials.js';
import type { Ending, FromWorker, SpawnWorker, WorkerLink, WorkerLinkHandler } from './messages.js';

/** Starts workers as processes of this program: `main` with `args` and the worker's number. */
export function processSpawner(main: string, args: readonly string[]): SpawnWorker {
  return (worker, handler) => {
    const child = spawn(
      process.execPath,
      [...process.execArgv.filter(isForAll), main, ...args, String(worker)],
      {
        env: environment(),
        // Standard output is for the lines that say where to connect; the log, on standard error, is everybody's.
        stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
        serialization: 'advanced',
      },
    );
    watch(child, handler);
    return linkTo(child);
  };
}

function linkTo(child: ChildProcess): WorkerLink {
  return {
    pid: child.pid ?? 0,
    send(message, handle) {
      if (!child.connected) return;
      // Node passes on the handle itself as well (node:cluster does), which its types do not know. A failure to send
      // means that the worker is ending, which is told by itself.
      child.send(message, handle as never, undefined, () => undefined);
    },
    kill: () => void child.kill('SIGKILL'),
  };
}

function watch(child: ChildProcess, handler: WorkerLinkHandler): void {
  let isOver = false;
  const ended = (ending: Ending): void => {
    if (isOver) return;
    isOver = true;
    handler.onEnded(ending);
  };
  // Both ends are of one version of this program.
  child.on('message', (message) => handler.onMessage(message as FromWorker));
  // Not 'exit', at which what it had sent may still be on its way; and not 'disconnect', which does not come when the
  // process ends with a handle on its way to it.
  child.on('close', (status, signal) => ended({ status, signal }));
  child.on('error', () => {
    // A process that could not be started tells nothing else.
    if (child.pid === undefined) nextTurn(() => ended({ status: null, signal: null }));
  });
}

/** Secrets are read here; what workers need of them is sent. */
function environment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of [SECRET_VARIABLE, MUTUAL_SECRET_VARIABLE]) Reflect.deleteProperty(env, name);
  return env;
}

/** A debugger's port can be had once. */
function isForAll(argument: string): boolean {
  return !argument.startsWith('--inspect');
}
