/** The processes that a run starts, each ended again by its pid, whatever happens. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';

export interface ChildOptions {
  /** Cores for taskset; null leaves it unpinned. */
  readonly cpus: string | null;
  /** For programs that do not heed SIGTERM. */
  readonly stopSignal?: NodeJS.Signals;
}

/** A server that runs until it is stopped. */
export class Child {
  readonly role: string;
  readonly pid: number;
  readonly #process: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #stopSignal: NodeJS.Signals;
  #output = '';
  #hasEnded = false;
  #onOutput: () => void = () => undefined;

  constructor(role: string, process: ChildProcess, stopSignal: NodeJS.Signals) {
    this.role = role;
    this.pid = process.pid ?? 0;
    this.#process = process;
    this.#stopSignal = stopSignal;
    const collect = (bytes: Buffer) => {
      this.#output = (this.#output + bytes.toString()).slice(-OUTPUT_CHARACTERS_MAX);
      this.#onOutput();
    };
    process.stdout?.on('data', collect);
    process.stderr?.on('data', collect);
    this.#ended = new Promise((resolve) => {
      const end = (): void => {
        this.#hasEnded = true;
        this.#onOutput();
        resolve();
      };
      process.once('error', (error) => {
        this.#output += error.message;
        end();
      });
      process.once('exit', end);
    });
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** The last of what it printed, for the message about its failure. */
  get output(): string {
    return this.#output.trim();
  }

  /** Waits until its output matches. */
  async printed(expected: RegExp): Promise<RegExpExecArray> {
    const deadlineMs = Date.now() + READY_TIMEOUT_MS;
    for (;;) {
      const match = expected.exec(this.#output);
      if (match !== null) return match;
      if (this.#hasEnded || Date.now() > deadlineMs) {
        throw new Error(`${this.role} did not come up: ${this.output}`);
      }
      await Promise.race([
        delay(READY_TIMEOUT_MS / 10),
        new Promise<void>((resolve) => (this.#onOutput = resolve)),
      ]);
    }
  }

  async stop(): Promise<void> {
    if (this.#hasEnded) return;
    this.#process.kill(this.#stopSignal);
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  killNow(): void {
    if (!this.#hasEnded) this.#process.kill('SIGKILL');
  }
}

const OUTPUT_CHARACTERS_MAX = 20_000;
const READY_TIMEOUT_MS = 15_000;
const STOP_TIMEOUT_MS = 8_000;

const running = new Set<Child>();

/** Starts a server; taskset replaces itself by it, so the pid is the server's. */
export function startChild(
  role: string,
  command: string,
  args: readonly string[],
  { cpus, stopSignal = 'SIGTERM' }: ChildOptions,
): Child {
  const child = new Child(role, spawnPinned(command, args, cpus), stopSignal);
  running.add(child);
  return child;
}

export async function stopChild(child: Child): Promise<void> {
  await child.stop();
  running.delete(child);
}

/** Ends every process that is left, the newest first. */
export async function stopAllChildren(): Promise<void> {
  for (const child of [...running].reverse()) await stopChild(child);
}

/** For the moment at which nothing can be waited for any more. */
export function killAllChildren(): void {
  for (const child of running) child.killNow();
}

export interface Finished {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, or kills it after `timeoutMs`. */
export async function runToEnd(
  command: string,
  args: readonly string[],
  options: { cpus: string | null; timeoutMs: number; onStart?: (pid: number) => void },
): Promise<Finished> {
  const process = spawnPinned(command, args, options.cpus);
  const child = new Child(command, process, 'SIGTERM');
  running.add(child);
  options.onStart?.(child.pid);
  let stdout = '';
  let stderr = '';
  process.stdout?.on('data', (bytes: Buffer) => (stdout += bytes.toString()));
  process.stderr?.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  const timer = setTimeout(() => child.killNow(), options.timeoutMs);
  try {
    return await new Promise((resolve, reject) => {
      process.once('error', reject);
      process.once('close', (status) => resolve({ status, stdout, stderr }));
    });
  } finally {
    clearTimeout(timer);
    running.delete(child);
  }
}

function spawnPinned(command: string, args: readonly string[], cpus: string | null): ChildProcess {
  const stdio: ['ignore', 'pipe', 'pipe'] = ['ignore', 'pipe', 'pipe'];
  // A process group of its own: Ctrl-C reaches this process alone, which then ends the others in order.
  const options = { stdio, detached: true };
  if (cpus === null) return spawn(command, args, options);
  return spawn('taskset', ['-c', cpus, command, ...args], options);
}
