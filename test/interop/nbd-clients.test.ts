/** What the common clients make of the features beyond plain reads and writes. */
import { randomFillSync } from 'node:crypto';
import { truncateSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RELEASES } from './clients.js';
import { Program, mustRun, temporaryFolder } from './program.js';

const MIB = 1 << 20;
const SIZE = 128 * MIB;
const DATA_BYTES = 20 * MIB;

describe.each(RELEASES)('with the clients $label', (clients) => {
  const folder = temporaryFolder();
  let server: Program;
  let uri: string;
  let readOnlyUri: string;
  let listUri: string;
  let image: string;

  beforeAll(async () => {
    const socket = folder.path('nbd.sock');
    const exports = ['--export', 'thin=memory:128M', '--export', 'other=memory:8M'];
    server = await Program.start(['serve', '--unix', socket, ...exports], 2);
    uri = `nbd+unix:///thin?socket=${socket}`;
    listUri = `nbd+unix:///?socket=${socket}`;
    const readOnly = folder.path('ro.sock');
    readOnlyUri = `nbd+unix:///?socket=${readOnly}`;
    image = folder.path('image');
    writeFileSync(image, randomFillSync(Buffer.allocUnsafe(DATA_BYTES)));
    truncateSync(image, SIZE);
  });

  afterAll(async () => {
    await server?.stop();
    folder.remove();
  });

  describe.runIf(clients.have('libnbd’s programs', 'nbdinfo', 'nbdcopy'))(
    'libnbd’s programs',
    () => {
      it('see structured replies and every ability', async () => {
        const json = JSON.parse(await clients.run('nbdinfo', '--json', uri)) as {
          structured: boolean;
          exports: Record<string, unknown>[];
        };
        expect(json).toMatchObject({ protocol: 'newstyle-fixed', structured: true });
        expect(json.exports[0]).toMatchObject({
          'export-name': 'thin',
          'export-size': SIZE,
          contexts: ['base:allocation'],
          is_read_only: false,
          can_cache: true,
          can_df: true,
          can_fast_zero: true,
          can_flush: true,
          can_fua: true,
          can_multi_conn: true,
          can_trim: true,
          can_zero: true,
          block_size_maximum: 32 * MIB,
        });
        const abilities = [
          'connect',
          'df',
          'fast-zero',
          'structured-reply',
          'write',
          'zero',
          'cache',
        ];
        for (const can of abilities) await clients.run('nbdinfo', '--can', can, uri);
        expect((await clients.try('nbdinfo', '--is', 'read-only', uri)).status).toBe(2);
        expect((await clients.try('nbdinfo', '--is', 'tls', uri)).status).toBe(2);
      });

      it('list both exports and their contexts', async () => {
        const list = await clients.run('nbdinfo', '--list', listUri);
        expect(list.match(/export="(thin|other)"/g)).toHaveLength(2);
        expect(list.match(/base:allocation/g)).toHaveLength(2);
      });

      it('map what is a hole, before and after a copy that keeps holes', async () => {
        expect((await clients.run('nbdinfo', '--map', uri)).trim().split(/\s+/)).toEqual(
          ['0', `${SIZE}`, '3', 'hole,zero'], // nothing was written yet
        );
        await clients.run('nbdcopy', image, uri);
        const totals = await clients.run('nbdinfo', '--map', '--totals', uri);
        expect(totals).toMatch(new RegExp(`^\\s*${DATA_BYTES}\\s.*data`, 'm'));
        expect(totals).toMatch(new RegExp(`^\\s*${SIZE - DATA_BYTES}\\s.*hole,zero`, 'm'));
      });

      it.each([
        ['as it likes', []],
        ['over four connections', ['--connections=4', '--requests=16']],
        ['without asking for extents', ['--no-extents']],
        ['in requests of 32 MiB', ['--request-size=33554432', '--connections=1']],
        ['synchronously, in requests of 64 KiB', ['--synchronous', '--request-size=65536']],
      ])('copy the export %s', async (_how, options) => {
        const copy = folder.path('copy');
        await clients.run('nbdcopy', ...options, uri, copy);
        await mustRun('cmp', image, copy);
      });
    },
  );

  describe.runIf(clients.have('QEMU’s programs', 'qemu-img', 'qemu-io', 'qemu-nbd'))(
    'QEMU’s programs',
    () => {
      it('map the export', async () => {
        const map = JSON.parse(
          await clients.run('qemu-img', 'map', '--output=json', uri),
        ) as object[];
        expect(map).toMatchObject([
          { start: 0, length: DATA_BYTES, zero: false, data: true },
          { start: DATA_BYTES, length: SIZE - DATA_BYTES, zero: true, data: false },
        ]);
      });

      it('convert it to qcow2 and back without touching the holes, and find it identical', async () => {
        const qcow2 = folder.path('image.qcow2');
        await clients.run('qemu-img', 'convert', '-f', 'raw', '-O', 'qcow2', uri, qcow2);
        const info = await clients.run('qemu-img', 'info', '--output=json', qcow2);
        const { 'actual-size': actualBytes } = JSON.parse(info) as { 'actual-size': number };
        expect(actualBytes).toBeLessThan(DATA_BYTES + 4 * MIB);
        await clients.run('qemu-io', '-f', 'raw', '-c', `write -zu 0 ${SIZE}`, uri);
        await clients.run('qemu-img', 'convert', '-n', '-f', 'qcow2', '-O', 'raw', qcow2, uri);
        const said = await clients.run('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', image, uri);
        expect(said).toContain('identical');
        expect(
          JSON.parse(await clients.run('qemu-img', 'map', '--output=json', uri)),
        ).toMatchObject([
          { start: 0, length: DATA_BYTES, zero: false },
          { start: DATA_BYTES, zero: true, data: false },
        ]);
      });

      it('list the exports', async () => {
        const list = await clients.run('qemu-nbd', '-L', '-k', folder.path('nbd.sock'));
        expect(list).toMatch(/exports available: 2/);
        expect(list).toMatch(/base:allocation/);
      });

      it('write zeroes with and without a hole, discard, and read what they should', async () => {
        const commands = [
          'write -P 0xab 0 4M',
          'write -z 64k 1M',
          'read -P 0 64k 1M',
          'write -zu 2M 1M',
          'read -P 0 2M 1M',
          'discard 3M 512k',
          'write -f -P 0x11 3584k 4k',
          'read -P 0x11 3584k 4k',
          'read -P 0xab 1088k 960k',
          'flush',
        ];
        const args = commands.flatMap((line) => ['-c', line]);
        expect(await clients.run('qemu-io', '-f', 'raw', '-d', 'unmap', ...args, uri)).not.toMatch(
          /fail|error/i,
        );
        const [first, second] = JSON.parse(
          await clients.run('qemu-img', 'map', '--output=json', uri),
        ) as {
          start: number;
          length: number;
          data: boolean;
        }[];
        // What may make no hole stays allocated; what may, becomes one, and so does what was discarded.
        expect(first).toMatchObject({ start: 0, length: 2 * MIB, data: true });
        expect(second).toMatchObject({ start: 2 * MIB, length: MIB + MIB / 2, data: false });
      });
    },
  );

  describe.runIf(clients.have('a read-only export', 'nbdinfo', 'qemu-io'))(
    'a read-only export',
    () => {
      it('says so, and takes no write', async () => {
        const socket = folder.path('ro.sock');
        const readOnly = await Program.start(
          ['serve', '--unix', socket, '--read-only', '--export', 'ro=memory:8M'],
          1,
        );
        try {
          await clients.run('nbdinfo', '--is', 'read-only', readOnlyUri);
          for (const can of ['write', 'trim', 'zero']) {
            expect((await clients.try('nbdinfo', '--can', can, readOnlyUri)).status).toBe(2);
          }
          const write = await clients.try('qemu-io', '-f', 'raw', '-c', 'write 0 4k', readOnlyUri);
          expect(write.status).not.toBe(0);
          await clients.run('qemu-io', '-r', '-f', 'raw', '-c', 'read -P 0 0 4k', readOnlyUri);
        } finally {
          await readOnly.stop();
        }
      });
    },
  );
});
