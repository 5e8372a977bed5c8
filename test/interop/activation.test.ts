import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { renameSync, statSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
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
    child = spawn('sh', ['-c', line], { stdio: ['ignore', 'pipe', 'ignore', ...fds] });
    const said = await new Promise<string>((resolve) => {
      let text = '';
      child?.stdout?.on('data', (bytes: Buffer) => {
        text += bytes.toString();
        if (text.split('\n').length > 2) resolve(text);
      });
    });
    expect(said).toBe(`ready nbd://127.0.0.1:${port}/a\nready nbd+unix:///a?socket=${path}\n`);
    // The child has descriptors of its own, and alone may accept now. Closing removes the Unix socket's first name.
    const renamed = folder.path('renamed.sock');
    renameSync(path, renamed);
    for (const server of [tcp, unix]) await new Promise((resolve) => server.close(resolve));
    expect(await mustRun('nbdinfo', '--size', `nbd://127.0.0.1:${port}/a`)).toBe('1048576\n');
    expect(await mustRun('nbdinfo', '--size', `nbd+unix:///a?socket=${renamed}`)).toBe('1048576\n');
  });
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
    [['--tls-cert', '/nowhere.pem'], /go together/],
    [['--tls-psk', '/nowhere.psk'], /cannot read the TLS psk/],
    [['--tls', 'maybe'], /tls/],
    [['--unix-mode', '0660'], /--unix, which is missing/],
    [['--unix', '/tmp/x.sock', '--unix-mode', 'rw'], /octal/],
    [['--unix', '/tmp/x.sock', '--unix-owner', 'nobody-here'], /no user nobody-here/],
    [['--default-export', 'other'], /none of the exports/],
  ])('%j is refused in one line', async (args, words) => {
    const { status, stderr } = await iserNbd(['serve', ...args]);
    expect(status).not.toBe(0);
    expect(stderr).toMatch(words);
    expect(stderr.trim().split('\n')).toHaveLength(1);
  });
});
