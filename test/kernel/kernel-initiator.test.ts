/** Linux's own iSER initiator (open-iscsi, ib_iser, siw) in the guest, and our target on the host. */
import { writeFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { CHECK, MOUNT_POINT, makeFileSystem, mountPartition, partition } from './file-systems.js';
import { discard, fioInGuest } from './guest-tools.js';
import { describeTree, writeTree } from './lab/file-tree.js';
import { HOST_SEEN_FROM_GUEST } from './lab/guest.js';
import { OpenIscsi } from './lab/open-iscsi.js';
import type { KernelTarget } from './lab/open-iscsi.js';
import { addSoftIwarp, rdmaResources } from './lab/soft-iwarp.js';
import { describeWithGuest } from './suite.js';

const NAME = 'iqn.2026-11.io.example:kernel';
const SECRET = 'correct-horse-battery';
const MUTUAL_SECRET = 'staple-of-the-target';

describeWithGuest(
  "Linux's ib_iser and our target",
  () => ({}),
  (suite) => {
    let initiator: OpenIscsi;

    beforeAll(async () => {
      await addSoftIwarp(suite.guest);
      initiator = await OpenIscsi.start(suite.guest);
      writeFileSync(suite.files.path('secret'), `${SECRET}\n`);
      writeFileSync(suite.files.path('mutual'), `${MUTUAL_SECRET}\n`);
    }, 60_000);

    // Before our target stops.
    afterEach(() => initiator.forgetAll());

    /** Starts our target; the guest reaches it under another address than the one it is bound to. */
    async function target(luns: readonly string[], ...args: string[]): Promise<KernelTarget> {
      const ready = await suite.start(
        [
          ...['target', '--listen', '127.0.0.1:0', '--name', NAME],
          ...luns.flatMap((lun) => ['--lun', lun]),
          ...args,
        ],
        luns.length,
      );
      const { port } = new URL((ready[0] ?? '').replace(/^iser:/, 'http:'));
      return { name: NAME, portal: `${HOST_SEEN_FROM_GUEST}:${port}` };
    }

    async function attach(luns: readonly string[], ...args: string[]) {
      const at = await target(luns, ...args);
      await initiator.add(at);
      return { at, disks: await initiator.login(at, luns.length) };
    }

    it('discovers the target over iSER', async () => {
      const at = await target(['memory:16M']);
      expect(await initiator.discover(at.portal)).toContain(NAME);
    });

    it('sees the LUNs that the target says it has', async () => {
      const { guest, files } = suite;
      const { at, disks } = await attach(['memory:64M', `file:${files.path('lun.img')}:128M`]);
      const [memory = '', file = ''] = disks;
      const sizes = await guest.must('lsblk', '--bytes', '--noheadings', '-o', 'SIZE', ...disks);
      expect(sizes.trim().split(/\s+/).map(Number)).toEqual([64 << 20, 128 << 20]);
      expect(await guest.must('sg_inq', memory)).toMatch(/Peripheral device type: disk/);
      for (const page of ['sv', 'di', 'bl', 'lbpv', 'bdc']) {
        expect(await guest.must('sg_vpd', `--page=${page}`, file)).not.toMatch(/malformed|error/i);
      }
      const capacity = await guest.must('sg_readcap', '--16', file);
      expect(capacity).toMatch(/Number of logical blocks=262144/);
      expect(capacity).toMatch(/lbpme=1, lbprz=1/);
      expect(await guest.must('sg_luns', memory)).toMatch(/Lun list length = 16/);
      expect(await guest.must('sg_modes', '--all', memory)).toMatch(/Caching/);
      await guest.must('sg_turs', memory);
      await initiator.logout(at);
    });

    it('verifies what fio wrote at queue depth 32, from 512 bytes to 4 MiB', async () => {
      const { at, disks } = await attach(['memory:64M']);
      await fioInGuest(suite.guest, disks[0] ?? '', '--bsrange=512-4M', '--blockalign=512');
      await fioInGuest(suite.guest, disks[0] ?? '', '--bs=4k', '--size=4M', '--rw=randrw');
      await initiator.logout(at);
    });

    it.each(['ext4', 'xfs'] as const)('keeps a tree of files on %s', async (fileSystem) => {
      const { guest, files } = suite;
      const { at, disks } = await attach([`file:${files.path(`${fileSystem}.img`)}:512M`]);
      const disk = await partition(guest, disks[0] ?? '');
      await makeFileSystem(guest, fileSystem, disk);
      await mountPartition(guest, disk);
      await writeTree(guest, MOUNT_POINT);
      const written = await describeTree(guest, MOUNT_POINT);
      await guest.must('umount', MOUNT_POINT);
      await initiator.logout(at);

      const again = `${(await initiator.login(at, 1))[0]}1`;
      await mountPartition(guest, again);
      expect(await describeTree(guest, MOUNT_POINT)).toBe(written);
      expect(await guest.must('fstrim', '-v', MOUNT_POINT)).toMatch(/[1-9]\d* bytes.* trimmed/);
      await guest.must('umount', MOUNT_POINT);
      await guest.must(...CHECK[fileSystem], again);
      await initiator.logout(at);
    });

    it('reads zeroes after blkdiscard', async () => {
      const { guest } = suite;
      const { at, disks } = await attach(['memory:16M']);
      for (const how of [['-f'], ['-f', '-z']]) await discard(guest, disks[0] ?? '', ...how);
      await initiator.logout(at);
    });

    it.each([
      ['the LUN', '--device'],
      ['the target', '--target'],
    ])('goes on after a reset of %s, also with I/O in flight', async (_what, which) => {
      const { guest } = suite;
      const { at, disks } = await attach(['memory:64M']);
      const [disk = ''] = disks;
      const work = fioInGuest(guest, disk, '--bs=64k');
      await guest.must('sg_reset', which, disk);
      await work;
      await guest.must('sg_reset', which, disk);
      await fioInGuest(guest, disk, '--bs=4k', '--size=2M');
      await initiator.logout(at);
    });

    it('logs in with CHAP, one way and mutual, and not with a wrong secret', async () => {
      suite.kernelMaySay(/connection\d+:0|iser|login/i);
      const { path } = suite.files;
      const at = await target(
        ['memory:16M'],
        ...['--chap-user', 'guest', '--chap-secret-file', path('secret')],
        ...['--mutual-chap-user', 'target', '--mutual-chap-secret-file', path('mutual')],
      );
      const chap = { user: 'guest', secret: SECRET };
      const proofs = [{ chap }, { chap, mutualChap: { user: 'target', secret: MUTUAL_SECRET } }];
      for (const proof of proofs) {
        const known = { ...at, ...proof };
        await initiator.add(known);
        expect(await initiator.login(known, 1)).toHaveLength(1);
        await initiator.logout(known);
      }
      const wrong = { ...at, chap: { user: 'guest', secret: 'not-the-right-secret' } };
      await initiator.add(wrong);
      const { status, stderr } = await initiator.tryLogin(wrong);
      expect(status).not.toBe(0);
      expect(stderr).toMatch(/authorization failure/);
    });

    it('logs in and out twenty times without leaving anything behind', async () => {
      const at = await target(['memory:16M']);
      await initiator.add(at);
      const before = await rdmaResources(suite.guest);
      for (let session = 0; session < 20; session++) {
        expect(await initiator.login(at, 1)).toHaveLength(1);
        await initiator.logout(at);
      }
      await suite.guest.until(
        () => rdmaResources(suite.guest),
        ({ queuePairs, connections }) =>
          queuePairs === before.queuePairs && connections === before.connections,
      );
    });

    it('serves two initiators on one LUN at once', async () => {
      const { guest } = suite;
      const at = await target(['memory:16M']);
      await initiator.addInterface('second', 'iqn.2026-11.io.example.lab:second');
      const other = { ...at, through: 'second' };
      await initiator.add(at);
      await initiator.add(other);
      const [first = ''] = await initiator.login(at, 1);
      const both = await initiator.login(other, 2);
      const second = both.find((disk) => disk !== first) ?? '';
      await Promise.all([
        fioInGuest(guest, first, '--bs=16k', '--size=8M'),
        fioInGuest(guest, second, '--bs=16k', '--size=8M', '--offset=8M'),
      ]);
      await guest.must('blockdev', '--flushbufs', first, second);
      await guest.must('cmp', '-n', String(16 << 20), first, second);
      await initiator.logout(at);
      await initiator.logout(other);
    });
  },
);
