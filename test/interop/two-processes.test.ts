import { randomFillSync } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { mustRunFio } from './fio.js';
import { Program, haveTools, iserNbd, mustRun, temporaryFolder } from './program.js';

const NAME = 'iqn.2026-11.io.example:lab';
const MIB = 1 << 20;
const SIZES = { ram: 256 * MIB, disk: 1024 * MIB };
const OVERLAP = ['--serialize_overlap=1', '--verify_backlog=32'];
const FIO_SECONDS = process.env['ISER_NBD_FIO_SECONDS'] ?? '8';

const folder = temporaryFolder();
let target: Program;
let gateway: Program;
let uris: Record<'ram' | 'disk', string>;

async function startTarget(listen: string): Promise<void> {
  const luns = ['--lun', 'memory:256M', '--lun', `file:${folder.path('disk.img')}:1G`];
  target = await Program.start(['target', '--listen', listen, '--name', NAME, ...luns], 2);
}

async function startGateway(): Promise<void> {
  const [ram = '', disk = ''] = target.ready;
  const exports = ['--export', `ram=${ram}`, '--export', `disk=${disk}`];
  gateway = await Program.start(['serve', '--listen', '127.0.0.1:0', ...exports], 2);
  uris = { ram: gateway.ready[0] ?? '', disk: gateway.ready[1] ?? '' };
}

beforeAll(async () => {
  await startTarget('127.0.0.1:0');
  await startGateway();
});

afterAll(async () => {
  await gateway?.stop();
  await target?.stop();
  folder.remove();
});

function randomFile(name: string, bytes: number): string {
  const path = folder.path(name);
  writeFileSync(path, randomFillSync(Buffer.allocUnsafe(bytes)));
  return path;
}

describe.each(['ram', 'disk'] as const)(
  'the %s export, gateway and target in two processes',
  (name) => {
    it.runIf(haveTools('nbdinfo', 'nbdinfo'))('is what nbdinfo sees', async () => {
      const size = await mustRun('nbdinfo', '--size', uris[name]);
      expect(Number(size)).toBe(SIZES[name]);
      for (const can of ['flush', 'fua', 'trim', 'zero', 'multi-conn', 'cache']) {
        expect(await mustRun('nbdinfo', '--can', can, uris[name]).then(() => can)).toBe(can);
      }
      const list = await mustRun('nbdinfo', '--list', uris[name].replace(/\/[^/]*$/, ''));
      expect(list).toContain('export="ram"');
      expect(list).toContain('export="disk"');
    });

    it.runIf(haveTools('nbdcopy round trip', 'nbdcopy', 'cmp'))(
      'gives back what nbdcopy put in',
      async () => {
        const image = randomFile('in.img', SIZES[name]);
        await mustRun('nbdcopy', image, uris[name]);
        await mustRun('nbdcopy', uris[name], folder.path('out.img'));
        await mustRun('cmp', image, folder.path('out.img'));
      },
    );

    it.runIf(haveTools('qemu-img compare', 'qemu-img'))('compares equal for qemu-img', async () => {
      const image = folder.path('compare.img');
      await mustRun('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uris[name], image);
      const said = await mustRun(
        'qemu-img',
        'compare',
        '-f',
        'raw',
        '-F',
        'raw',
        image,
        uris[name],
      );
      expect(said).toContain('identical');
    });

    it.runIf(haveTools('qemu-io', 'qemu-io'))(
      'takes qemu-io patterns, discard, zeroes and flush',
      async () => {
        const said = await mustRun(
          'qemu-io',
          ...['-f', 'raw', '-d', 'unmap'],
          ...['-c', 'write -P 0xab 0 1M', '-c', 'read -P 0xab 0 1M'],
          ...[
            '-c',
            'write -P 0xcd 512 512',
            '-c',
            'read -P 0xcd 512 512',
            '-c',
            'read -P 0xab 1024 64k',
          ],
          ...['-c', 'write -z 64k 64k', '-c', 'read -P 0 64k 64k'],
          ...['-c', 'write -zu 256k 64k', '-c', 'read -P 0 256k 64k'],
          ...['-c', 'discard 512k 256k', '-c', 'read -P 0 512k 256k'],
          ...['-c', 'write -f -P 0x11 3M 4k', '-c', 'flush', '-c', 'read -P 0x11 3M 4k'],
          ...[
            '-c',
            'write -P 0x22 5000 3001',
            '-c',
            'read -P 0x22 5000 3001',
            '-c',
            'read -P 0xab 2048 2952',
          ],
          uris[name],
        );
        expect(said).not.toMatch(/fail|error/i);
      },
    );

    // With fio's default of repeatable seeds: without, its second pass takes the first one's blocks for corrupt.
    it.runIf(haveTools('fio', 'fio'))('passes fio verify, random 4k at depth 32', async () => {
      await fio(name, '--rw=randrw', '--bs=4k', '--iodepth=32');
    });

    // Of blocks that overlap, fio can check only those that it wrote in a known order, and reads of its own choosing
    // not at all: so it writes, and reads back what it wrote, 32 writes later.
    it.runIf(haveTools('fio', 'fio'))(
      'passes fio verify, sizes from 512 bytes to 2 MiB',
      async () => {
        await fio(
          name,
          '--rw=randwrite',
          '--bsrange=512-2M',
          '--blockalign=512',
          '--iodepth=16',
          ...OVERLAP,
        );
      },
    );
  },
);

describe('the file LUN', () => {
  it.runIf(haveTools('nbdcopy', 'nbdcopy', 'cmp'))(
    'keeps its data when both processes restart',
    async () => {
      const image = randomFile('kept.img', 64 * MIB);
      await mustRun('nbdcopy', '--flush', image, uris.disk);
      const stopped = [await gateway.stop(), await target.stop()];
      expect(stopped.map(({ status }) => status)).toEqual([0, 0]);
      const head = readFileSync(folder.path('disk.img')).subarray(0, 64 * MIB);
      expect(head.equals(readFileSync(image))).toBe(true);
      await startTarget('127.0.0.1:0');
      await startGateway();
      await mustRun('nbdcopy', uris.disk, folder.path('after.img'));
      await mustRun('cmp', '-n', String(64 * MIB), image, folder.path('after.img'));
    },
  );
});

describe('the one-shot commands', () => {
  it('discover lists the target, for people and as JSON', async () => {
    const portal = (target.ready[0] ?? '').replace(/\/iqn.*/, '');
    const human = await iserNbd(['discover', portal]);
    expect(human).toMatchObject({ status: 0, stderr: '' });
    expect(human.stdout).toContain(NAME);
    const json = await iserNbd(['discover', portal, '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject([{ name: NAME }]);
  });

  it('info describes a LUN, for people and as JSON', async () => {
    const human = await iserNbd(['info', target.ready[1] ?? '']);
    expect(human).toMatchObject({ status: 0, stderr: '' });
    expect(human.stdout).toContain('1 GiB');
    const json = await iserNbd(['info', target.ready[1] ?? '', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ capacity: { sizeBytes: 1024 * MIB } });
  });
});

async function fio(name: 'ram' | 'disk', ...args: string[]): Promise<void> {
  const said = await mustRunFio(
    ...['--name=verify', '--ioengine=nbd', `--uri=${uris[name]}`, '--size=128M'],
    ...['--time_based', `--runtime=${FIO_SECONDS}`, '--verify=crc32c', '--verify_fatal=1', ...args],
  );
  expect(said).toMatch(/err= 0/);
}
