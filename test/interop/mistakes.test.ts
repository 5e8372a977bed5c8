import { writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo, Server } from 'node:net';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Program, iserNbd, temporaryFolder } from './program.js';

const NAME = 'iqn.2026-11.io.example:lab';
const folder = temporaryFolder();
let open: Program;
let guarded: Program;
let babbler: Server;
let portal: string;
let guardedPortal: string;

const SECRET = 'correct-horse-battery';
const MUTUAL_SECRET = 'staple-of-the-target';

beforeAll(async () => {
  writeFileSync(folder.path('secret'), `${SECRET}\n`, { mode: 0o600 });
  writeFileSync(folder.path('mutual'), `${MUTUAL_SECRET}\n`, { mode: 0o600 });
  writeFileSync(folder.path('wrong'), 'not-the-right-secret\n', { mode: 0o600 });
  writeFileSync(folder.path('odd.img'), Buffer.alloc(1000));
  writeFileSync(folder.path('empty.img'), '');
  writeFileSync(folder.path('bad.yaml'), 'exports:\n  - name: x\n    urll: memory:1M\n');
  open = await Program.start(
    ['target', '--listen', '127.0.0.1:0', '--name', NAME, '--lun', 'memory:16M'],
    1,
  );
  guarded = await Program.start(
    [
      ...['target', '--listen', '127.0.0.1:0', '--name', NAME, '--lun', 'memory:16M'],
      ...['--chap-user', 'bob', '--chap-secret-file', folder.path('secret')],
      ...['--mutual-chap-user', 'lab', '--mutual-chap-secret-file', folder.path('mutual')],
      '--discovery-auth',
    ],
    1,
  );
  portal = portalOf(open);
  guardedPortal = portalOf(guarded);
  babbler = createServer((socket) =>
    socket.on('error', () => undefined).end('SSH-2.0-babbler\r\n'),
  );
  await new Promise<void>((resolve) => babbler.listen(0, '127.0.0.1', resolve));
});

afterAll(async () => {
  await open?.stop();
  await guarded?.stop();
  babbler?.close();
  folder.remove();
});

const portalOf = (program: Program) => (program.ready[0] ?? '').replace(/\/iqn.*/, '');
const babblerPort = () => (babbler.address() as AddressInfo).port;

describe('a file LUN', () => {
  it.each([
    ['target', (lun: string) => ['target', '--listen', '127.0.0.1:0', '--lun', lun]],
    ['serve', (lun: string) => ['serve', '--listen', '127.0.0.1:0', '--export', `x=${lun}`]],
    [
      'serve --workers',
      (lun: string) => [
        ...['serve', '--listen', '127.0.0.1:0', '--export', `x=${lun}`, '--workers', '2'],
      ],
    ],
  ])('that %s has is refused to all others until that is gone', async (_name, serving) => {
    const lun = `file:${folder.path('locked.img')}:4M`;
    const holder = await Program.start(serving(lun), 1);
    for (const args of [
      ['target', '--listen', '127.0.0.1:0', '--lun', lun],
      ['serve', '--listen', '127.0.0.1:0', '--export', `y=${lun}`],
      ['info', lun],
    ]) {
      const { status, stdout, stderr } = await iserNbd([...args, '--log-level', 'warn']);
      expect(stderr).toMatch(/^iser-nbd: .*locked\.img is in use by another program/);
      expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    }
    await holder.stop('SIGKILL');
    const next = await Program.start(serving(lun), 1);
    await next.stop();
  });
});

describe('wrong usage ends with status 2, in English, and what cannot be had with 1', () => {
  it.each<[number, RegExp, string[]]>([
    [2, /command is missing/, []],
    [2, /Did you mean serve/, ['srve']],
    [2, /^iser-nbd: Unknown argument: read-only /, ['target', '--lun', 'memory:1M', '--read-only']],
    [2, /an argument is missing: iser-nbd info <url>/, ['info']],
    [2, /no LUN: add --lun/, ['target']],
    [2, /--log-level is given more than once/, ['serve', '--log-level=info', '--log-level=warn']],
    [2, /following: listen/, ['serve', '--listen']],
    [2, /--read-only takes no value/, ['serve', '--read-only=perhaps']],
    [2, /in brackets/, ['serve', '--listen', '::1:10809']],
    [2, /no exports/, ['serve', '--config', '-']],
    [2, /needs a size/, ['info', 'memory:lots']],
    [2, /not one of the exports/, ['serve', '--default-export', 'x']],
    [2, /--tls on needs/, ['serve', '--tls', 'on']],
    [1, /cannot read the configuration/, ['serve', '--config', '/nonexistent/serve.yaml']],
    [
      1,
      /the directory \/nonexistent does not exist; make it/,
      ['serve', '--unix', '/nonexistent/x'],
    ],
    [1, /no such address/, ['target', '--lun', 'memory:1M', '--listen', '203.0.113.1:3260']],
  ])('%i: %s', async (expected, words, args) => {
    const { status, stdout, stderr } = await iserNbd(args, { LANG: 'de_DE.UTF-8' });
    // Above it may be what it had to log.
    const complaint = stderr.trimEnd().split('\n').at(-1);
    expect(complaint).toMatch(words);
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' });
  });

  it('and --config - reads standard input', async () => {
    const path = folder.path('stdin.yaml');
    writeFileSync(path, 'exports:\n  - { name: fromstdin, url: memory:1M }\n');
    const args = ['serve', '--config', '-', '--listen', '127.0.0.1:0'];
    const through = ['sh', '-c', 'exec "$@" < "$0"', path];
    const program = await Program.start(args, 1, {}, through);
    expect(program.ready[0]).toMatch(/\/fromstdin$/);
    await program.stop();
  });
});

describe('help', () => {
  it.each([[], ['serve'], ['target'], ['discover'], ['info'], ['completion']])(
    'of %j fits a terminal, with examples to copy',
    async (...command: string[]) => {
      const { status, stdout } = await iserNbd([...command, '--help'], { LANG: 'de_DE.UTF-8' });
      expect(status).toBe(0);
      const lines = stdout.split('\n');
      expect(lines.filter((line) => line.length > 80)).toEqual([]);
      expect(stdout).toContain('Options:');
      const examples = lines.slice(lines.indexOf('Examples:') + 1);
      if (command[0] !== 'serve') return;
      expect(examples).toContain(
        '  iser-nbd serve --export disk=iser://192.0.2.1/iqn.2026-11.io.example:lab/0',
      );
    },
  );
});

describe('a mistake ends in one line and a non-zero status', () => {
  it.each<[string, () => string[], RegExp]>([
    ['no command', () => [], /command is missing/],
    ['unknown command', () => ['srve'], /serve/],
    ['unknown option', () => ['serve', '--exprt', 'x'], /exprt/],
    ['unknown URL scheme', () => ['info', 'iscsi://h/iqn.x/0'], /unknown scheme iscsi/],
    ['export without URL', () => ['serve', '--export', 'disk'], /NAME=URL/],
    [
      'export name twice',
      () => [
        'serve',
        '--listen',
        '127.0.0.1:0',
        '--export',
        'a=memory:1M',
        '--export',
        'a=memory:1M',
      ],
      /a is named twice/,
    ],
    ['bad size', () => ['info', 'memory:lots'], /memory:lots/],
    ['window of polling', () => ['serve', '--poll-us', '1e9'], /--poll-us 1e9.*0 to 1000/],
    ['no polling for one-shot tools', () => ['info', 'memory:1M', '--poll-us', '1'], /poll-us/],
    ['listen address', () => ['serve', '--listen', 'nowhere'], /HOST:PORT/],
    [
      'port in use',
      () => ['serve', '--listen', `127.0.0.1:${babblerPort()}`, '--export', 'a=memory:1M'],
      /another program listens/i,
    ],
    [
      'target port in use',
      () => ['target', '--listen', `127.0.0.1:${babblerPort()}`, '--lun', 'memory:1M'],
      /another program listens/i,
    ],
    ['no LUN', () => ['target'], /--lun/],
    ['unreadable file', () => ['target', '--lun', 'file:/nonexistent/disk.img'], /nonexistent/],
    ['misaligned file', () => ['target', '--lun', `file:${folder.path('odd.img')}`], /odd\.img/],
    ['empty file', () => ['target', '--lun', `file:${folder.path('empty.img')}`], /empty\.img/],
    ['a folder as file', () => ['target', '--lun', `file:${folder.path('.')}`], /director|folder/],
    ['missing configuration', () => ['serve', '--config', folder.path('none.yaml')], /none\.yaml/],
    ['wrong configuration', () => ['serve', '--config', folder.path('bad.yaml')], /urll/],
    [
      'nobody listens',
      () => ['info', `iser://127.0.0.1:1/${NAME}/0`],
      /nothing answers.*ECONNREFUSED/,
    ],
    [
      'not an iWARP peer',
      () => ['info', `iser://127.0.0.1:${babblerPort()}/${NAME}/0`],
      /not an iWARP peer/,
    ],
    [
      'no such target',
      () => ['info', `${portal}/iqn.2026-11.io.example:other/0`],
      /no such target/,
    ],
    ['no such LUN', () => ['info', `${portal}/${NAME}/7`], /\/7 does not exist/],
    [
      'serving no such LUN',
      () => ['serve', '--listen', '127.0.0.1:0', '--export', `a=${portal}/${NAME}/7`],
      /\/7 does not exist/,
    ],
    [
      'discovery to be proved, and no secret',
      () => ['target', '--lun', 'memory:1M', '--discovery-auth'],
      /--discovery-auth needs --chap-user/,
    ],
    ['discovery without the secret', () => ['discover', guardedPortal], /CHAP|authenticat/i],
    ['authentication missing', () => ['info', `${guardedPortal}/${NAME}/0`], /CHAP|authenticat/i],
    [
      'secret missing',
      () => ['info', `${guardedPortal.replace('//', '//bob@')}/${NAME}/0`],
      /ISER_NBD_CHAP_SECRET/,
    ],
    ['wrong secret', () => chap(['--chap-secret-file', folder.path('wrong')]), /authentication/i],
    [
      'target cannot prove itself',
      () =>
        chap([
          '--chap-secret-file',
          folder.path('secret'),
          '--mutual-chap-user',
          'lab',
          '--mutual-chap-secret-file',
          folder.path('wrong'),
        ]),
      /target.*(prove|secret)|mutual/i,
    ],
    ['native transport', () => ['info', `${portal}/${NAME}/0?transport=native`], /native/],
    [
      'secret in the URL',
      () => ['info', `iser://bob:hunter2@127.0.0.1/${NAME}/0`],
      /must not contain a secret/,
    ],
  ])('%s', async (_what, args, words) => {
    const { status, stdout, stderr } = await iserNbd([...args(), '--log-level', 'silent']);
    expect(stderr).toMatch(words);
    expect(stderr.trimEnd().split('\n')).toHaveLength(1);
    expect(stderr).toMatch(/^iser-nbd: /);
    expect(stderr).not.toMatch(/hunter2|not-the-right|correct-horse|staple/);
    expect(stdout).toBe('');
    expect(status).toBeGreaterThan(0);
  });

  const chap = (options: string[]) => [
    'info',
    `${guardedPortal}/${NAME}/0`,
    '--chap-user',
    'bob',
    ...options,
  ];

  it('and the right secrets, mutual too, log in', async () => {
    const { status, stderr } = await iserNbd(
      chap(['--mutual-chap-user', 'lab', '--mutual-chap-secret-file', folder.path('mutual')]),
      { ISER_NBD_CHAP_SECRET: SECRET },
    );
    expect(stderr).toBe('');
    expect(status).toBe(0);
    const found = await iserNbd(['discover', guardedPortal, '--chap-user', 'bob'], {
      ISER_NBD_CHAP_SECRET: SECRET,
    });
    expect(found).toMatchObject({ status: 0, stderr: '' });
    expect(found.stdout).toContain(NAME);
  });
});
