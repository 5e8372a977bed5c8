/** What the program does when nobody reads, or nothing takes, what it says. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, fstatSync, openSync, readFileSync, writeSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { MAIN, iserNbd, temporaryFolder } from './program.js';

const NAME = 'iqn.2026-11.io.example:lab';
const folder = temporaryFolder();
let fds: number[] = [];
let child: ChildProcess | null = null;

afterEach(() => {
  child?.kill('SIGKILL');
  child = null;
  for (const fd of fds) closeSync(fd);
  fds = [];
});
afterAll(() => folder.remove());

function opened(path: string, flags: string | number): number {
  const fd = openSync(path, flags);
  fds.push(fd);
  return fd;
}

/** Both ends of a pipe that is full. */
function fullPipe(name: string): { reader: number; writer: number } {
  const path = folder.path(name);
  spawnSync('mkfifo', [path]);
  const reader = opened(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const writer = opened(path, constants.O_WRONLY | constants.O_NONBLOCK);
  writeSync(writer, Buffer.alloc(64 * 1024, 'x'));
  return { reader, writer: opened(path, 'w') };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

interface Streams {
  readonly stdout?: number | 'pipe' | 'ignore';
  readonly stderr: number | 'pipe';
  readonly through?: readonly string[];
}

/** Starts a target that logs a lot, does some work with it, and stops it. */
async function useTarget({ stdout = 'ignore', stderr, through = [] }: Streams) {
  const port = await freePort();
  const args = ['target', '--listen', `127.0.0.1:${port}`, '--lun', 'memory:1M'];
  const line = [...through, process.execPath, MAIN, ...args, '--log-level', 'trace'];
  const [name = '', ...rest] = line;
  const target = spawn(name, rest, { stdio: ['ignore', stdout, stderr] });
  child = target;
  const ended = once(target, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
  const url = `iser://127.0.0.1:${port}/${NAME}/0`;
  const ask = () => iserNbd(['info', url, '--log-level', 'silent']);
  for (let tries = 0; (await ask()).status !== 0; tries++) expect(tries).toBeLessThan(20);
  for (let round = 0; round < 3; round++) expect(await ask()).toMatchObject({ status: 0 });
  const stop = async () => {
    target.kill('SIGTERM');
    return ended;
  };
  return { target, stop };
}

const isNonBlocking = (fd: number): boolean => {
  const flags = /flags:\s*(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1'))?.[1];
  return (parseInt(flags ?? '0', 8) & constants.O_NONBLOCK) !== 0;
};

describe('a log that cannot be written', () => {
  it('because the disk is full changes nothing', async () => {
    const { stop } = await useTarget({ stderr: opened('/dev/full', 'w') });
    expect(await stop()).toEqual([0, null]);
  });

  it('because its reader has gone changes nothing', async () => {
    const { target, stop } = await useTarget({ stderr: 'pipe', stdout: 'pipe' });
    target.stderr?.destroy();
    target.stdout?.destroy();
    expect(await stop()).toEqual([0, null]);
  });

  it('because a pipe is full changes nothing, nor the pipe for others', async () => {
    const log = fullPipe('log');
    const output = fullPipe('output');
    const { stop } = await useTarget({ stderr: log.writer, stdout: output.writer });
    expect(isNonBlocking(log.writer)).toBe(false);
    expect(isNonBlocking(output.writer)).toBe(false);
    expect(await stop()).toEqual([0, null]);
  });

  it('because a socket is full changes nothing, and it ends when it is told to', async () => {
    // What systemd and Node give: they cannot be opened anew. The other program keeps it full.
    const script = 'dd if=/dev/zero bs=64 >&2 2>/dev/null & exec "$@"';
    const { target, stop } = await useTarget({
      stderr: 'pipe',
      through: ['sh', '-c', script, 'sh'],
    });
    target.stderr?.pause();
    const [status, signal] = await stop();
    expect(status ?? signal).toBe('SIGTERM');
    target.stderr?.destroy();
  });
});

describe('what a command prints', () => {
  it('into a pipe that nobody reads ends it without a word, as other tools', async () => {
    const { reader, writer } = fullPipe('gone');
    closeSync(reader);
    fds = fds.filter((fd) => fd !== reader);
    const info = spawn(process.execPath, [MAIN, 'info', 'memory:1M'], {
      stdio: ['ignore', writer, 'pipe'],
    });
    let complaint = '';
    info.stderr?.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
    expect(await once(info, 'close')).toEqual([null, 'SIGPIPE']);
    expect(complaint).toBe('');
  });

  it('onto a full disk is an error', async () => {
    const info = spawn(process.execPath, [MAIN, 'info', 'memory:1M'], {
      stdio: ['ignore', opened('/dev/full', 'w'), 'pipe'],
    });
    let complaint = '';
    info.stderr?.on('data', (bytes: Buffer) => (complaint += bytes.toString()));
    expect(await once(info, 'close')).toEqual([1, null]);
    expect(complaint).toBe('iser-nbd: cannot write to standard output: the disk is full\n');
  });
});

describe('lines in the journal', () => {
  it('have their priority', () => {
    const path = folder.path('journal');
    const fd = opened(path, 'a');
    const { dev, ino } = fstatSync(fd, { bigint: true });
    const run = (stream: string) =>
      spawnSync(process.execPath, [MAIN, 'info', 'memory:lots'], {
        stdio: ['ignore', 'ignore', fd],
        env: { ...process.env, JOURNAL_STREAM: stream },
      });
    run(`${dev}:${ino}`);
    run(`${dev}:1`);
    const [mine, another] = readFileSync(path, 'utf8').split('\n');
    expect(mine).toMatch(/^<3>iser-nbd: .*memory:lots/);
    expect(another).toMatch(/^iser-nbd: .*memory:lots/);
  });
});
