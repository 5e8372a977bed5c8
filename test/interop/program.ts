/** Runs the built program and real clients, as a user would. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `iser-nbd serve` or `target`, past its `ready` lines. */
export class Program {
  readonly ready: readonly string[];
  /** Its end, and all that it printed. */
  readonly finished: Promise<Finished>;
  readonly #child: ChildProcess;
  #log = '';

  private constructor(child: ChildProcess, ready: readonly string[], finished: Promise<Finished>) {
    this.#child = child;
    this.ready = ready;
    this.finished = finished;
  }

  /**
   * Resolves after `readyCount` ready lines; rejects with what it printed when it ends before. `through` is a program
   * that runs ours.
   */
  static async start(
    args: readonly string[],
    readyCount: number,
    env: NodeJS.ProcessEnv = {},
    through: readonly string[] = [],
  ): Promise<Program> {
    const [name = process.execPath, ...rest] = [...through, process.execPath, MAIN, ...args];
    const child = spawn(name, rest, {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const finished = collect(child);
    let log = '';
    child.stderr.on('data', (bytes: Buffer) => {
      if (program === null) log += bytes.toString();
      else program.#log += bytes.toString();
    });
    let program: Program | null = null;
    const ready = await new Promise<string[]>((resolve, reject) => {
      const lines: string[] = [];
      let partial = '';
      child.stdout.on('data', (bytes: Buffer) => {
        const parts = (partial + bytes.toString()).split('\n');
        partial = parts.pop() ?? '';
        for (const line of parts) {
          if (line.startsWith('ready ')) lines.push(line.split(' ')[1] ?? '');
        }
        if (lines.length >= readyCount) resolve(lines);
      });
      void finished.then(({ status, stderr }) =>
        reject(new Error(`iser-nbd ${args.join(' ')} ended with ${status}: ${stderr}`)),
      );
    });
    program = new Program(child, ready, finished);
    program.#log = log;
    return program;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The lines of its log with this message, so far. */
  logged(message: string | RegExp): Record<string, unknown>[] {
    return this.#log
      .split('\n')
      .slice(0, -1)
      .filter((line) => line.startsWith('{'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      .filter(({ msg }) =>
        typeof message === 'string' ? msg === message : message.test(String(msg)),
      );
  }

  /** Asks for an orderly end and waits for it. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Finished> {
    this.#child.kill(signal);
    return this.finished;
  }
}

/** Runs a one-shot command of ours to its end. */
export function iserNbd(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Finished> {
  return collect(
    spawn(process.execPath, [MAIN, ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    }),
  );
}

/** Runs somebody else's program to its end. */
export function command(name: string, args: readonly string[]): Promise<Finished> {
  return collect(spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'] }));
}

/** Runs somebody else's program, which must succeed; returns what it printed. */
export async function mustRun(name: string, ...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await command(name, args);
  if (status !== 0)
    throw new Error(`${name} ${args.join(' ')} ended with ${status}: ${stderr}${stdout}`);
  return stdout;
}

/** True when all of `names` are on the PATH; otherwise says on the console what is skipped for want of it. */
export function haveTools(what: string, ...names: string[]): boolean {
  const missing = names.filter(
    (name) => spawnSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' }).status !== 0,
  );
  if (!existsSync(MAIN)) throw new Error('the program is not built: npm run build');
  if (missing.length > 0) console.warn(`skipped: ${what} (not installed: ${missing.join(' ')})`);
  return missing.length === 0;
}

/** A folder of one test file's own, and its removal. */
export function temporaryFolder(): { path: (name: string) => string; remove: () => void } {
  const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-'));
  return {
    path: (name) => join(folder, name),
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

function collect(child: ChildProcess): Promise<Finished> {
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  child.stderr?.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stdout, stderr }));
  });
}
