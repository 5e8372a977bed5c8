/** `serve --workers`: real processes, real clients. */
import { spawn } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, describe, expect, it, vi } from 'vitest';
import { MemoryStore } from '../../src/store/memory-store.js';
import { TargetPortal } from '../../src/target/session/portal.js';
import { StoreOp } from '../../src/store/store.js';
import type { StoreRequest } from '../../src/store/store.js';
import { IwarpTransport } from '../../src/transport/iwarp/transport.js';
import { Credentials } from '../support/nbd/credentials.js';
import { CMD, NbdTestClient } from '../support/nbd/client.js';
import { HoldingStore } from '../support/target/holding-store.js';
import { fio, mustRunFio } from './fio.js';
import { Program, command, haveTools, iserNbd, mustRun, temporaryFolder } from './program.js';

const NAME = 'iqn.2026-11.io.example:lab';
const MIB = 1 << 20;
const FIO_SECONDS = process.env['ISER_NBD_FIO_SECONDS'] ?? '4';

const folder = temporaryFolder();
const ends: (() => Promise<unknown>)[] = [];
const clients: NbdTestClient[] = [];
let sockets = 0;

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const end of ends.splice(0).reverse()) await end();
});

afterAll(() => folder.remove());

async function run(readyCount: number, ...args: string[]): Promise<Program> {
  const program = await Program.start(args, readyCount);
  ends.push(() => program.stop());
  return program;
}

/** A server with two workers on a Unix socket, and what its exports are. */
async function serve(exports: readonly string[], ...args: string[]) {
  const path = folder.path(`${++sockets}.sock`);
  const named = exports.flatMap((item) => ['--export', item]);
  const own = ['serve', '--workers', '2', '--unix', path, ...named];
  const program = await run(exports.length, ...own, ...args);
  return { program, path, uri: `nbd+unix:///?socket=${path}` };
}

async function attach(path: string): Promise<NbdTestClient> {
  const client = await NbdTestClient.attach({ path });
  clients.push(client);
  return client;
}

/** Process ids of a server's workers by their number, as the list of processes has them. */
function workersOf(program: Program): Map<number, number> {
  const workers = new Map<number, number>();
  for (const pid of childrenOf(program.pid)) {
    const number = /serve-worker\0(\d+)/.exec(readFileSync(`/proc/${pid}/cmdline`, 'utf8'))?.[1];
    if (number !== undefined) workers.set(Number(number), pid);
  }
  return workers;
}

function childrenOf(pid: number): number[] {
  const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
  return text === '' ? [] : text.split(' ').map(Number);
}

function fdsOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

function isRunning(pid: number): boolean {
  return existsSync(`/proc/${pid}/cmdline`) && readFileSync(`/proc/${pid}/cmdline`).length > 0;
}

/** Asks for the counters, and returns the line that the server logs. */
interface CounterLine {
  readonly counters: Record<string, number>;
  readonly connections: Record<string, number>;
}

async function countersOf(program: Program): Promise<CounterLine> {
  const before = program.logged('counters').length;
  process.kill(program.pid, 'SIGUSR2');
  await vi.waitFor(() => expect(program.logged('counters').length).toBeGreaterThan(before), 10_000);
  return program.logged('counters').at(-1) as unknown as CounterLine;
}

/** A target in this process that remembers what its store was asked for. */
class RecordingStore extends MemoryStore {
  readonly ops: StoreOp[] = [];

  override submit(request: StoreRequest): void {
    if (request.op !== StoreOp.read) this.ops.push(request.op);
    super.submit(request);
  }
}

async function startTarget<S extends MemoryStore>(
  store: S,
): Promise<{ url: string; store: S; portal: TargetPortal }> {
  const portal = new TargetPortal({ transport: new IwarpTransport(), name: NAME, luns: [store] });
  const { port } = await portal.listen({ host: '127.0.0.1', port: 0 });
  ends.push(() => portal.close());
  return { url: `iser://127.0.0.1:${port}/${NAME}/0`, store, portal };
}

function fioArgs(uri: string, ...args: string[]): string[] {
  return [
    ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`],
    ...['--rw=randrw', '--bs=4k', '--iodepth=16', '--verify=crc32c', '--verify_fatal=1'],
    ...['--time_based', `--runtime=${FIO_SECONDS}`, '--norandommap=0', ...args],
  ];
}

describe('workers', () => {
  it('have sessions of their own, log to one log, and say ready once', async () => {
    const { url, portal } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const { program, path } = await serve([`a=${url}`]);
    expect([program.ready.length, portal.sessionCount, workersOf(program).size]).toEqual([1, 2, 2]);
    for (let count = 0; count < 4; count++) await attach(path);
    await vi.waitFor(() => expect(program.logged('client attached')).toHaveLength(4));
    const lines = program.logged('client attached');
    expect(lines.map(({ conn }) => conn)).toEqual([1, 2, 3, 4]);
    expect(lines.map(({ worker }) => worker)).toEqual([1, 2, 1, 2]);
    for (const { worker, pid } of lines) expect(workersOf(program).get(Number(worker))).toBe(pid);
    expect((await program.stop()).status).toBe(0);
    await vi.waitFor(() => expect(portal.sessionCount).toBe(0));
    expect(existsSync(path)).toBe(false);
  });

  it('get their secrets neither by command line nor by environment', async () => {
    writeFileSync(folder.path('secret'), 'correct-horse-battery\n');
    const chap = ['--chap-user', 'bob', '--chap-secret-file', folder.path('secret')];
    const lun = ['--listen', '127.0.0.1:0', '--name', NAME, '--lun', 'memory:16M'];
    const target = await run(1, 'target', ...lun, ...chap);
    const url = (target.ready[0] ?? '').replace('//', '//bob@');
    const path = folder.path('secret.sock');
    const program = await Program.start(
      ['serve', '--workers', '2', '--unix', path, '--export', `a=${url}`],
      1,
      { ISER_NBD_CHAP_SECRET: 'correct-horse-battery' },
    );
    ends.push(() => program.stop());
    for (const pid of workersOf(program).values()) {
      for (const file of ['cmdline', 'environ']) {
        expect(readFileSync(`/proc/${pid}/${file}`, 'utf8')).not.toMatch(/correct-horse/);
      }
    }
    await attach(path);
  });

  it('share clients evenly, give back every descriptor, and count as one', async () => {
    const { program, path } = await serve(['a=memory:16M'], '--listen', '127.0.0.1:0');
    const port = Number(new URL(program.ready.find((uri) => !uri.includes('unix')) ?? '').port);
    const fds = fdsOf(program.pid);
    for (let round = 0; round < 3; round++) {
      const all = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          NbdTestClient.attach(index % 2 === 0 ? { path } : { host: '127.0.0.1', port }),
        ),
      );
      for (const client of all) {
        const data = Buffer.alloc(512, round);
        expect((await client.call({ command: CMD.write, offset: 0, data })).error).toBe(0);
        const answer = await client.call({ command: CMD.read, offset: 0, length: 512 });
        expect(answer).toEqual({ error: 0, data });
      }
      const { connections, counters } = await countersOf(program);
      expect(connections).toEqual({ 1: 10, 2: 10 });
      expect(counters['nbd_requests_total{command="WRITE",export="a"}']).toBe(20 * (round + 1));
      expect(counters['nbd_connections_total']).toBe(20 * (round + 1));
      await vi.waitFor(() => expect(fdsOf(program.pid)).toBe(fds));
      for (const client of all) await client.close();
      await vi.waitFor(async () =>
        expect((await countersOf(program)).connections).toEqual({ 1: 0, 2: 0 }),
      );
    }
  });

  it('keep to the limits on connections together', async () => {
    const config = folder.path('limits.yaml');
    writeFileSync(
      config,
      'workers: 2\nlimits: {connections: 3}\nexports: [{name: a, url: "memory:1M", allow: {networks: [192.0.2.0/24, unix]}}]\n',
    );
    const path = folder.path('limits.sock');
    const program = await run(1, 'serve', '--config', config, '--unix', path);
    for (let count = 0; count < 3; count++) await attach(path);
    await expect(attach(path)).rejects.toThrow(/limits.connections is 3/);
    expect((await countersOf(program)).counters['nbd_connections_refused_total']).toBe(1);
    await clients.pop()?.close();
    await vi.waitFor(() => attach(path), 10_000);
  });

  it('keep all bytes of clients that write to parts of one sector, each on its own worker', async () => {
    const { path, uri } = await serve(['a=memory:16M']);
    const [first, second] = [await attach(path), await attach(path)];
    const expected = Buffer.alloc(2048);
    for (let index = 0; index < 100; index += 2) {
      const writes = [first, second].map((client, odd) => {
        const data = Buffer.alloc(17, index + odd + 1);
        const offset = (index + odd) * 17;
        data.copy(expected, offset);
        return client.call({ command: CMD.write, offset, data });
      });
      for (const { error } of await Promise.all(writes)) expect(error).toBe(0);
    }
    const { data } = await first.call({ command: CMD.read, offset: 1, length: 1999 });
    expect(data).toEqual(expected.subarray(1, 2000));
    if (haveTools('nbdinfo', 'nbdinfo')) {
      expect(await mustRun('nbdinfo', uri)).toMatch(/block_size_minimum: 1\n/);
      expect(await mustRun('nbdinfo', '--can', 'multi-conn', uri)).toBe('');
    }
  });

  it('let no write of a client that is gone land over what it writes on another worker', async () => {
    const { url, store } = await startTarget(new HoldingStore({ sizeBytes: 16 * MIB }));
    const { path } = await serve([`a=${url}`]);
    const first = await attach(path);
    store.isHolding = true;
    const old = Buffer.alloc(4096, 1);
    void first.call({ command: CMD.write, offset: 0, data: old }).catch(() => undefined);
    await vi.waitFor(() => expect(store.held).toHaveLength(1));
    store.isHolding = false;
    first.socket.destroy();
    const [second, third] = [await attach(path), await attach(path)];
    const data = Buffer.alloc(4096, 2);
    const ends: string[] = [];
    const repeated = Promise.all(
      [second, third].map((client) => client.call({ command: CMD.write, offset: 0, data })),
    ).then(() => ends.push('repeated'));
    // What does not overlap goes on, and passes the writes that wait.
    const fourth = await attach(path);
    const beside = await fourth.call({ command: CMD.write, offset: 8192, data });
    ends.push('beside');
    store.release();
    await repeated;
    expect([beside.error, ...ends]).toEqual([0, 'beside', 'repeated']);
    const answer = await fourth.call({ command: CMD.read, offset: 0, length: 4096 });
    expect(answer.data).toEqual(data);
  });

  it('make a flush on one cover what was written on another', async () => {
    const { url, store } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const { program, path } = await serve([`a=${url}`]);
    const [writer, flusher] = [await attach(path), await attach(path)];
    const workers = program.logged('client attached').map(({ worker }) => worker);
    expect(new Set(workers).size).toBe(2);
    for (let round = 1; round <= 20; round++) {
      const data = Buffer.alloc(8192, round);
      store.ops.length = 0;
      const written = await writer.call({ command: CMD.write, offset: 8192 * round, data });
      expect([written.error, store.ops]).toEqual([0, [StoreOp.write]]);
      expect((await flusher.call({ command: CMD.flush })).error).toBe(0);
      expect(store.ops).toEqual([StoreOp.write, StoreOp.flush]);
      for (const client of [flusher, writer]) {
        const answer = await client.call({ command: CMD.read, offset: 8192 * round, length: 8192 });
        expect(answer).toEqual({ error: 0, data });
      }
    }
  });
});

describe.runIf(haveTools('workers with real clients', 'nbdcopy', 'nbdinfo', 'cmp', 'fio'))(
  'real clients of workers',
  () => {
    it.each(['memory', 'file'])('copy a %s LUN over four connections', async (kind) => {
      const lun = kind === 'file' ? `file:${folder.path('disk.img')}:64M` : 'memory:64M';
      const { program, uri } = await serve([`a=${lun}`], '--listen', '127.0.0.1:0');
      const tcp = program.ready.find((ready) => !ready.includes('unix')) ?? '';
      const image = folder.path('in.img');
      writeFileSync(image, randomFillSync(Buffer.allocUnsafe(64 * MIB)));
      const many = ['--connections=4', '--threads=4'];
      await mustRun('nbdcopy', ...many, '--flush', image, tcp);
      await mustRun('nbdcopy', ...many, uri, folder.path('out.img'));
      await mustRun('cmp', image, folder.path('out.img'));
      if (kind === 'file') await mustRun('cmp', image, folder.path('disk.img'));
      const attached = program.logged('client attached').map(({ worker }) => worker);
      expect(attached.filter((worker) => worker === 1)).toHaveLength(attached.length / 2);
    });

    it('verify four connections of fio each, over TCP and a Unix socket', async () => {
      const target = await run(1, 'target', '--listen', '127.0.0.1:0', '--lun', 'memory:128M');
      const exports = [`a=${target.ready[0] ?? ''}`];
      const { program, uri } = await serve(exports, '--listen', '127.0.0.1:0');
      const tcp = program.ready.find((ready) => !ready.includes('unix')) ?? '';
      const jobs = ['--numjobs=4', '--size=32M', '--offset_increment=32M', '--group_reporting'];
      for (const where of [tcp, uri]) {
        expect(await mustRunFio(...fioArgs(where, ...jobs))).toMatch(/err= 0/);
      }
    });

    it('go on when another’s worker is killed; the new worker serves the next', async () => {
      const { program, path, uri } = await serve(['a=memory:64M']);
      const doomed = await attach(path);
      // Until the new worker is there, which a busy machine takes its time for.
      const running = fio(...fioArgs(uri, '--size=32M', '--thread=1', '--runtime=12'));
      // fio connects twice: first to learn the size, and then to work.
      await vi.waitFor(async () => {
        const { counters } = await countersOf(program);
        expect(counters['nbd_requests_total{command="WRITE",export="a"}']).toBeGreaterThan(100);
      }, 20_000);
      const busy = program.logged('client attached').at(-1)?.['worker'];
      const idle = busy === 1 ? 2 : 1;
      const victim = program.logged('client attached')[0]?.['worker'];
      expect(victim).toBe(idle);
      const before = (await countersOf(program)).counters;
      const pid = workersOf(program).get(idle) ?? 0;
      process.kill(pid, 'SIGKILL');
      await doomed.ended;
      await vi.waitFor(() => expect(program.logged('worker ready')).toHaveLength(1), 10_000);
      const [line] = program.logged('a worker has ended; starting another one');
      const facts = { worker: idle, workerPid: pid, signal: 'SIGKILL', connectionsLost: 1 };
      expect(line).toMatchObject(facts);
      const client = await attach(path);
      expect((await client.call({ command: CMD.read, length: 512 })).error).toBe(0);
      expect(program.logged('client attached').at(-1)).toMatchObject({ worker: idle });
      const after = await countersOf(program);
      for (const [name, value] of Object.entries(before)) {
        expect([name, (after.counters[name] ?? 0) >= value]).toEqual([name, true]);
      }
      const { status, stdout, stderr } = await running;
      expect([status, stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/err= 0/);
    });

    it('finish what is in flight when the server is told to stop', async () => {
      const { program, uri, path } = await serve(['a=memory:64M']);
      const running = fio(...fioArgs(uri, '--size=64M', '--thread=1', '--runtime=60'));
      await vi.waitFor(async () => {
        const { counters } = await countersOf(program);
        expect(counters['nbd_requests_total{command="WRITE",export="a"}']).toBeGreaterThan(100);
      }, 20_000);
      const workers = [...workersOf(program).values()];
      // As a terminal does it: to all of them.
      for (const pid of workers) process.kill(pid, 'SIGINT');
      const { status, stderr } = await program.stop('SIGINT');
      expect(status).toBe(0);
      expect(stderr).not.toMatch(/cutting off|has ended; another/);
      expect([existsSync(path), workers.filter(isRunning)]).toEqual([false, []]);
      expect((await running).stdout + (await running).stderr).not.toMatch(
        /verify failed|verify: bad/,
      );
    });
  },
);

describe('the end of workers', () => {
  it('comes by itself when the primary is killed, after a drain', async () => {
    const { url, portal } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const { program, path } = await serve([`a=${url}`]);
    const client = await attach(path);
    const workers = [...workersOf(program).values()];
    await program.stop('SIGKILL');
    await client.ended;
    await vi.waitFor(() => expect(workers.filter(isRunning)).toEqual([]), 10_000);
    await vi.waitFor(() => expect(portal.sessionCount).toBe(0));
    expect((await program.finished).stderr).toMatch(/the primary process is gone/);
  });

  it('comes at once with a second signal', async () => {
    const { program, path } = await serve(['a=memory:1M']);
    const held = await NbdTestClient.connect({ path });
    clients.push(held);
    await held.greet();
    const workers = [...workersOf(program).values()];
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    process.kill(program.pid, 'SIGTERM');
    await vi.waitFor(() => expect(program.logged(/^stopping/)).toHaveLength(1));
    expect((await program.stop('SIGTERM')).status).toBe(1);
    await vi.waitFor(() => expect(workers.filter(isRunning)).toEqual([]), 10_000);
  });

  it('is not the end of the server, whose clients wait until there is another', async () => {
    const { program, path } = await serve(['a=memory:1M']);
    for (const pid of workersOf(program).values()) process.kill(pid, 'SIGKILL');
    const client = await attach(path);
    expect((await client.call({ command: CMD.read, length: 512 })).error).toBe(0);
  });

  it('is not needed for others to get the clients that wait behind one that it does not take', async () => {
    const { program, path } = await serve(['a=memory:1M']);
    const stopped = workersOf(program).get(1) ?? 0;
    process.kill(stopped, 'SIGSTOP');
    const attached: number[] = [];
    const attaching = [1, 2, 3, 4].map((number) => attach(path).then(() => attached.push(number)));
    // The first was sent already, and no other may have it.
    await vi.waitFor(() => expect(attached).toHaveLength(3), 15_000);
    expect(program.logged(/does not answer/)).toHaveLength(1);
    process.kill(stopped, 'SIGCONT');
    await Promise.all(attaching);
    expect(program.logged(/answers again/)).toHaveLength(1);
    expect((await countersOf(program)).connections).toEqual({ 1: 1, 2: 3 });
  });

  it('by a target that is away is tried to mend, while the others serve', async () => {
    const { url, portal } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const { program, path } = await serve([`a=${url}`, 'b=memory:1M'], '--default-export', 'b');
    const survivor = await attach(path);
    const worker = Number(program.logged('client attached')[0]?.['worker']);
    await portal.close();
    process.kill(workersOf(program).get(3 - worker) ?? 0, 'SIGKILL');
    await vi.waitFor(
      () => expect(program.logged(/cannot start; the others go on/).length).toBeGreaterThan(2),
      20_000,
    );
    expect((await survivor.call({ command: CMD.read, length: 512 })).error).toBe(0);
    expect((await (await attach(path)).call({ command: CMD.read, length: 512 })).error).toBe(0);
  });
});

describe('a start with workers', () => {
  it.each(['0', '33', '-1', 'two', '1.5', ''])('refuses %j of them in one line', async (count) => {
    const { status, stderr } = await iserNbd(['serve', `--workers=${count}`]);
    expect(status).toBe(2);
    expect(stderr).toMatch(/^iser-nbd: --workers/);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
  });

  it('fails as one process would, and leaves nothing running', async () => {
    const { url } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const path = folder.path('failed.sock');
    const missing = url.replace(/0$/, '7');
    const args = ['serve', '--unix', path, '--log-level', 'silent', '--export', `a=${missing}`];
    const alone = await iserNbd(args);
    const together = await iserNbd([...args, '--workers', '3']);
    expect(together).toEqual(alone);
    expect(together.stderr).toMatch(/\/7 does not exist/);
    expect(existsSync(path)).toBe(false);
    const own = `serve-worker`;
    const left = childrenOf(process.pid).flatMap(childrenOf);
    expect(
      left.filter((pid) => readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(own)),
    ).toEqual([]);
  });

  it('fails when the address is taken, with the workers logged out', async () => {
    const { url, portal } = await startTarget(new RecordingStore({ sizeBytes: 64 * MIB }));
    const { path } = await serve(['b=memory:1M']);
    const args = ['--workers', '2', '--unix', path, '--export', `a=${url}`];
    const { status, stderr } = await iserNbd(['serve', '--log-level', 'silent', ...args]);
    expect([status, stderr]).toEqual([
      1,
      `iser-nbd: another program serves on ${path}; stop it, or choose another path\n`,
    ]);
    await vi.waitFor(() => expect(portal.sessionCount).toBe(0));
  });

  it('is not for a worker alone', async () => {
    const { status, stderr } = await iserNbd(['serve-worker']);
    expect([status, stderr]).toEqual([
      2,
      'iser-nbd: workers are started by iser-nbd serve --workers N\n',
    ]);
    expect((await iserNbd(['--help'])).stdout).not.toMatch(/serve-worker/);
  });
});

describe.runIf(haveTools('activation with workers', 'nbdinfo', 'systemd-socket-activate'))(
  'a socket of systemd’s',
  () => {
    it('stays the primary’s, and its clients go to workers', async () => {
      const path = folder.path('systemd.sock');
      const child = spawn(
        'systemd-socket-activate',
        [
          ...['-l', path, '-l', folder.path('second.sock')],
          ...[process.execPath, 'dist/cli/main.js', 'serve', '--workers', '2'],
          ...['--export', 'a=memory:1M'],
        ],
        { stdio: ['ignore', 'ignore', 'pipe'] },
      );
      ends.push(async () => {
        const gone = new Promise((resolve) => child.once('close', resolve));
        child.kill('SIGTERM');
        await gone;
      });
      await new Promise<void>((resolve) => {
        child.stderr.on('data', (bytes: Buffer) => {
          if (/Listening/.test(bytes.toString())) resolve();
        });
      });
      for (const name of ['systemd.sock', 'second.sock']) {
        const uri = `nbd+unix:///a?socket=${folder.path(name)}`;
        expect(await mustRun('nbdinfo', '--size', uri)).toBe('1048576\n');
      }
      const workers = childrenOf(child.pid ?? 0);
      expect(workers).toHaveLength(2);
      const listening = readFileSync('/proc/net/unix', 'utf8')
        .split('\n')
        .filter((line) => line.includes(folder.path('')) && line.includes(' 00010000 '))
        .map((line) => line.trim().split(/\s+/)[6]);
      expect(listening.length).toBeGreaterThanOrEqual(2);
      for (const pid of workers) {
        const own = await mustRun('ls', '-l', `/proc/${pid}/fd`);
        for (const inode of listening) expect(own).not.toContain(`socket:[${inode}]`);
      }
    });
  },
);

describe.runIf(haveTools('TLS with workers', 'psktool', 'certtool', 'nbdinfo', 'nbdcopy'))(
  'TLS with workers',
  () => {
    it('is what it is in one process, and is renewed in all', async () => {
      const credentials = new Credentials(folder.path('pki'));
      credentials.authority();
      credentials.server();
      credentials.key('carol');
      const tls = [
        ...['--tls-cert', credentials.path('server-cert.pem')],
        ...['--tls-key', credentials.path('server-key.pem')],
        ...['--tls-psk', credentials.path('keys.psk')],
      ];
      const { program } = await serve(['a=memory:16M'], '--listen', '127.0.0.1:0', ...tls);
      const tcp = program.ready.find((ready) => !ready.includes('unix')) ?? '';
      expect(tcp).toMatch(/^nbds:/);
      const host = `localhost:${new URL(tcp).port}`;
      const by = (user: string): string =>
        `nbds://${user}@${host}/a?tls-psk-file=${credentials.path('keys.psk')}`;
      const image = folder.path('tls.img');
      writeFileSync(image, randomFillSync(Buffer.allocUnsafe(16 * MIB)));
      await mustRun('nbdcopy', '--connections=4', '--threads=4', image, by('carol'));
      await mustRun('nbdcopy', '--connections=4', '--threads=4', by('carol'), folder.path('b.img'));
      await mustRun('cmp', image, folder.path('b.img'));
      expect((await command('nbdinfo', [`nbd://${host}/a`])).status).not.toBe(0);
      // Broken files change nothing, also not for a worker that starts now.
      const keys = readFileSync(credentials.path('keys.psk'));
      writeFileSync(credentials.path('keys.psk'), 'no keys');
      process.kill(program.pid, 'SIGHUP');
      await vi.waitFor(() => expect(program.logged(/stay in use/)).toHaveLength(1));
      process.kill(workersOf(program).get(1) ?? 0, 'SIGKILL');
      await vi.waitFor(() => expect(program.logged('worker ready')).toHaveLength(1), 10_000);
      writeFileSync(credentials.path('keys.psk'), keys);
      for (let round = 0; round < 2; round++) await mustRun('nbdinfo', by('carol'));
      credentials.key('dave');
      process.kill(program.pid, 'SIGHUP');
      await vi.waitFor(() => expect(program.logged(/read the certificates/)).toHaveLength(1));
      for (let round = 0; round < 4; round++) await mustRun('nbdinfo', by('dave'));
    });
  },
);

describe('one process', () => {
  it('tells its counters too, and takes any range', async () => {
    const path = folder.path('alone.sock');
    const args = ['--workers', '1', '--unix', path, '--export', 'a=memory:1M'];
    const program = await run(1, 'serve', ...args);
    expect(workersOf(program).size).toBe(0);
    const client = await attach(path);
    const data = Buffer.alloc(100, 1);
    expect((await client.call({ command: CMD.write, offset: 7, data })).error).toBe(0);
    expect(await countersOf(program)).toMatchObject({
      connections: 1,
      counters: { 'nbd_written_bytes_total{export="a"}': 100, nbd_connections_total: 1 },
    });
  });
});
