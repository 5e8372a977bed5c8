import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { RELEASES } from './clients.js';
import { Program, haveTools, iserNbd, mustRun, temporaryFolder } from './program.js';

const MAIN = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));
const folder = temporaryFolder();
const hasInfo = haveTools('socket activation and Unix sockets', 'nbdinfo');
const hasSystemd = haveTools('activation by systemd', 'nbdinfo', 'systemd-socket-activate');
let child: ChildProcess | null = null;
let program: Program | null = null;

afterEach(async () => {
  await program?.stop();
  program = null;
  const running = child;
  child = null;
  if (running === null || running.exitCode !== null) return;
  const gone = new Promise((resolve) => running.once('close', resolve));
  running.kill('SIGTERM');
  await gone;
});

afterAll(() => folder.remove());

interface HandleWithFd {
  readonly _handle: { readonly fd: number };
}

describe.skipIf(!hasInfo)('a server that is handed its sockets', () => {
  it('serves on them, waiting clients first, and listens on nothing else', async () => {
    const path = folder.path('inherited.sock');
    const [tcp, unix] = [createServer(), createServer()];
    await new Promise<void>((resolve) => tcp.listen(0, '127.0.0.1', resolve));
    await new Promise<void>((resolve) => unix.listen(path, resolve));
    const { port } = tcp.address() as AddressInfo;
    const fds = [tcp, unix].map((server) => (server as unknown as HandleWithFd)._handle.fd);
    const line = `LISTEN_PID=$$ LISTEN_FDS=2 exec "${process.execPath}" "${MAIN}" serve --export a=memory:1M`;
    child = spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'pipe', ...fds] });
    let printed = '';
    child.stdout?.on('data', (bytes: Buffer) => (printed += bytes.toString()));
    const said = await new Promise<unknown>((resolve) => {
      let text = '';
      child?.stderr?.on('data', (bytes: Buffer) => {
        text += bytes.toString();
        const ready = text.split('\n').find((entry) => entry.includes('"msg":"ready"'));
        if (ready !== undefined) resolve(JSON.parse(ready));
      });
    });
    const uris = [`nbd://127.0.0.1:${port}/a`, `nbd+unix:///a?socket=${path}`];
    expect(said).toMatchObject({ uris });
    // The child has descriptors of its own, and alone may accept now. Closing removes the Unix socket's first name.
    const renamed = folder.path('renamed.sock');
    renameSync(path, renamed);
    for (const server of [tcp, unix]) await new Promise((resolve) => server.close(resolve));
    expect(await mustRun('nbdinfo', '--size', `nbd://127.0.0.1:${port}/a`)).toBe('1048576\n');
    expect(await mustRun('nbdinfo', '--size', `nbd+unix:///a?socket=${renamed}`)).toBe('1048576\n');
    // Standard output is not for it.
    expect(printed).toBe('');
  });
});

describe.each(RELEASES)('nbdcopy $label', (clients) => {
  const [image, copy] = [folder.path('image'), folder.path('copy')];
  const sizeBytes = 4 << 20;

  it.runIf(clients.have('nbdcopy’s servers', 'nbdcopy')).each(['1', '2'])(
    'copies to and from a server that it starts, and a pipe, with %s processes',
    async (workers) => {
      writeFileSync(image, randomFillSync(Buffer.alloc(sizeBytes)));
      const serve = [process.execPath, MAIN, 'serve', '--workers', workers];
      const from = ['[', ...serve, '--export', `x=file:${image}`, ']'];
      const to = ['[', ...serve, '--export', `x=file:${copy}:${sizeBytes}`, ']'];
      const nbdcopy = clients.path('nbdcopy');
      // The pipe is nbdcopy's standard output, and that of the server that it starts.
      await mustRun(
        'sh',
        '-c',
        'copy=$1; shift; "$@" | cat >"$copy"',
        'sh',
        copy,
        nbdcopy,
        '--',
        ...from,
        '-',
      );
      await mustRun('cmp', image, copy);
      rmSync(copy);
      await mustRun(nbdcopy, '--flush', '--', image, ...to);
      await mustRun('cmp', image, copy);
    },
  );
});

describe.runIf(process.platform === 'linux')('what a server shares with who started it', () => {
  const O_NONBLOCK = 0o4000;

  it.each(['1', '2'])('is left as it is, by %s processes', async (workers) => {
    const path = folder.path(`shared-${workers}.sock`);
    const args = ['serve', '--workers', workers, '--export', 'a=memory:1M', '--unix', path];
    program = await Program.start(args, 1);
    for (const pid of [program.pid, ...childrenOf(program.pid)]) {
      for (const fd of [0, 1, 2]) {
        const flags = /flags:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1];
        expect(parseInt(flags ?? '', 8) & O_NONBLOCK, `descriptor ${fd}`).toBe(0);
      }
    }
  });

  function childrenOf(pid: number): number[] {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8');
    return text.split(' ').filter(Boolean).map(Number);
  }
});

describe.skipIf(!hasSystemd)('systemd-socket-activate', () => {
  it('starts a server for the first client', async () => {
    const path = folder.path('systemd.sock');
    child = spawn(
      'systemd-socket-activate',
      ['-l', path, process.execPath, MAIN, 'serve', '--export', 'a=memory:1M'],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    await new Promise<void>((resolve) => {
      child?.stderr?.on('data', (bytes: Buffer) => {
        if (/Listening/.test(bytes.toString())) resolve();
      });
    });
    expect(await mustRun('nbdinfo', '--size', `nbd+unix:///a?socket=${path}`)).toBe('1048576\n');
  });
});

describe.skipIf(!hasInfo)('a Unix socket', () => {
  it('has its mode and owner, and serves the default export', async () => {
    const path = folder.path('owned.sock');
    const owner = `${process.getuid?.() ?? 0}:${process.getgid?.() ?? 0}`;
    const exports = ['--export', 'a=memory:1M', '--export', 'b=memory:2M'];
    const unix = ['--unix', path, '--unix-mode', '0660', '--unix-owner', owner];
    program = await Program.start(['serve', ...exports, '--default-export', 'b', ...unix], 2);
    expect(statSync(path).mode & 0o777).toBe(0o660);
    expect(await mustRun('nbdinfo', '--size', `nbd+unix:///?socket=${path}`)).toBe('2097152\n');
  });
});

describe('a command line that cannot be', () => {
  it.each([
    [['--tls', 'require'], /needs --tls-cert/],
    [['--tls-cert', '/nowhere.pem'], /needs its key/],
    [['--tls-psk', '/nowhere.psk'], /cannot read the TLS psk/],
    [['--tls', 'maybe'], /tls/],
    [['--unix-mode', '0660'], /--unix, which is missing/],
    [['--unix', '/tmp/x.sock', '--unix-mode', 'rw'], /octal/],
    [['--unix', '/tmp/x.sock', '--unix-owner', 'nobody-here'], /no user nobody-here/],
    [['--default-export', 'other'], /not one of the exports/],
  ])('%j is refused in one line', async (args, words) => {
    const { status, stderr } = await iserNbd(['serve', ...args]);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(words);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
