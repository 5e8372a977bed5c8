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
        // Standard output belongs to the primary, for its `ready` lines. All processes log to standard error.
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
      // Node can send a handle without its Socket, as node:cluster does; Node's types do not have that. When sending
      // fails, the worker is ending, which is reported by `onEnded`.
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
  // Not 'exit': then some messages of the worker may not have arrived. And not 'disconnect': that does not come when the
  // process ends while a handle is on its way to it.
  child.on('close', (status, signal) => ended({ status, signal }));
  child.on('error', () => {
    // For a process that could not be started, no other event comes.
    if (child.pid === undefined) nextTurn(() => ended({ status: null, signal: null }));
  });
}

/** The environment without secrets: the primary reads them, and sends workers those that they need. */
function environment(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  for (const name of [SECRET_VARIABLE, MUTUAL_SECRET_VARIABLE]) Reflect.deleteProperty(env, name);
  return env;
}

/** Only one process can listen on the debugger's port. */
function isForAll(argument: string): boolean {
  return !argument.startsWith('--inspect');
}
