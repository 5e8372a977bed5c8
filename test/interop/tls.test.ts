import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Credentials } from '../support/nbd/credentials.js';
import { Program, command, haveTools, mustRun, temporaryFolder } from './program.js';

const MIB = 1024 * 1024;
const folder = temporaryFolder();
const credentials = new Credentials(folder.path('pki'));
const hasTools = haveTools('TLS with real clients', 'certtool', 'psktool', 'nbdinfo', 'nbdcopy');
const hasQemu = haveTools(
  'TLS with QEMU',
  'certtool',
  'psktool',
  'qemu-img',
  'qemu-io',
  'qemu-nbd',
);
const hasShell = haveTools('TLS with nbdsh', 'certtool', 'psktool', 'nbdsh');
const hasNbdClient = haveTools('TLS with nbd-client', 'certtool', 'psktool', 'nbd-client');
const socket = folder.path('nbd.sock');
let alice: string;
let bob: string;
let program: Program | null = null;

const TLS = [
  ...['--tls-cert', credentials.path('server-cert.pem')],
  ...['--tls-key', credentials.path('server-key.pem')],
  ...['--tls-ca', credentials.path('ca-cert.pem')],
  ...['--tls-psk', credentials.path('keys.psk')],
];

beforeAll(() => {
  if (!hasTools && !hasQemu && !hasShell && !hasNbdClient) return;
  credentials.authority();
  credentials.server();
  alice = credentials.client('alice');
  bob = credentials.client('bob');
  credentials.key('carol');
  writeFileSync(folder.path('disk.img'), randomBytes(16 * MIB));
});

afterEach(async () => {
  await program?.stop();
  program = null;
});

afterAll(() => folder.remove());

function hangUp(): void {
  if (program !== null) process.kill(program.pid, 'SIGHUP');
}

/** A server with one disk for everybody with TLS; returns its host and port. */
async function serve(...args: string[]): Promise<string> {
  const own = ['serve', '--listen', '127.0.0.1:0', '--unix', socket, '--export', 'disk=memory:16M'];
  program = await Program.start([...own, ...args], 2);
  return `localhost:${new URL(program.ready[0] ?? '').port}`;
}

function withCertificate(host: string, name: string, certificates: string): string {
  return `nbds://${host}/${name}?tls-certificates=${certificates}`;
}

function withKey(host: string, name: string, user = 'carol'): string {
  return `nbds://${user}@${host}/${name}?tls-psk-file=${credentials.path('keys.psk')}`;
}

describe.skipIf(!hasTools)('libnbd’s tools', () => {
  it('copy a disk in and out, by certificate and by key, on many connections', async () => {
    const host = await serve(...TLS);
    expect(program?.ready[0]).toMatch(/^nbds:/);
    const image = folder.path('disk.img');
    await mustRun('nbdcopy', image, withCertificate(host, 'disk', alice));
    const back = folder.path('back.img');
    await mustRun('nbdcopy', '--connections=4', withKey(host, 'disk'), back);
    expect(readFileSync(back).equals(readFileSync(image))).toBe(true);
  });

  it('say that they use TLS, on TCP and on a Unix socket', async () => {
    const host = await serve(...TLS);
    const unix = `nbds+unix://carol@/disk?socket=${socket}&tls-psk-file=${credentials.path('keys.psk')}`;
    for (const uri of [withCertificate(host, 'disk', alice), withKey(host, 'disk'), unix]) {
      expect(await mustRun('nbdinfo', uri)).toMatch(/newstyle-fixed with TLS/);
    }
  });

  it('are turned away without TLS, without a certificate, and with a key that is not known', async () => {
    const host = await serve(...TLS);
    const other = new Credentials(folder.path('other'));
    other.key('carol');
    for (const uri of [
      `nbd://${host}/disk`,
      `nbds://carol@${host}/disk?tls-psk-file=${other.path('keys.psk')}`,
      withKey(host, 'disk', 'mallory'),
    ]) {
      expect((await command('nbdinfo', [uri])).status).not.toBe(0);
    }
  });

  it('may leave TLS out where it is offered only', async () => {
    const host = await serve('--tls', 'on', ...TLS);
    expect(await mustRun('nbdinfo', `nbd://${host}/disk`)).toMatch(/without TLS/);
    expect(await mustRun('nbdinfo', withKey(host, 'disk'))).toMatch(/with TLS/);
  });

  it('see the exports that their certificate or key may see, and no others', async () => {
    writeFileSync(
      folder.path('serve.yaml'),
      [
        'listen: [127.0.0.1:0]',
        `tls: {mode: on, cert: ${credentials.path('server-cert.pem')},`,
        `  key: ${credentials.path('server-key.pem')}, ca: ${credentials.path('ca-cert.pem')},`,
        `  psk: ${credentials.path('keys.psk')}}`,
        'default: hers',
        'exports:',
        '  - {name: open, url: "memory:1M", description: for all, readOnly: true}',
        '  - {name: hers, url: "memory:1M", allow: {certificates: [alice]}}',
        '  - {name: keyed, url: "memory:1M", allow: {psk: [carol], networks: [127.0.0.0/8]}}',
        '  - {name: elsewhere, url: "memory:1M", allow: {networks: [192.0.2.0/24]}}',
        '',
      ].join('\n'),
    );
    program = await Program.start(['serve', '--config', folder.path('serve.yaml')], 4);
    const host = `localhost:${new URL(program.ready[0] ?? '').port}`;
    const list = async (uri: string): Promise<string[]> => {
      const { exports } = JSON.parse(await mustRun('nbdinfo', '--list', '--json', uri)) as {
        exports: { 'export-name': string }[];
      };
      return exports.map((item) => item['export-name']);
    };
    expect(await list(withCertificate(host, '', alice))).toEqual(['open', 'hers']);
    expect(await list(withCertificate(host, '', bob))).toEqual(['open']);
    expect(await list(withKey(host, ''))).toEqual(['open', 'keyed']);
    expect(await list(`nbd://${host}`)).toEqual(['open']);
    // The default export is there for alice alone.
    expect(await mustRun('nbdinfo', '--size', withCertificate(host, '', alice))).toBe(`${MIB}\n`);
    expect((await command('nbdinfo', [withCertificate(host, '', bob)])).status).not.toBe(0);
    expect(await mustRun('nbdinfo', `nbd://${host}/open`)).toMatch(/is_read_only: true/);
  });

  it('get the new certificate after SIGHUP, and the old one when the new one is broken', async () => {
    const host = await serve(...TLS);
    writeFileSync(credentials.path('server-cert.pem'), 'no certificate');
    hangUp();
    await mustRun('nbdinfo', withCertificate(host, 'disk', alice));
    // Of an authority that the clients do not know.
    const other = new Credentials(folder.path('renewed'));
    other.authority();
    other.server();
    for (const name of ['server-cert.pem', 'server-key.pem']) {
      writeFileSync(credentials.path(name), readFileSync(other.path(name)));
    }
    hangUp();
    // The signal is handled between two connections; the first attempts may still meet the old certificate.
    let status: number | null = 0;
    while (status === 0) {
      ({ status } = await command('nbdinfo', [withCertificate(host, 'disk', alice)]));
    }
    expect(await mustRun('nbdinfo', withKey(host, 'disk'))).toMatch(/with TLS/);
    const { stderr } = (await program?.stop()) ?? { stderr: '' };
    expect(stderr).toMatch(/stay in use/);
    expect(stderr).toMatch(/read the certificates and keys again/);
    credentials.server();
  });
});

describe.skipIf(!hasQemu)('QEMU', () => {
  const x509 = (): string[] => ['--object', `tls-creds-x509,id=t,endpoint=client,dir=${alice}`];
  const psk = (): string[] => [
    '--object',
    `tls-creds-psk,id=t,endpoint=client,dir=${credentials.folder},username=carol`,
  ];
  const disk = (host: string): string =>
    `driver=nbd,host=localhost,port=${host.split(':')[1]},export=disk,tls-creds=t`;

  it('writes by key, and reads the same by certificate', async () => {
    const host = await serve(...TLS);
    const write = ['-c', 'write -P 90 4096 8M', '-c', 'flush'];
    await mustRun('qemu-io', ...psk(), ...write, '--image-opts', disk(host));
    const read = ['-c', 'read -P 90 4096 8M', '-c', 'read -P 0 0 4096'];
    const said = await mustRun('qemu-io', ...x509(), ...read, '--image-opts', disk(host));
    expect(said).not.toMatch(/verification failed/i);
  });

  it('lists and compares by certificate', async () => {
    const host = await serve(...TLS);
    const port = host.split(':')[1] ?? '';
    const where = [
      '--tls-creds',
      't',
      '--tls-hostname',
      'localhost',
      '-b',
      'localhost',
      '-p',
      port,
    ];
    expect(await mustRun('qemu-nbd', '-L', ...x509(), ...where)).toMatch(/export: 'disk'/);
    const raw = `driver=raw,file.${disk(host).split(',').join(',file.')}`;
    const zero = folder.path('zero.img');
    writeFileSync(zero, Buffer.alloc(16 * MIB));
    const file = `driver=raw,file.driver=file,file.filename=${zero}`;
    expect(await mustRun('qemu-img', 'compare', ...x509(), '--image-opts', raw, file)).toMatch(
      /identical/,
    );
  });
});

describe.skipIf(!hasShell)('nbdsh', () => {
  // The distribution's Python has the module, whichever comes first on the PATH.
  const shell = (...lines: string[]): Promise<string> =>
    mustRun('env', 'PATH=/usr/bin:/bin', 'nbdsh', '-c', lines.join('\n'));

  it('negotiates by hand: what comes before STARTTLS is forgotten', async () => {
    const host = await serve('--tls', 'on', ...TLS);
    const said = await shell(
      'h.set_opt_mode(True)',
      'h.set_tls(nbd.TLS_REQUIRE)',
      'h.set_tls_username("carol")',
      `h.set_tls_psk_file("${credentials.path('keys.psk')}")`,
      `h.connect_tcp("localhost", "${host.split(':')[1]}")`,
      'h.set_export_name("disk")',
      'h.opt_go()',
      'h.pwrite(b"x" * 4096, 0)',
      'print(h.get_tls_negotiated(), h.get_size(), h.pread(4096, 0) == b"x" * 4096)',
      'h.shutdown()',
    );
    expect(said.trim()).toBe('True 16777216 True');
  });

  it('is told TLS_REQD by a server that requires it', async () => {
    const host = await serve(...TLS);
    const said = await shell(
      'h.set_opt_mode(True)',
      'h.set_tls(nbd.TLS_DISABLE)',
      `h.connect_tcp("localhost", "${host.split(':')[1]}")`,
      'h.set_export_name("disk")',
      'try:',
      '    h.opt_go()',
      'except nbd.Error as error:',
      '    print(error.errno)',
    );
    expect(said.trim()).toMatch(/ENOTSUP|EPERM|EOPNOTSUPP/);
  });
});

describe.skipIf(!hasNbdClient)('nbd-client', () => {
  it('lists the exports by certificate', async () => {
    const host = await serve(...TLS);
    const said = await mustRun(
      'nbd-client',
      ...['-l', 'localhost', '-p', host.split(':')[1] ?? '', '-tlshostname', 'localhost'],
      ...['-certfile', `${alice}/client-cert.pem`, '-keyfile', `${alice}/client-key.pem`],
      ...['-cacertfile', `${alice}/ca-cert.pem`],
    );
    expect(said).toMatch(/^disk$/m);
  });
});
