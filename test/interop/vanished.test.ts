/** Clients whose host goes without a word: no FIN, no RST. A network namespace is the server's machine. */
import { spawn, spawnSync } from 'node:child_process';
import type { ChildProcess, StdioOptions } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { CMD, NbdTestClient, request } from '../support/nbd/client.js';
import { Program, haveTools, mustRun, temporaryFolder } from './program.js';

const MIB = 1 << 20;
/** Addresses for benchmarks of networks (RFC 2544), which nobody routes. */
const [OURS, SERVERS] = ['198.18.77.1', '198.18.77.2'];
const [OUR_LINK, SERVERS_LINK] = [`nbdv${process.pid % 100_000}`, 'nbdv0'];
const can = haveTools('vanished clients', 'ip', 'nsenter') && hasNetworkNamespaces();
const folder = temporaryFolder();
const clients: NbdTestClient[] = [];
let program: Program | null = null;
/** The namespace is there for as long as this runs: it needs no mount, which would outlive a test that is killed. */
let keeper: ChildProcess | null = null;

function hasNetworkNamespaces(): boolean {
  const isIt = spawnSync('unshare', ['--net', 'true'], { stdio: 'ignore' }).status === 0;
  if (!isIt) console.warn('skipped: vanished clients (no right to make a network namespace)');
  return isIt;
}

/** Starts it; resolves when it is in its namespace. */
function startKeeper(): Promise<ChildProcess> {
  const stdio: StdioOptions = ['pipe', 'pipe', 'inherit'];
  const child = spawn('unshare', ['--net', 'sh', '-c', 'echo there; exec cat'], { stdio });
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', () => reject(new Error('the network namespace could not be made')));
    child.stdout?.once('data', () => resolve(child));
  });
}

const enterSpace = (): readonly string[] => ['nsenter', `--net=/proc/${keeper?.pid}/ns/net`];

const inSpace = (...command: string[]): Promise<string> => {
  const [name = '', ...args] = [...enterSpace(), ...command];
  return mustRun(name, ...args);
};

beforeAll(async () => {
  if (!can) return;
  keeper = await startKeeper();
  await mustRun(
    ...(['ip', 'link', 'add', OUR_LINK, 'type', 'veth', 'peer', 'name', SERVERS_LINK] as const),
    ...['netns', String(keeper.pid)],
  );
  await mustRun('ip', 'address', 'add', `${OURS}/30`, 'dev', OUR_LINK);
  await mustRun('ip', 'link', 'set', OUR_LINK, 'up');
  await inSpace('ip', 'address', 'add', `${SERVERS}/30`, 'dev', SERVERS_LINK);
  await inSpace('ip', 'link', 'set', SERVERS_LINK, 'up');
  const config = folder.path('config.yaml');
  writeFileSync(config, 'limits: {vanishedSeconds: 20}\nexports: [{name: a, url: "memory:16M"}]\n');
  const args = ['serve', '--config', config, '--listen', `${SERVERS}:0`];
  program = await Program.start(args, 1, {}, enterSpace());
});

afterAll(async () => {
  await program?.stop();
  for (const client of clients) await client.close();
  if (can) {
    // What is left of its connections goes with the namespace, and the link with its other end.
    keeper?.kill();
    spawnSync('ip', ['link', 'delete', OUR_LINK], { stdio: 'ignore' });
  }
  folder.remove();
});

async function attach(): Promise<NbdTestClient> {
  const port = Number(/:(\d+)\//.exec(program?.ready[0] ?? '')?.[1]);
  const client = await NbdTestClient.attach({ host: SERVERS, port }, 'a');
  clients.push(client);
  return client;
}

describe.runIf(can)('clients whose host is gone', () => {
  it('free their places: idle ones, and those that the server still sends to', async () => {
    const idle = await attach();
    const [busy, full] = [await attach(), await attach()];
    expect(await idle.call({ command: CMD.flush })).toMatchObject({ error: 0 });
    // One does not read, until it can take nothing more.
    full.socket.pause();
    for (let count = 0; count < 16; count++) {
      full.send(request({ command: CMD.read, length: MIB }));
    }
    // From here on, nothing that the server sends arrives.
    const nowhere = ['lladdr', '02:00:00:00:00:01', 'dev', SERVERS_LINK, 'nud', 'permanent'];
    await inSpace('ip', 'neighbour', 'replace', OURS, ...nowhere);
    busy.send(request({ command: CMD.read, length: 4096 }));
    const lost = () => program?.logged('connection lost');
    await vi.waitFor(() => expect(lost()).toHaveLength(3), { timeout: 60_000, interval: 200 });
    const given = program?.logged(/host does not answer/).map(({ conn }) => conn);
    expect(given).toEqual(expect.arrayContaining([2, 3]));
  });
});
