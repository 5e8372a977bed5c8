import type { Duplex } from 'node:stream';
import { LineChannel } from './line-channel.js';

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
}

interface Waiting {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** QEMU's machine protocol: one command at a time, answered in order. */
export class Qmp {
  readonly #channel: LineChannel;
  readonly #waiting: Waiting[] = [];

  constructor(stream: Duplex) {
    this.#channel = new LineChannel(stream, (message) => this.#receive(message as Reply));
    void this.execute('qmp_capabilities').catch(() => undefined);
  }

  execute(command: string, args: object = {}): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#channel.send({ execute: command, arguments: args });
    });
  }

  /** A command of the human monitor, for what has no other form. */
  async monitor(line: string): Promise<string> {
    return String(await this.execute('human-monitor-command', { 'command-line': line }));
  }

  /** The port of the host that leads to a port of the guest. */
  async forwardedPort(guestPort: number): Promise<number> {
    const table = await this.monitor('info usernet');
    for (const line of table.split('\n')) {
      const [, from, to] = /TCP\[HOST_FORWARD\]\s+\d+\s+\S+\s+(\d+)\s+\S+\s+(\d+)/.exec(line) ?? [];
      if (Number(to) === guestPort) return Number(from);
    }
    throw new Error(`QEMU forwards no port to ${guestPort} of the guest:\n${table}`);
  }

  fail(error: Error): void {
    for (const { reject } of this.#waiting.splice(0)) reject(error);
  }

  #receive(reply: Reply): void {
    if (reply.error !== undefined) this.#waiting.shift()?.reject(new Error(reply.error.desc));
    else if ('return' in reply) this.#waiting.shift()?.resolve(reply.return);
  }
}
