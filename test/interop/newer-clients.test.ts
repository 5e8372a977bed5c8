/** What clients do that are newer than Debian 12's: extended headers, as QEMU, libnbd and nbdkit speak them. */
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { randomFillSync } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { NEWER } from './clients.js';
import { Program, mustRun, temporaryFolder } from './program.js';

const MIB = 1 << 20;
const GIB = 1024 * MIB;
const SIZE = 64 * MIB;
const has = NEWER.have(
  'extended headers',
  ...['qemu-io', 'qemu-img', 'qemu-storage-daemon', 'nbdinfo', 'nbdcopy', 'nbdkit', 'python3'],
);

const folder = temporaryFolder();
let server: Program;
let socket: string;
let uri: string;
let hugeUri: string;
let helper: ChildProcess | null = null;

beforeAll(async () => {
  if (!has) return;
  socket = folder.path('nbd.sock');
  const exports = ['--export', 'disk=memory:64M', '--export', 'huge=memory:16G'];
  server = await Program.start(['serve', '--unix', socket, ...exports], 2);
  uri = `nbd+unix:///disk?socket=${socket}`;
  hugeUri = `nbd+unix:///huge?socket=${socket}`;
});

afterEach(async () => {
  const running = helper;
  helper = null;
  if (running === null || running.exitCode !== null) return;
  const gone = new Promise((resolve) => running.once('close', resolve));
  running.kill('SIGTERM');
  await gone;
});

afterAll(async () => {
  await server?.stop();
  folder.remove();
});

function qemuIo(where: string, ...commands: string[]): Promise<string> {
  const args = commands.flatMap((line) => ['-c', line]);
  return NEWER.run('qemu-io', '-f', 'raw', '-d', 'unmap', ...args, where);
}

/** Starts a program to talk to, which makes the socket `makes` when it is ready. */
async function start(name: string, args: readonly string[], makes: string): Promise<void> {
  helper = spawn(NEWER.path(name), args, { stdio: ['ignore', 'inherit', 'inherit'] });
  await vi.waitFor(() => expect(existsSync(makes)).toBe(true), 10_000);
}

const PRELUDE = `
import json, nbd
M, G = 1 << 20, 1 << 30
def err(f, *args):
    try:
        f(*args)
    except nbd.Error as e:
        return e.errno
    return None
def connect(uri, strict=0):
    h = nbd.NBD()
    h.set_strict_mode(strict)
    h.add_meta_context("base:allocation")
    h.connect_uri(uri)
    return h
`;

/** Runs a script in Debian 13's Python, which prints one line of JSON. */
async function libnbd(script: string): Promise<unknown> {
  const uris = `URI, HUGE = ${JSON.stringify(uri)}, ${JSON.stringify(hugeUri)}`;
  return JSON.parse(await NEWER.run('python3', '-c', `${uris}\n${PRELUDE}\n${script}`));
}

describe.runIf(has)('QEMU with extended headers', () => {
  it('agrees on them', async () => {
    expect(await NEWER.run('nbdinfo', uri)).toMatch(/using extended packets/);
  });

  it('writes, and what it writes is not taken for requests', async () => {
    await qemuIo(uri, 'write -P 0x41 0 4k');
    // An extended WRITE_ZEROES of 1 MiB at 0, as a guest's file may have it.
    const request = Buffer.alloc(32);
    request.writeUInt32BE(0x21e41c71);
    request.writeUInt16BE(6, 6);
    request.writeUInt32BE(MIB, 28);
    const payload = folder.path('payload');
    writeFileSync(payload, request);
    await qemuIo(uri, `write -s ${payload} 8M 32`, 'read -P 0x41 0 4k');
    const seen = await libnbd(`print(json.dumps(connect(URI).pread(32, 8 * M).hex()))`);
    expect(seen).toBe(request.toString('hex'));
  });

  it('is counted where its writes lack NBD_CMD_FLAG_PAYLOAD_LEN', async () => {
    process.kill(server.pid, 'SIGUSR2');
    await vi.waitFor(() => expect(server.logged('counters')).toHaveLength(1), 10_000);
    const counters = server.logged('counters')[0]?.['counters'] as Record<string, number>;
    expect(counters['nbd_unflagged_writes_total{export="disk"}']).toBeGreaterThan(0);
    expect(counters['nbd_errors_total{export="disk"}']).toBeUndefined();
  });

  it('writes at depth, with FUA, zeroes and discards between, and reads what it should', async () => {
    const writes = Array.from({ length: 64 }, (_, n) => `aio_write -q -P ${n + 1} ${n}M 1M`);
    const checks = Array.from({ length: 64 }, (_, n) => `read -P ${n + 1} ${n}M 1M`);
    const said = await qemuIo(uri, ...writes, 'aio_flush', ...checks);
    expect(said).not.toMatch(/fail|error/i);
    const mixed = [
      'write -f -P 0x77 512 3000',
      'read -P 0x77 512 3000',
      'write -z 1M 3M',
      'write -zu 5M 1M',
      'discard 7M 1M',
      'read -P 0 1M 3M',
      'read -P 0 5M 1M',
      'read -P 5 4M 1M',
      'flush',
    ];
    expect(await qemuIo(uri, ...mixed)).not.toMatch(/fail|error/i);
  });

  it('converts an image in over 16 requests at once, out of order, and finds it identical', async () => {
    const image = folder.path('image');
    writeFileSync(image, randomFillSync(Buffer.allocUnsafe(SIZE)));
    await NEWER.run(
      'qemu-img',
      'convert',
      '-n',
      '-W',
      '-m16',
      '-f',
      'raw',
      '-O',
      'raw',
      image,
      uri,
    );
    const said = await NEWER.run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri);
    expect(said).toContain('identical');
    const copy = folder.path('copy');
    await NEWER.run('nbdcopy', uri, copy);
    await mustRun('cmp', image, copy);
    await NEWER.run('qemu-img', 'bench', '-w', '-c', '2000', '-d', '64', '-f', 'raw', uri);
  });

  it('passes the export on: qemu-storage-daemon', async () => {
    const out = folder.path('qsd.sock');
    const args = [
      ...[
        '--blockdev',
        `driver=nbd,node-name=up,server.type=unix,server.path=${socket},export=disk`,
      ],
      ...['--nbd-server', `addr.type=unix,addr.path=${out}`],
      ...['--export', 'type=nbd,id=out,node-name=up,name=out,writable=on'],
    ];
    await start('qemu-storage-daemon', args, out);
    await roundTrip(`nbd+unix:///out?socket=${out}`);
  });
});

describe.runIf(has)('nbdkit’s nbd plugin', () => {
  it('passes the export on, over one connection for all and one for each', async () => {
    for (const shared of ['true', 'false']) {
      const out = folder.path(`nbdkit-${shared}.sock`);
      const plugin = NEWER.path('nbdkit-nbd-plugin.so');
      await start('nbdkit', ['-f', '-U', out, plugin, `uri=${uri}`, `shared=${shared}`], out);
      await roundTrip(`nbd+unix:///?socket=${out}`);
      const gone = new Promise((resolve) => helper?.once('close', resolve));
      helper?.kill('SIGTERM');
      await gone;
    }
  });
});

describe.runIf(has)('libnbd with extended headers, without its own checks', () => {
  it('sends requests above 4 GiB, and gets extents that long', async () => {
    const said = await libnbd(`
h = connect(HUGE)
h.pwrite(b"x" * M, 6 * G)
h.pwrite(b"y" * M, 15 * G)
found = []
h.block_status_64(16 * G, 0, lambda name, at, entries, e: found.extend(entries))
out = [[length, flags] for length, flags in found]
errors = [err(h.zero, 9 * G, G), err(h.trim, 5 * G, 11 * G), err(h.cache, 16 * G, 0)]
after = []
h.block_status_64(16 * G, 0, lambda name, at, entries, e: after.extend(entries))
print(json.dumps([out, errors, [[length, flags] for length, flags in after], h.pread(M, 6 * G) == bytes(M)]))`);
    expect(said).toEqual([
      [
        [6 * GIB, 3],
        [MIB, 0],
        [9 * GIB - MIB, 3],
        [MIB, 0],
        [GIB - MIB, 3],
      ],
      [null, null, null],
      [[16 * GIB, 3]],
      true,
    ]);
  });

  it('gets the right error for lengths that no disk has, and stays in step', async () => {
    const said = await libnbd(`
h = connect(HUGE)
E = 1 << 60
print(json.dumps([err(h.zero, E, 0), err(h.trim, E, 0), err(h.cache, E, 0), err(h.zero, 16 * G, 512),
    err(h.block_status_64, E, 0, lambda *a: 0), err(h.pread, 512, 0)]))`);
    expect(said).toEqual(['ENOSPC', 'EINVAL', 'EINVAL', 'ENOSPC', 'EINVAL', null]);
  });

  it('asks for extents of contexts that it names', async () => {
    const said = await libnbd(`
h = connect(HUGE)
found = []
h.block_status_filter(16 * G, 0, ["base:allocation"], lambda name, at, entries, e: found.append(name))
print(json.dumps([h.can_block_status_payload(), found]))`);
    expect(said).toEqual([true, ['base:allocation']]);
  });

  it('may leave NBD_CMD_FLAG_PAYLOAD_LEN out of writes, and must not add it to others', async () => {
    const said = await libnbd(`
h = connect(URI)
data = bytes(range(256)) * 2
r = [err(h.pwrite, data, 0), h.pread(512, 0) == data, err(h.pwrite, data, 512, nbd.CMD_FLAG_PAYLOAD_LEN)]
print(json.dumps(r + [h.pread(512, 512) == data, h.get_extended_headers_negotiated()]))`);
    expect(said).toEqual([null, true, null, true, true]);
  });

  it('is cut off behind a write that is longer than the maximum payload', async () => {
    const said = await libnbd(`
h = connect(URI)
before = h.pread(512, 0)
first = err(h.pwrite, b"y" * (33 * M), 0) is not None
print(json.dumps([first, h.aio_is_closed() or h.aio_is_dead(), connect(URI).pread(512, 0) == before]))`);
    expect(said).toEqual([true, true, true]);
  });
});

/** Random bytes in and out again, and zeroes. */
async function roundTrip(where: string): Promise<void> {
  const [image, copy] = [folder.path('in'), folder.path('out')];
  writeFileSync(image, randomFillSync(Buffer.allocUnsafe(SIZE)));
  await NEWER.run('nbdcopy', '--flush', image, where);
  await NEWER.run('nbdcopy', where, copy);
  await mustRun('cmp', image, copy);
  await qemuIo(where, 'write -z 1M 1M', 'discard 3M 1M', 'read -P 0 1M 1M', 'flush');
  await qemuIo(uri, 'read -P 0 1M 1M');
}
