import { command } from './program.js';
import type { Finished } from './program.js';

/** Runs fio to its end. By itself it leaves a file in the working folder for each job that verifies. */
export function fio(...args: string[]): Promise<Finished> {
  return command('fio', ['--verify_state_save=0', ...args]);
}

/** Runs fio, which must succeed; returns what it printed. */
export async function mustRunFio(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await fio(...args);
  if (status !== 0)
    throw new Error(`fio ${args.join(' ')} ended with ${status}: ${stderr}${stdout}`);
  return stdout;
}
