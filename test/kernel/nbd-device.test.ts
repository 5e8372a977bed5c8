/** The kernel's nbd driver in the guest, and our gateway on the host. */
import { beforeAll, expect, it } from 'vitest';
import { describeTree, writeTree } from './lab/file-tree.js';
import { LioTarget } from './lab/lio.js';
import { NbdDevice, loadNbd } from './lab/nbd-device.js';
import { addSoftIwarp } from './lab/soft-iwarp.js';
import { TargetTrace } from './lab/target-trace.js';
import { CHECK, MOUNT_POINT, makeFileSystem, mountPartition, partition } from './file-systems.js';
import { discard, expectZeroes, fioInGuest } from './guest-tools.js';
import { describeWithGuest } from './suite.js';

const SYNCHRONIZE_CACHE = [0x35, 0x91] as const;

describeWithGuest(
  '/dev/nbd0 of Linux',
  () => ({}),
  (suite) => {
    let lio: LioTarget;

    beforeAll(async () => {
      await loadNbd(suite.guest);
      await addSoftIwarp(suite.guest);
      lio = await LioTarget.create(suite.guest, {
        name: 'iqn.2026-11.io.example.lab:nbd',
        luns: [{ kind: 'file', mib: 256 }],
      });
    }, 60_000);

    async function serve(url: string, ...args: string[]): Promise<string> {
      const [uri = ''] = await suite.start(
        ['serve', '--listen', '127.0.0.1:0', '--export', `disk=${url}`, ...args],
        1,
      );
      return uri;
    }

    it('is as large as the LUN, and says what it can', async () => {
      const device = await NbdDevice.attach(suite.guest, await serve('memory:300M'));
      const queue = '/sys/block/nbd0/queue';
      expect(await device.sizeBytes()).toBe(300 << 20);
      expect(await suite.guest.read(`${queue}/write_cache`)).toBe('write back');
      expect(Number(await suite.guest.read(`${queue}/discard_max_bytes`))).toBeGreaterThan(0);
      expect(await suite.guest.read('/sys/block/nbd0/ro')).toBe('0');
      await device.detach();
    });

    it.each([
      ['ext4', 1],
      ['xfs', 4],
    ] as const)(
      'keeps a tree of files on %s, over %i connections',
      async (fileSystem, connections) => {
        const { guest } = suite;
        const uri = await serve('memory:512M');
        const first = await NbdDevice.attach(guest, uri, { connections });
        const disk = await partition(guest, first.path);
        await makeFileSystem(guest, fileSystem, disk);
        await mountPartition(guest, disk);
        await writeTree(guest, MOUNT_POINT);
        const written = await describeTree(guest, MOUNT_POINT);
        await guest.must('umount', MOUNT_POINT);
        await first.detach();

        const second = await NbdDevice.attach(guest, uri, { connections });
        await mountPartition(guest, disk);
        expect(await describeTree(guest, MOUNT_POINT)).toBe(written);
        expect(await guest.must('fstrim', '-v', MOUNT_POINT)).toMatch(/[1-9]\d* bytes.* trimmed/);
        expect(await describeTree(guest, MOUNT_POINT)).toBe(written);
        await guest.must('umount', MOUNT_POINT);
        await guest.must(...CHECK[fileSystem], disk);
        await second.detach();
      },
    );

    it.each([1, 4])('passes fio verify at queue depth 32, over %i connections', async (count) => {
      const uri = await serve('memory:128M');
      const device = await NbdDevice.attach(suite.guest, uri, { connections: count });
      await fioInGuest(suite.guest, device.path, '--bsrange=4k-1M', '--blockalign=4k');
      await device.detach();
    });

    it('takes 512-byte blocks when asked to', async () => {
      const uri = await serve('memory:128M');
      const device = await NbdDevice.attach(suite.guest, uri, { blockSize: 512 });
      await fioInGuest(suite.guest, device.path, '--bs=512', '--size=512k');
      await device.detach();
    });

    it('reads zeroes after blkdiscard', async () => {
      const { guest } = suite;
      const device = await NbdDevice.attach(guest, await serve('memory:16M'));
      for (const how of [['-f'], ['-f', '-z']]) await discard(guest, device.path, ...how);
      await device.detach();
    });

    it('refuses writes on a read-only export', async () => {
      const { guest } = suite;
      const device = await NbdDevice.attach(guest, await serve('memory:16M', '--read-only'));
      expect(await guest.read('/sys/block/nbd0/ro')).toBe('1');
      const write = await guest.run(['dd', 'if=/dev/zero', `of=${device.path}`, 'count=1']);
      expect(write.status).not.toBe(0);
      await expectZeroes(guest, device.path);
      await device.detach();
    });

    it('brings fsync to the LUN as SYNCHRONIZE CACHE', async () => {
      const { guest } = suite;
      const uri = await serve(lio.url(0));
      const device = await NbdDevice.attach(guest, uri);
      await makeFileSystem(guest, 'ext4', device.path);
      await mountPartition(guest, device.path);
      await guest.must('sync');
      const trace = await TargetTrace.of(guest, ...SYNCHRONIZE_CACHE);
      await guest.script('dd if=/dev/urandom of=$1/file bs=1M count=2 conv=fsync', MOUNT_POINT);
      expect(await trace.take()).toBeGreaterThan(0);
      await trace.stop();
      const inFile = await guest.must('sha256sum', `${MOUNT_POINT}/file`);
      await guest.must('umount', MOUNT_POINT);
      await device.detach();
      const again = await NbdDevice.attach(guest, uri);
      await mountPartition(guest, again.path);
      expect(await guest.must('sha256sum', `${MOUNT_POINT}/file`)).toBe(inFile);
      await guest.must('umount', MOUNT_POINT);
      await guest.must(...CHECK.ext4, again.path);
      await again.detach();
    });
  },
);
