import { spawn } from 'node:child_process';
import type { SpawnOptions } from 'node:child_process';

/** How a command ended, on the host or in the guest. `status` is null where a signal ended it. */
export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command of the host to its end. */
export function hostCommand(
  name: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<Finished> {
  const child = spawn(name, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout?.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}

/** Runs a command of the host that must succeed; returns what it printed. */
export async function mustRunOnHost(
  name: string,
  args: readonly string[],
  options: SpawnOptions = {},
): Promise<string> {
  const finished = await hostCommand(name, args, options);
  if (finished.status !== 0) throw new Error(explain([name, ...args], finished));
  return finished.stdout;
}

/** One text with everything a reader needs to know about a command that failed. */
export function explain(argv: readonly string[], { status, stdout, stderr }: Finished): string {
  const said = [stderr, stdout].map((text) => text.trimEnd()).filter((text) => text !== '');
  return [`${argv.join(' ')} ended with ${status ?? 'a signal'}`, ...said].join('\n');
}
