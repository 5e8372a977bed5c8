/** The servers that are compared, and how each is brought up. */
import { existsSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { runToEnd, startChild, stopChild } from './children.js';
import type { Child } from './children.js';
import type { BenchOptions, SocketKind } from './options.js';

/** Where contestants run. */
export interface Bed {
  readonly options: BenchOptions;
  readonly socket: SocketKind;
  /** For sockets; removed after the run. */
  readonly folder: string;
  /** Our program. */
  readonly program: string;
}

export interface Contestant {
  readonly name: string;
  readonly title: string;
  readonly isOurs: boolean;
  start(bed: Bed): Promise<Running>;
}

export interface Running {
  readonly uri: string;
  /** Each process has a role in the report: `serve`, `target`, `nbdkit`, … */
  readonly children: readonly Child[];
  /** Memory that the process with this role holds because it keeps the LUN's bytes itself. */
  readonly lunIn: string | null;
  stop(): Promise<void>;
}

const TARGET_NAME = 'iqn.2026-11.io.example:bench';

export const CONTESTANTS: readonly Contestant[] = [
  { name: 'nbdkit', title: 'nbdkit memory', isOurs: false, start: startNbdkit },
  {
    name: 'qemu-tgt',
    title: 'qemu-nbd → libiscsi → tgtd',
    isOurs: false,
    start: startQemuOverTgt,
  },
  embedded('embedded', 'embedded', (bed) => bed.program),
  overIwarp('iwarp', 'over iWARP', 'off', (bed) => bed.program),
  overIwarp('iwarp-crc', 'over iWARP, CRC', 'on', (bed) => bed.program),
  overIwarp('iwarp-workers', 'over iWARP, two workers', 'off', (bed) => bed.program, [
    '--workers=2',
  ]),
  embedded('embedded-sleep', 'embedded, without polling', (bed) => bed.program, ['--poll-us=0']),
  embedded('base-embedded', 'embedded, baseline', baseline),
  overIwarp('base-iwarp', 'over iWARP, baseline', 'off', baseline),
];

/** The contestants that others are compared with. */
export const PEERS: readonly string[] = ['nbdkit', 'qemu-tgt', 'base-embedded', 'base-iwarp'];

export function selectContestants({ only, quick, baseline: base }: BenchOptions): Contestant[] {
  const usual = ['nbdkit', 'qemu-tgt', 'embedded', 'iwarp', ...(quick ? [] : ['iwarp-crc'])];
  const names = [...(only ?? usual), ...(base === null ? [] : ['base-embedded', 'base-iwarp'])];
  const unknown = names.find((name) => CONTESTANTS.every((known) => known.name !== name));
  if (unknown !== undefined) throw new Error(`--only ${unknown}: there is no such contestant`);
  const ofBaseline = (name: string) => only === null || only.includes(name.replace('base-', ''));
  return CONTESTANTS.filter(({ name }) => names.includes(name) && ofBaseline(name));
}

async function startNbdkit(bed: Bed): Promise<Running> {
  const { options } = bed;
  const where = await nbdAddress(bed, 'nbdkit');
  const listen = where.path === null ? ['-i', '127.0.0.1', '-p', where.port] : ['-U', where.path];
  const args = ['-f', ...listen, 'memory', `${options.lunMib}M`];
  const server = startChild('nbdkit', 'nbdkit', args, { cpus: options.serverCpus });
  await listening(where, server);
  return running(where.uri(''), [server], 'nbdkit');
}

/** The LUN of tgtd is a file in memory; qemu-nbd reaches it by libiscsi over TCP on loopback. */
async function startQemuOverTgt(bed: Bed): Promise<Running> {
  const { options } = bed;
  const file = `/dev/shm/iser-nbd-bench-${process.pid}`;
  writeFileSync(file, '');
  truncateSync(file, options.lunMib * 1024 * 1024);
  const port = await freePort();
  const control = String(1000 + (process.pid % 30_000));
  const portal = `portal=127.0.0.1:${port}`;
  const tgtd = startChild('tgtd', 'tgtd', ['-f', '-C', control, '--iscsi', portal], {
    cpus: options.targetCpus,
    // It does not heed SIGTERM while it has a target.
    stopSignal: 'SIGKILL',
  });
  const forget = (): void => {
    for (const suffix of ['', '.lock'])
      rmSync(`/var/run/tgtd/socket.${control}${suffix}`, { force: true });
    rmSync(file, { force: true });
  };
  process.once('exit', forget);
  const target = ['--op', 'new', '--mode', 'target', '--tid', '1', '-T', TARGET_NAME];
  const unit = ['--op', 'new', '--mode', 'logicalunit', '--tid', '1', '--lun', '1', '-b', file];
  const bind = ['--op', 'bind', '--mode', 'target', '--tid', '1', '-I', 'ALL'];
  for (const args of [target, unit, bind]) await tgtadm(control, args, tgtd);
  const where = await nbdAddress(bed, 'qemu');
  const listen = where.path === null ? ['-b', '127.0.0.1', '-p', where.port] : ['-k', where.path];
  const url = `iscsi://127.0.0.1:${port}/${TARGET_NAME}/1`;
  const qemu = startChild(
    'qemu-nbd',
    'qemu-nbd',
    ['-t', '-e', '128', '-f', 'raw', ...listen, url],
    {
      cpus: options.serverCpus,
    },
  );
  await listening(where, qemu);
  return running(where.uri(''), [qemu, tgtd], null);
}

/** The control socket comes up a moment after the process. */
async function tgtadm(control: string, args: readonly string[], tgtd: Child): Promise<void> {
  const all = ['-C', control, '--lld', 'iscsi', ...args];
  for (let attempt = 1; ; attempt++) {
    const { status, stderr } = await runToEnd('tgtadm', all, { cpus: null, timeoutMs: 5000 });
    if (status === 0) return;
    if (attempt === 40 || tgtd.hasEnded) throw new Error(`tgtadm: ${stderr} ${tgtd.output}`);
    await delay(100);
  }
}

function embedded(
  name: string,
  title: string,
  program: (bed: Bed) => string,
  more: readonly string[] = [],
): Contestant {
  const start = async (bed: Bed): Promise<Running> => {
    const serve = await startServe(bed, name, program(bed), `memory:${bed.options.lunMib}M`, more);
    return running(serve.uri, [serve.child], 'serve');
  };
  return { name, title, isOurs: !name.startsWith('base-'), start };
}

function overIwarp(
  name: string,
  title: string,
  crc: 'on' | 'off',
  program: (bed: Bed) => string,
  more: readonly string[] = [],
): Contestant {
  const start = async (bed: Bed): Promise<Running> => {
    const { lunMib, targetCpus, targetArgs } = bed.options;
    const args = ['target', '--listen', '127.0.0.1:0', '--lun', `memory:${lunMib}M`];
    const logging = ['--log-level', 'warn', ...targetArgs];
    const target = startNode(bed, 'target', program(bed), [...args, ...logging], targetCpus);
    const [, url = ''] = await target.printed(/ready (iser:\S+)/);
    const serve = await startServe(bed, name, program(bed), `${url}?crc=${crc}`, more);
    return running(serve.uri, [serve.child, target], 'target');
  };
  return { name, title, isOurs: !name.startsWith('base-'), start };
}

async function startServe(
  bed: Bed,
  name: string,
  program: string,
  url: string,
  more: readonly string[] = [],
) {
  const { serverCpus, serveArgs } = bed.options;
  const listen =
    bed.socket === 'tcp' ? ['--listen', '127.0.0.1:0'] : ['--unix', join(bed.folder, name)];
  const args = ['serve', '--log-level', 'warn', ...listen, '--export', `lab=${url}`, ...more];
  const child = startNode(bed, 'serve', program, [...args, ...serveArgs], serverCpus);
  const [, uri = ''] = await child.printed(/ready (nbd\S+)/);
  return { child, uri };
}

function startNode(
  { options }: Bed,
  role: string,
  program: string,
  args: readonly string[],
  cpus: string | null,
): Child {
  const profile =
    options.profile === null ? [] : ['--cpu-prof', `--cpu-prof-dir=${options.profile}`];
  const all = [...profile, ...options.nodeArgs, program, ...args];
  return startChild(role, process.execPath, all, { cpus });
}

function baseline({ options }: Bed): string {
  if (options.baseline === null) throw new Error('base-… contestants need --baseline');
  return options.baseline;
}

function running(uri: string, children: readonly Child[], lunIn: string | null): Running {
  const stop = async (): Promise<void> => {
    for (const child of children) await stopChild(child);
  };
  return { uri, children, lunIn, stop };
}

interface NbdAddress {
  readonly path: string | null;
  readonly port: string;
  uri(exportName: string): string;
}

async function nbdAddress(bed: Bed, name: string): Promise<NbdAddress> {
  if (bed.socket === 'unix') {
    const path = join(bed.folder, name);
    return { path, port: '', uri: (text) => `nbd+unix:///${text}?socket=${path}` };
  }
  const port = String(await freePort());
  return { path: null, port, uri: (text) => `nbd://127.0.0.1:${port}/${text}` };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Waits until the server accepts a connection. */
async function listening(where: NbdAddress, server: Child): Promise<void> {
  for (let attempt = 0; attempt < 200 && !server.hasEnded; attempt++) {
    if ((where.path === null || existsSync(where.path)) && (await accepts(where))) return;
    await delay(50);
  }
  throw new Error(`${server.role} did not come up: ${server.output}`);
}

function accepts({ path, port }: NbdAddress): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = path === null ? connect(Number(port), '127.0.0.1') : connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}
