/** From the kernel's nbd driver to a target and back: Linux or us at either end, and our gateway between them. */
import { beforeAll, describe, expect, it } from 'vitest';
import { CHECK, MOUNT_POINT, makeFileSystem, mountPartition, partition } from './file-systems.js';
import { describeTree, writeTree } from './lab/file-tree.js';
import { LioTarget } from './lab/lio.js';
import { NbdDevice, loadNbd } from './lab/nbd-device.js';
import { addSoftIwarp } from './lab/soft-iwarp.js';
import { describeWithGuest } from './suite.js';

describeWithGuest(
  'the whole loop',
  () => ({ memoryMib: 2048 }),
  (suite) => {
    let lio: LioTarget;

    beforeAll(async () => {
      await loadNbd(suite.guest);
      await addSoftIwarp(suite.guest);
      lio = await LioTarget.create(suite.guest, {
        name: 'iqn.2026-11.io.example.lab:loop',
        luns: [{ kind: 'file', mib: 512 }],
      });
    }, 60_000);

    async function ours(): Promise<string> {
      const lun = `file:${suite.files.path('loop.img')}:512M`;
      const [url = ''] = await suite.start(['target', '--listen', '127.0.0.1:0', '--lun', lun], 1);
      return url;
    }

    async function serve(url: string): Promise<string> {
      const [uri = ''] = await suite.start(
        ['serve', '--listen', '127.0.0.1:0', '--export', `loop=${url}`],
        1,
      );
      return uri;
    }

    describe.each([
      ['our target', ours],
      ['LIO', () => Promise.resolve(lio.url(0))],
    ] as const)('kernel nbd, our gateway, %s', (_backend, url) => {
      it.each(['ext4', 'xfs'] as const)('keeps a tree of files on %s', async (fileSystem) => {
        const { guest } = suite;
        const first = await NbdDevice.attach(guest, await serve(await url()), { connections: 4 });
        const disk = await partition(guest, first.path);
        await makeFileSystem(guest, fileSystem, disk);
        await mountPartition(guest, disk);
        await writeTree(guest, MOUNT_POINT);
        const written = await describeTree(guest, MOUNT_POINT);
        await guest.must('umount', MOUNT_POINT);
        await first.detach();
        // A new gateway and, where it is ours, a new target: nothing may live only in a process.
        await suite.stopPrograms();

        const again = await NbdDevice.attach(guest, await serve(await url()), { connections: 4 });
        await mountPartition(guest, disk);
        expect(await describeTree(guest, MOUNT_POINT)).toBe(written);
        await guest.must('umount', MOUNT_POINT);
        await guest.must(...CHECK[fileSystem], disk);
        await again.detach();
      });
    });
  },
);
