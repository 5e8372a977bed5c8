import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import type { Duplex, Readable } from 'node:stream';
import { ISCSI_PORT } from '../../../src/iscsi/portal.js';
import { Agent } from './agent.js';
import type { ExecOptions, FileCall, GuestProcess } from './agent.js';
import { explain } from './host-command.js';
import type { Finished } from './host-command.js';
import type { Kernel } from './kernel.js';
import { KernelLog } from './kernel-log.js';
import type { KernelMessage } from './kernel-log.js';
import { guestFolder } from './project.js';
import { Qmp } from './qmp.js';

export interface GuestOptions {
  readonly kernel: Kernel;
  readonly initramfs: string;
  readonly memoryMib?: number;
  /** The guest's Ethernet MTU; its TCP segments carry 40 bytes less. */
  readonly mtu?: number;
  /** Where to write every frame of the guest's network, as pcap. */
  readonly captureFile?: string;
}

/** Where the guest finds what listens on 127.0.0.1 of the host. */
export const HOST_SEEN_FROM_GUEST = '10.0.2.2';

const MARK = 'iser-nbd-lab mark';
const CONSOLE_CHARACTERS_MAX = 200_000;

/**
 * A Linux virtual machine that shows the host's files and forgets what is written to them. It ends with `stop`, and with
 * this process, however that ends.
 */
export class Guest {
  readonly log = new KernelLog();
  /** The port of 127.0.0.1 that leads to the guest's port 3260. */
  readonly iscsiPort: number;
  readonly #machine: Machine;
  readonly #markWaiters = new Map<string, () => void>();
  #marks = 0;
  #isStopped = false;

  private constructor(machine: Machine, iscsiPort: number) {
    this.#machine = machine;
    this.iscsiPort = iscsiPort;
  }

  /** Boots; resolves when the guest takes commands. */
  static async boot(options: GuestOptions): Promise<Guest> {
    let guest: Guest | null = null;
    const early: string[] = [];
    const machine = startMachine(options, (record) => {
      if (guest === null) early.push(record);
      else guest.#kernelSaid(record);
    });
    try {
      await Promise.race([machine.agent.ready, machine.lost]);
      const port = await machine.qmp.forwardedPort(ISCSI_PORT);
      guest = new Guest(machine, port);
      for (const record of early) guest.#kernelSaid(record);
      return guest;
    } catch (error) {
      machine.child.kill('SIGKILL');
      throw error;
    }
  }

  /** Starts a command without waiting for it. */
  start(argv: readonly string[], options: ExecOptions = {}): GuestProcess {
    return this.#machine.agent.start(argv, options);
  }

  /** Runs a command to its end, however it ends. */
  run(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
    return this.start(argv, options).finished;
  }

  /** Runs a command that must succeed; returns what it printed. */
  async must(...argv: readonly string[]): Promise<string> {
    const finished = await this.run(argv);
    if (finished.status !== 0) throw new Error(`in the guest: ${explain(argv, finished)}`);
    return finished.stdout;
  }

  /** Runs a shell script that must succeed, stopping at its first failure; returns what it printed. */
  async script(text: string, ...args: readonly string[]): Promise<string> {
    const finished = await this.run(['bash', '-euo', 'pipefail', '-c', text, 'script', ...args]);
    if (finished.status !== 0) throw new Error(`in the guest: ${explain([text], finished)}`);
    return finished.stdout;
  }

  files(...calls: readonly FileCall[]): Promise<readonly unknown[]> {
    return this.#machine.agent.files(calls);
  }

  async read(path: string): Promise<string> {
    const [text] = await this.files(['read', path]);
    return String(text).trimEnd();
  }

  async exists(path: string): Promise<boolean> {
    const [exists] = await this.files(['exists', path]);
    return exists === true;
  }

  /** Looks until `holds`; the caller's timeout is the limit. */
  async until<T>(look: () => Promise<T>, holds: (value: T) => boolean): Promise<T> {
    for (;;) {
      const value = await look();
      if (holds(value)) return value;
    }
  }

  /** Where the kernel's log is now, with everything that was said before in it. */
  async kernelLogPosition(): Promise<number> {
    const text = `${MARK} ${++this.#marks}`;
    const arrived = new Promise<void>((resolve) => this.#markWaiters.set(text, resolve));
    await this.#machine.agent.mark(text);
    await arrived;
    return this.log.length;
  }

  /** What the kernel has said since `position` that a healthy run does not say. */
  async complaintsSince(position: number, expected: readonly RegExp[] = []): Promise<string[]> {
    await this.kernelLogPosition();
    return this.log.complaintsSince(position, expected);
  }

  /** QEMU's own commands, for what only the machine's owner can do. */
  get machine(): Qmp {
    return this.#machine.qmp;
  }

  /** The serial console, for when the kernel's log cannot be read. */
  get console(): string {
    return this.#machine.console();
  }

  get isStopped(): boolean {
    return this.#isStopped;
  }

  /** Rejects when the guest ends, asked to or not. */
  get lost(): Promise<never> {
    return this.#machine.lost;
  }

  /** Powers off; what was captured is complete afterwards. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#machine.stop();
  }

  #kernelSaid(record: string): void {
    const message: KernelMessage | null = this.log.add(record);
    if (message === null || !message.text.startsWith(MARK)) return;
    this.#markWaiters.get(message.text)?.();
    this.#markWaiters.delete(message.text);
  }
}

interface Machine {
  readonly child: ChildProcess;
  readonly agent: Agent;
  readonly qmp: Qmp;
  /** Rejects when QEMU ends. */
  readonly lost: Promise<never>;
  console(): string;
  stop(): Promise<void>;
}

function startMachine(options: GuestOptions, onKernelRecord: (record: string) => void): Machine {
  // QEMU is killed with the process that started it, so that no guest outlives its test.
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', 'qemu-system-x86_64', ...flags(options)], {
    stdio: ['ignore', 'pipe', 'pipe', 'pipe', 'pipe'],
  });
  let consoleText = '';
  let complaint = '';
  const [, out, err, agentStream, qmpStream] = child.stdio as unknown as [
    null,
    Readable,
    Readable,
    Duplex,
    Duplex,
  ];
  out.setEncoding('utf8').on('data', (text: string) => {
    consoleText = (consoleText + text).slice(-CONSOLE_CHARACTERS_MAX);
  });
  err.setEncoding('utf8').on('data', (text: string) => (complaint += text));
  const agent = new Agent(agentStream, onKernelRecord);
  const qmp = new Qmp(qmpStream);
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  const lost = new Promise<never>((_resolve, reject) => {
    const gone = (why: string) => {
      const error = new Error(`the guest ended: ${why}${complaint}\n${consoleText.slice(-4000)}`);
      agent.fail(error);
      qmp.fail(error);
      reject(error);
    };
    child.once('error', (error) => gone(error.message));
    child.once('close', (status, signal) => gone(`QEMU ended with ${status ?? signal}\n`));
  });
  lost.catch(() => undefined);
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  return { child, agent, qmp, lost, console: () => consoleText, stop };
}

function flags({ kernel, initramfs, memoryMib = 1536, mtu = 1500, captureFile }: GuestOptions) {
  const commandLine = [
    'console=ttyS0 loglevel=4 panic=-1 log_buf_len=4M mitigations=off nokaslr tsc=reliable clocksource=tsc no_timer_check printk.devkmsg=on',
    `lab.folder=${guestFolder} lab.node=${process.execPath}`,
    `lab.modules=${kernel.modulesFolder} lab.mtu=${mtu}`,
  ];
  return [
    ...[
      '-nodefaults',
      '-no-user-config',
      '-no-reboot',
      '-display',
      'none',
      '-accel',
      'tcg,thread=multi',
    ],
    ...['-cpu', 'max', '-smp', '2', '-m', String(memoryMib)],
    ...['-kernel', kernel.image, '-initrd', initramfs, '-append', commandLine.join(' ')],
    ...['-chardev', 'stdio,id=console,signal=off', '-serial', 'chardev:console'],
    ...['-device', 'virtio-serial-pci', '-chardev', 'socket,id=agent,fd=3'],
    ...['-device', 'virtserialport,chardev=agent,name=iser-nbd-lab'],
    ...['-chardev', 'socket,id=qmp,fd=4', '-mon', 'chardev=qmp,mode=control'],
    '-virtfs',
    'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    '-netdev',
    `user,id=net,restrict=off,hostfwd=tcp:127.0.0.1:0-:${ISCSI_PORT}`,
    ...['-device', `virtio-net-pci,netdev=net`],
    ...(captureFile === undefined
      ? []
      : ['-object', `filter-dump,id=capture,netdev=net,file=${captureFile}`]),
  ];
}
