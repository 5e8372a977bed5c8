import type { Duplex } from 'node:stream';
import type { Finished } from './host-command.js';
import { LineChannel } from './line-channel.js';

/** A file call of the guest's agent: its name and its arguments. */
export type FileCall =
  | readonly [
      'mkdir' | 'read' | 'list' | 'exists' | 'unlink' | 'rmdir' | 'remove' | 'allocated',
      string,
    ]
  | readonly ['write' | 'link', string, string];

export interface ExecOptions {
  readonly stdin?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

/** A command that runs in the guest. */
export interface GuestProcess {
  readonly finished: Promise<Finished>;
  signal(name: string): Promise<void>;
}

interface Done {
  readonly status?: number | null;
  readonly results?: readonly unknown[];
}

interface Message {
  readonly id?: number;
  readonly ready?: true;
  readonly kernel?: string;
  readonly stdout?: string;
  readonly stderr?: string;
  readonly done?: Done;
  readonly failed?: string;
}

interface Pending {
  readonly stdout: Buffer[];
  readonly stderr: Buffer[];
  readonly resolve: (done: Done) => void;
  readonly reject: (error: Error) => void;
}

/** The host's end of the guest's agent (guest/agent.mjs). */
export class Agent {
  readonly ready: Promise<void>;
  readonly #channel: LineChannel;
  readonly #pending = new Map<number, Pending>();
  readonly #onKernelRecord: (record: string) => void;
  #lastId = 0;
  #gone: Error | null = null;
  #becomeReady: () => void = () => undefined;

  constructor(stream: Duplex, onKernelRecord: (record: string) => void) {
    this.#onKernelRecord = onKernelRecord;
    this.ready = new Promise((resolve) => (this.#becomeReady = resolve));
    this.#channel = new LineChannel(stream, (message) => this.#receive(message as Message));
  }

  /** Starts a command; its output is text. */
  start(argv: readonly string[], options: ExecOptions = {}): GuestProcess {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const { id, done } = this.#ask({ exec: { argv, ...options } }, stdout, stderr);
    const finished = done.then(({ status }) => ({
      status: status ?? null,
      stdout: Buffer.concat(stdout).toString(),
      stderr: Buffer.concat(stderr).toString(),
    }));
    return {
      finished,
      signal: async (name) => {
        await this.#ask({ signal: { of: id, name } }).done;
      },
    };
  }

  /** File calls in order, up to the first that fails; returns what each gave. */
  async files(calls: readonly FileCall[]): Promise<readonly unknown[]> {
    const { results } = await this.#ask({ files: calls }).done;
    return results ?? [];
  }

  /** Has the guest's kernel log `text`, after all that it has said. */
  async mark(text: string): Promise<void> {
    await this.#ask({ mark: text }).done;
  }

  /** Fails everything that waits: the guest is gone. */
  fail(error: Error): void {
    this.#gone = error;
    for (const { reject } of this.#pending.values()) reject(error);
    this.#pending.clear();
  }

  #ask(request: object, stdout: Buffer[] = [], stderr: Buffer[] = []) {
    const id = ++this.#lastId;
    const done = new Promise<Done>((resolve, reject) => {
      if (this.#gone !== null) reject(this.#gone);
      else this.#pending.set(id, { stdout, stderr, resolve, reject });
    });
    if (this.#gone === null) this.#channel.send({ id, ...request });
    return { id, done };
  }

  #receive(message: Message): void {
    if (message.ready) this.#becomeReady();
    if (message.kernel !== undefined) this.#onKernelRecord(message.kernel);
    const pending = this.#pending.get(message.id ?? 0);
    if (pending === undefined || message.id === undefined) return;
    if (message.stdout !== undefined) pending.stdout.push(Buffer.from(message.stdout, 'base64'));
    if (message.stderr !== undefined) pending.stderr.push(Buffer.from(message.stderr, 'base64'));
    if (message.done === undefined && message.failed === undefined) return;
    this.#pending.delete(message.id);
    if (message.done !== undefined) pending.resolve(message.done);
    else pending.reject(new Error(`in the guest: ${message.failed}`));
  }
}
