/** libnbd's shell with its own checks off, so that it sends what no client should. */
import { spawnSync } from 'node:child_process';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RELEASES } from './clients.js';
import type { Clients } from './clients.js';
import { Program, temporaryFolder } from './program.js';

const folder = temporaryFolder();
let server: Program;
let uri: string;

beforeAll(async () => {
  const socket = folder.path('nbd.sock');
  server = await Program.start(['serve', '--unix', socket, '--export', 'thin=memory:128M'], 1);
  uri = `nbd+unix:///thin?socket=${socket}`;
});

afterAll(async () => {
  await server?.stop();
  folder.remove();
});

function haveLibnbd(clients: Clients): boolean {
  if (!clients.have('nbdsh', 'python3')) return false;
  const args = ['-c', 'import nbd'];
  const isThere = spawnSync(clients.path('python3'), args, { stdio: 'ignore' }).status === 0;
  if (!isThere) console.warn(`skipped: nbdsh, ${clients.label} (not installed: python3-libnbd)`);
  return isThere;
}

const PRELUDE = `
import json, nbd
K, M = 1 << 10, 1 << 20
def err(f, *args):
    try:
        f(*args)
    except nbd.Error as e:
        return e.errno
    return None
def connect(structured=True, meta=True, extended=None):
    h = nbd.NBD()
    h.set_strict_mode(0)
    h.set_request_structured_replies(structured)
    # Extended headers take precedence where libnbd knows them.
    if hasattr(h, "set_request_extended_headers"):
        h.set_request_extended_headers(structured if extended is None else extended)
    if meta:
        h.add_meta_context("base:allocation")
    h.connect_uri(URI)
    return h
def extents(h, length, offset, flags=0):
    found = []
    h.block_status(length, offset, lambda name, at, entries, e: found.append([name, at, entries]), flags)
    return found
def chunks(h, length, offset, flags=0):
    found = []
    h.pread_structured(length, offset, lambda buf, at, kind, e: found.append([at, len(buf), kind]), flags)
    return sorted(found)
`;

/** What runs a script, which prints one line of JSON. */
const shellOf =
  (clients: Clients) =>
  async (script: string): Promise<unknown> => {
    const program = `URI = ${JSON.stringify(uri)}\n${PRELUDE}\n${script}`;
    return JSON.parse(await clients.run('python3', '-c', program));
  };

describe.each(RELEASES)('libnbd $label', (clients) => {
  const shell = shellOf(clients);

  describe.runIf(haveLibnbd(clients))('libnbd without its own checks', () => {
    it('negotiates what it asks for, and nothing else', async () => {
      const said = await shell(`
out = []
for structured, meta in ((True, True), (True, False), (False, False)):
    h = connect(structured, meta)
    out.append([h.get_structured_replies_negotiated(), h.can_df(), h.can_meta_context("base:allocation")])
    h.shutdown()
print(json.dumps(out))`);
      expect(said).toEqual([
        [true, true, true],
        [true, true, false],
        [false, false, false],
      ]);
    });

    it.each(['True', 'False'])(
      'gets the right error past the end, structured: %s',
      async (style) => {
        const said = await shell(`
h = connect(${style})
size = h.get_size()
w = b"x" * 512
print(json.dumps([err(h.pread, 512, size), err(h.pwrite, w, size - 1), err(h.zero, 512, size),
    err(h.trim, 512, size), err(h.cache, 512, size), err(h.pread, 512, 0)]))`);
        expect(said).toEqual(['EINVAL', 'ENOSPC', 'ENOSPC', 'EINVAL', 'EINVAL', null]);
      },
    );

    it('gets EINVAL for flags that are unknown or another command’s, and none for FUA', async () => {
      const said = await shell(`
h = connect()
w = b"x" * 512
print(json.dumps([err(h.pread, 512, 0, 0x8000), err(h.pread, 512, 0, nbd.CMD_FLAG_REQ_ONE),
    err(h.pwrite, w, 0, nbd.CMD_FLAG_DF), err(h.trim, 512, 0, nbd.CMD_FLAG_NO_HOLE),
    err(h.flush, nbd.CMD_FLAG_FUA), err(h.pread, 512, 0, nbd.CMD_FLAG_FUA),
    err(h.cache, 512, 0, nbd.CMD_FLAG_FUA), err(h.trim, 512, 0, nbd.CMD_FLAG_FUA)]))`);
      expect(said).toEqual(['EINVAL', 'EINVAL', 'EINVAL', 'EINVAL', null, null, null, null]);
    });

    it('stays connected through requests of no length', async () => {
      const said = await shell(`
h = connect()
print(json.dumps([err(h.pread, 0, 0), err(h.pwrite, b"", 0), err(h.trim, 0, 0), err(h.zero, 0, 0),
    err(h.cache, 0, 0), err(h.block_status, 0, 0, lambda *a: 0), err(h.pread, 512, 0)]))`);
      expect(said).toEqual([null, null, null, null, null, 'EINVAL', null]);
    });

    it('may read more than the maximum payload in chunks, not in one fragment, and not without', async () => {
      const said = await shell(`
h, plain = connect(), connect(False, False)
DF = nbd.CMD_FLAG_DF
print(json.dumps([err(h.pread, 48 * M, 0), err(h.pread, 32 * M, 0, DF), err(h.pread, 33 * M, 0, DF),
    err(plain.pread, 33 * M, 0), err(plain.pread, 32 * M, 0), err(h.pread, 512, 0, DF)]))`);
      expect(said).toEqual([null, null, 'EOVERFLOW', 'EINVAL', null, null]);
    });

    it('stays in step behind a write that is too long', async () => {
      const said = await shell(`
h = connect(extended=False)
h.pwrite(b"a" * 512, 0)
print(json.dumps([err(h.pwrite, b"y" * (33 * M), 0), h.pread(512, 0) == b"a" * 512]))`);
      expect(said).toEqual(['EINVAL', true]);
    });

    it('is told of holes in long reads, and reads short ones in one chunk', async () => {
      const said = await shell(`
h = connect()
h.zero(16 * M, 32 * M)
h.pwrite(b"z" * 512 * K, 36 * M)
DATA, HOLE = nbd.READ_DATA, nbd.READ_HOLE
got = chunks(h, 8 * M, 32 * M)
holes = [[at - 32 * M, n] for at, n, kind in got if kind == HOLE]
data = sum(n for at, n, kind in got if kind == DATA)
one = chunks(h, 8 * M, 32 * M, nbd.CMD_FLAG_DF)
short = chunks(h, 4096, 32 * M)
print(json.dumps([holes, data, [[n, kind == DATA] for at, n, kind in one], short[0][1], len(short)]))`);
      const [K, M] = [1024, 1024 * 1024];
      expect(said).toEqual([
        [
          [0, 4 * M],
          [4 * M + 512 * K, 3 * M + 512 * K],
        ],
        512 * K,
        [[8 * M, true]],
        4096,
        1,
      ]);
    });

    it('gets extents that are joined, cut to one, and follow writes, zeroes and trims', async () => {
      const said = await shell(`
h = connect()
h.trim(4 * M, 0)
h.pwrite(b"d" * M, M)
h.pwrite(b"d" * M, 2 * M)
before = extents(h, 4 * M, 0)
one = extents(h, 4 * M, M, nbd.CMD_FLAG_REQ_ONE)
h.zero(M, M)
h.zero(M, 2 * M, nbd.CMD_FLAG_NO_HOLE)
print(json.dumps([before, one, extents(h, 4 * M, 0)]))`);
      const M = 1024 * 1024;
      expect(said).toEqual([
        [['base:allocation', 0, [M, 3, 2 * M, 0, M, 3]]],
        [['base:allocation', M, [2 * M, 0]]],
        [['base:allocation', 0, [2 * M, 3, M, 0, M, 3]]],
      ]);
    });

    it('is refused extents without a context, and without structured replies', async () => {
      const said = await shell(`
ask = lambda h: err(h.block_status, 512, 0, lambda *a: 0)
print(json.dumps([ask(connect(True, False)), ask(connect(False, False))]))`);
      expect(said).toEqual(['EINVAL', 'EINVAL']);
    });

    it('writes zeroes fast, into a hole or not, on stable storage', async () => {
      const said = await shell(`
h = connect()
F, N, U = nbd.CMD_FLAG_FAST_ZERO, nbd.CMD_FLAG_NO_HOLE, nbd.CMD_FLAG_FUA
h.pwrite(b"f" * M, 0)
r = [err(h.zero, M // 2, 0, F), err(h.zero, M // 2, M // 2, F | N | U)]
print(json.dumps([r, h.pread(M, 0) == bytes(M)]))`);
      expect(said).toEqual([[null, null], true]);
    });

    it('lists and selects contexts by query', async () => {
      const said = await shell(`
out = []
for query in (None, "base:", "base:allocation", "base:nope", "qemu:", "x-own:thing"):
    h = nbd.NBD()
    h.set_opt_mode(True)
    h.connect_uri(URI)
    if query is not None:
        h.add_meta_context(query)
    found = []
    h.opt_list_meta_context(lambda name: found.append(name))
    out.append(found)
    h.opt_abort()
print(json.dumps(out))`);
      const all = ['base:allocation'];
      expect(said).toEqual([all, all, all, [], [], []]);
    });

    it('goes on with another export after one that does not exist', async () => {
      const said = await shell(`
h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(URI)
h.set_export_name("nope")
first = err(h.opt_go)
h.set_export_name("thin")
h.opt_info()
h.opt_go()
print(json.dumps([first, h.get_size()]))`);
      expect(said).toEqual(['ENOENT', 128 * 1024 * 1024]);
    });

    it('sees on one connection what another wrote and flushed', async () => {
      const said = await shell(`
a, b = connect(), connect()
out = []
for i in range(50):
    a.pwrite(bytes([i]) * 4096, i * 4096)
    b.flush()
    out.append(b.pread(4096, i * 4096) == bytes([i]) * 4096)
print(json.dumps(all(out)))`);
      expect(said).toBe(true);
    });
  });
});
