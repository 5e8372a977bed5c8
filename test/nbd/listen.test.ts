import { fork } from 'node:child_process';
import { once } from 'node:events';
import { access, stat, writeFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError } from '../../src/common/errors.js';
import { parseListenAddress } from '../../src/common/listen-address.js';
import type { NbdAddress } from '../../src/nbd/socket.js';
import { CMD } from '../support/nbd/client.js';
import { NbdBed } from '../support/nbd/bed.js';

let bed: NbdBed;
let folder: string;

beforeEach(async () => {
  bed = new NbdBed();
  folder = await bed.folder();
});
afterEach(() => bed.dispose());

async function refusal(listening: Promise<unknown>): Promise<ConfigError> {
  const error: unknown = await listening.catch((reason: unknown) => reason);
  if (!(error instanceof ConfigError)) throw new Error(`no ConfigError but ${String(error)}`);
  return error;
}

/** Leaves a socket file that nobody serves, as a server that was killed does. */
async function leaveStaleSocket(path: string): Promise<void> {
  const script = join(folder, 'listen.cjs');
  const body = `require('net').createServer().listen(process.argv[2], () => process.send('up'));`;
  await writeFile(script, body);
  const child = fork(script, [path]);
  await once(child, 'message');
  child.kill('SIGKILL');
  await once(child, 'exit');
}

describe('listening', () => {
  it('on port 0 tells the port it got', async () => {
    const address = await bed.server.listen({ host: '127.0.0.1', port: 0 });
    expect(address).toMatchObject({ host: '127.0.0.1' });
    expect('port' in address ? address.port : 0).toBeGreaterThan(0);
  });

  it('on a port in use is refused in one sentence', async () => {
    const address = await bed.server.listen({ host: '127.0.0.1', port: 0 });
    const error = await refusal(bed.server.listen(address));
    expect(error.code).toBe('listen-in-use');
    expect(error.message).toMatch(/^another program listens on 127\.0\.0\.1:\d+; stop it/);
  });

  it('on a Unix socket that is served is refused', async () => {
    const path = join(folder, 'a.sock');
    await bed.server.listen({ path });
    const error = await refusal(bed.server.listen({ path }));
    expect(error.code).toBe('listen-in-use');
    expect(error.message).toBe(
      `another program serves on ${path}; stop it, or choose another path`,
    );
  });

  it('replaces a socket file that nobody serves any more', async () => {
    const path = join(folder, 'stale.sock');
    await leaveStaleSocket(path);
    const client = await bed.attach(await bed.server.listen({ path }));
    expect(await client.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('never replaces a file that is no socket', async () => {
    const path = join(folder, 'precious');
    await writeFile(path, 'data');
    const error = await refusal(bed.server.listen({ path }));
    expect(error.message).toBe(`${path} exists and is not a socket; choose another path`);
    await access(path);
  });

  it('where it cannot be done says why', async () => {
    await writeFile(join(folder, 'file'), '');
    const cases = [
      [{ path: join(folder, 'none', 'x.sock') }, /the directory .*none does not exist; make it/],
      [{ path: join(folder, 'file', 'x.sock') }, /file is not a directory/],
      [{ path: join(folder, 'x'.repeat(200)) }, /the path has 2\d\d bytes/],
      [{ host: '203.0.113.1', port: 0 }, /no such address/],
      [{ host: 'no.such.host.invalid', port: 0 }, /cannot listen on no\.such\.host\.invalid:0/],
    ] as const;
    for (const [address, expected] of cases) {
      expect((await refusal(bed.server.listen(address))).message).toMatch(expected);
    }
  });

  it('ends with the server, and takes the socket file with it', async () => {
    const path = join(folder, 'b.sock');
    await bed.server.listen({ path });
    await bed.server.close({ drainMs: 0 });
    await expect(access(path)).rejects.toThrow(/ENOENT/);
  });
});

const addresses = Object.values(networkInterfaces()).flatMap((found) => found ?? []);
const hasIpv6 = addresses.some(({ address }) => address === '::1');
const linkLocal = addresses.find(({ address }) => address.startsWith('fe80:'));
const scope = Object.entries(networkInterfaces()).find(([, found]) =>
  found?.some(({ address }) => address === linkLocal?.address),
)?.[0];

describe.skipIf(!hasIpv6)('listening on several addresses', () => {
  async function serveAll(...texts: string[]): Promise<readonly NbdAddress[]> {
    const bound = await bed.server.listenAll(texts.map(parseListenAddress));
    for (const address of bound) {
      const client = await bed.attach(address);
      expect(await client.call({ command: CMD.flush })).toMatchObject({ error: 0 });
    }
    return bound;
  }

  it('is possible on both wildcards, on one port', async () => {
    for (const asked of [['0.0.0.0:0', '[::]:0'], ['*:0']]) {
      const [ipv4, ipv6] = await serveAll(...asked);
      expect(ipv4).toMatchObject({ host: '0.0.0.0' });
      expect(ipv6).toEqual({ ...ipv4, host: '::' });
    }
  });

  it('is what localhost means', async () => {
    const [ipv4, ipv6] = await serveAll('localhost:0');
    expect(ipv4).toMatchObject({ host: '127.0.0.1' });
    expect(ipv6).toEqual({ ...ipv4, host: '::1' });
  });

  it('leaves none open when one is taken', async () => {
    const [taken] = await serveAll('[::1]:0');
    const port = taken !== undefined && 'port' in taken ? taken.port : 0;
    const both = bed.server.listenAll([parseListenAddress(`localhost:${port}`)]);
    expect((await refusal(both)).message).toMatch(/another program listens on \[::1\]/);
    await serveAll(`127.0.0.1:${port}`);
  });

  it.skipIf(scope === undefined)('takes an address with a scope', async () => {
    const host = `${linkLocal?.address ?? ''}%${scope ?? ''}`;
    const [bound] = await serveAll(`[${host}]:0`);
    expect(bound).toMatchObject({ host });
  });
});

describe('a Unix socket', () => {
  it('has the mode that was asked for, whatever the umask is', async () => {
    const path = join(folder, 'mode.sock');
    const usual = process.umask(0o077);
    await bed.server.listen({ path, mode: 0o660 }).finally(() => process.umask(usual));
    expect((await stat(path)).mode & 0o777).toBe(0o660);
    expect(process.umask()).toBe(usual);
    const client = await bed.attach({ path });
    expect(await client.call({ command: CMD.flush })).toMatchObject({ error: 0 });
  });

  it('belongs to whom it was given, or there is none', async () => {
    const path = join(folder, 'owner.sock');
    const [uid, gid] = [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
    await bed.server.listen({ path, owner: { uid, gid: -1 } });
    expect(await stat(path)).toMatchObject({ uid, gid });
    if (uid !== 0) {
      const other = join(folder, 'other.sock');
      const error = await refusal(bed.server.listen({ path: other, owner: { uid: 0, gid: 0 } }));
      expect(error.message).toMatch(/only root/);
      await expect(access(other)).rejects.toThrow(/ENOENT/);
    }
  });
});

describe('a socket that somebody else listens on', () => {
  it('that is none is refused', async () => {
    const error = await refusal(bed.server.listen({ fd: 9999, path: 'nothing#9999' }));
    expect(error.code).toBe('listen');
  });
});
