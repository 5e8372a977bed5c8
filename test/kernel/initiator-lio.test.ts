/** Our initiator on the host, and Linux's own iSER target (LIO, ib_isert, siw) in the guest. */
import { writeFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { iserNbd } from '../interop/program.js';
import { MIB, fioVerify, qemuIo, roundTrip } from './host-tools.js';
import { LioTarget } from './lab/lio.js';
import { addSoftIwarp, rdmaResources } from './lab/soft-iwarp.js';
import { describeWithGuest } from './suite.js';

const INITIATOR = 'iqn.2026-11.io.example.lab:host';
const SECRET = 'correct-horse-battery';
const MUTUAL_SECRET = 'staple-of-the-target';
const QUIETLY = ['--log-level', 'silent'];
const RAMDISK = 0;
const FILE = 1;
const SIZES = [64 * MIB, 64 * MIB] as const;

describeWithGuest(
  'our initiator and LIO over soft-iWARP',
  () => ({}),
  (suite) => {
    let lio: LioTarget;
    /** For counting sessions: nothing else logs in here. */
    let counted: LioTarget;
    let oneWay: LioTarget;
    let mutual: LioTarget;

    beforeAll(async () => {
      const { guest, files } = suite;
      await addSoftIwarp(guest);
      lio = await LioTarget.create(guest, {
        name: 'iqn.2026-11.io.example.lab:open',
        luns: [
          { kind: 'ramdisk', mib: 64 },
          { kind: 'file', mib: 64 },
        ],
      });
      counted = await LioTarget.create(guest, {
        name: 'iqn.2026-11.io.example.lab:counted',
        luns: [{ kind: 'ramdisk', mib: 8 }],
      });
      oneWay = await LioTarget.create(guest, {
        name: 'iqn.2026-11.io.example.lab:one-way',
        luns: [{ kind: 'ramdisk', mib: 8 }],
        only: { initiator: INITIATOR, chap: { user: 'host', secret: SECRET } },
      });
      mutual = await LioTarget.create(guest, {
        name: 'iqn.2026-11.io.example.lab:mutual',
        luns: [{ kind: 'ramdisk', mib: 8 }],
        only: {
          initiator: INITIATOR,
          chap: {
            user: 'host',
            secret: SECRET,
            mutualUser: 'target',
            mutualSecret: MUTUAL_SECRET,
          },
        },
      });
      writeFileSync(files.path('secret'), `${SECRET}\n`);
      writeFileSync(files.path('mutual'), `${MUTUAL_SECRET}\n`);
      writeFileSync(files.path('wrong'), 'not-the-right-secret\n');
    }, 60_000);

    async function serve(url: string, ...args: string[]): Promise<string> {
      const [uri = ''] = await suite.start(
        ['serve', '--listen', '127.0.0.1:0', '--export', `lun=${url}`, ...args],
        1,
      );
      return uri;
    }

    async function noSessionsLeft(target: LioTarget): Promise<void> {
      await suite.guest.until(
        () => target.sessionCount(),
        (count) => count === 0,
      );
    }

    it('discovers its targets', async () => {
      const portal = lio.url(0).replace(/\/iqn.*/, '');
      const found = await iserNbd(['discover', portal, '--json']);
      expect(found).toMatchObject({ status: 0, stderr: '' });
      const names = (JSON.parse(found.stdout) as { name: string }[]).map(({ name }) => name);
      expect(names).toContain(lio.name);
    });

    it.each([
      ['ramdisk', RAMDISK, 'RAMDISK-MCP', false],
      ['file', FILE, 'FILEIO', true],
    ] as const)('describes the %s LUN', async (_kind, lun, product, unmap) => {
      const { status, stdout, stderr } = await iserNbd(['info', lio.url(lun), '--json']);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(JSON.parse(stdout)).toMatchObject({
        identity: { vendor: 'LIO-ORG', product },
        capacity: { sizeBytes: SIZES[lun], blockBytes: 512 },
        access: { readOnly: false },
        provisioning: { thin: unmap },
      });
    });

    describe.each([
      ['ramdisk', RAMDISK],
      ['file', FILE],
    ] as const)('the %s LUN', (_kind, lun) => {
      it('gives back what nbdcopy put in', async () => {
        await roundTrip(await serve(lio.url(lun)), suite.files.path, 32 * MIB);
      });

      it('passes fio verify at queue depth 32, from 512 bytes to 4 MiB', async () => {
        const uri = await serve(lio.url(lun));
        await fioVerify(uri, '--bsrange=512-4M', '--blockalign=512', '--iodepth=32', '--size=64M');
      });

      it('passes fio verify with mixed small reads and writes', async () => {
        const uri = await serve(lio.url(lun));
        await fioVerify(uri, '--rw=randrw', '--bs=4k', '--iodepth=32', '--size=16M');
      });
    });

    it('frees space in the file on TRIM and WRITE_ZEROES, and reads zeroes there', async () => {
      const uri = await serve(lio.url(FILE));
      await qemuIo(uri, 'write -P 0xa5 0 32M', 'flush');
      const full = await lio.allocatedBytes(FILE);
      await qemuIo(uri, 'discard 0 16M', 'flush', 'read -P 0xa5 16M 16M');
      const trimmed = await lio.allocatedBytes(FILE);
      expect(full - trimmed).toBeGreaterThanOrEqual(15 * MIB);
      await qemuIo(uri, 'write -zu 16M 16M', 'flush', 'read -P 0 16M 16M');
      expect(trimmed - (await lio.allocatedBytes(FILE))).toBeGreaterThanOrEqual(15 * MIB);
    });

    it('writes zeroes that keep their space, at any alignment', async () => {
      const uri = await serve(lio.url(FILE));
      await qemuIo(
        uri,
        ...['write -P 0x5a 0 2M', 'write -z 512 1M', 'read -P 0x5a 0 512', 'read -P 0 512 1M'],
        ...['write -z 1536k 1000', 'read -P 0 1536k 1000', 'read -P 0x5a 1573864 4096'],
      );
    });

    it('keeps more commands in flight than the target allows, and loses none', async () => {
      const uri = await serve(lio.url(RAMDISK));
      await fioVerify(
        uri,
        ...['--numjobs=4', '--iodepth=64', '--bs=4k', '--size=8M', '--offset_increment=8M'],
        '--group_reporting',
      );
    });

    it.each([1400, 4096, 24_576, 65_500])('works with FPDUs of %i bytes', async (bytes) => {
      const uri = await serve(lio.url(RAMDISK, `?fpdu=${bytes}`));
      await roundTrip(uri, suite.files.path, 16 * MIB);
    });

    // Only as much in flight as TCP's window takes: siw finds false CRC errors where TCP cuts an FPDU's last four bytes.
    it.each([1400, 24_576])('works with CRCs, FPDUs of %i bytes', async (bytes) => {
      const uri = await serve(lio.url(RAMDISK, `?crc=on&fpdu=${bytes}`));
      await fioVerify(uri, '--bsrange=512-32k', '--blockalign=512', '--iodepth=1', '--size=4M');
    });

    it('works where TCP cuts at offsets that are no multiple of four', async () => {
      await suite.guest.must('ip', 'link', 'set', 'eth0', 'mtu', '1450');
      try {
        const uri = await serve(lio.url(RAMDISK));
        await roundTrip(uri, suite.files.path, 16 * MIB);
        await fioVerify(uri, '--bsrange=512-1M', '--blockalign=512', '--iodepth=32', '--size=16M');
      } finally {
        await suite.stopPrograms();
        await suite.guest.must('ip', 'link', 'set', 'eth0', 'mtu', '1500');
      }
    });

    describe('with an access list', () => {
      const asHost = ['--initiator-name', INITIATOR];
      const secret = () => [
        '--chap-user',
        'host',
        '--chap-secret-file',
        suite.files.path('secret'),
      ];
      const mutualSecret = (file: string) => [
        ...['--mutual-chap-user', 'target'],
        ...['--mutual-chap-secret-file', suite.files.path(file)],
      ];

      it('proves itself with CHAP', async () => {
        const uri = await serve(oneWay.url(0), ...asHost, ...secret());
        await roundTrip(uri, suite.files.path, 8 * MIB);
      });

      it('has the target prove itself too', async () => {
        const uri = await serve(mutual.url(0), ...asHost, ...secret(), ...mutualSecret('mutual'));
        await roundTrip(uri, suite.files.path, 8 * MIB);
      });

      // LIO may close before its answer has left, and then only that can be said.
      const CLOSED = 'lost during login: the target at \\S+ closed the connection';

      it.each<[string, () => string[], string]>([
        ['no secret', () => [oneWay.url(0), ...asHost], 'CHAP|authenticat'],
        [
          'the wrong secret',
          () => [
            ...[oneWay.url(0), ...asHost, '--chap-user', 'host'],
            ...['--chap-secret-file', suite.files.path('wrong')],
          ],
          'authenticat',
        ],
        [
          'a name that is not on the list',
          () => [oneWay.url(0), '--initiator-name', `${INITIATOR}-not`, ...secret()],
          'may not use this target',
        ],
        [
          'a target that proves itself with another secret',
          () => [mutual.url(0), ...asHost, ...secret(), ...mutualSecret('wrong')],
          'target.*(prove|secret)',
        ],
        [
          'a target that is not there',
          () => [lio.url(0).replace(':open', ':other')],
          'not in service|not found',
        ],
      ])('says in one line what is wrong: %s', async (_what, args, words) => {
        suite.kernelMaySay(
          /negotiation failed|value list|not authorized|Unable to locate/,
          /isert: .*(QP fatal error|login send failure)/,
        );
        const { status, stdout, stderr } = await iserNbd(['info', ...args(), ...QUIETLY]);
        expect(stderr).toMatch(new RegExp(`^iser-nbd: .*(${words}|${CLOSED})`, 'i'));
        expect(stderr.trimEnd().split('\n')).toHaveLength(1);
        expect(stderr).not.toMatch(/correct-horse|staple|not-the-right/);
        expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
      });
    });

    it('logs in and out twenty times without leaving anything behind', async () => {
      const before = await rdmaResources(suite.guest);
      for (let session = 0; session < 20; session++) {
        const { status, stderr } = await iserNbd(['info', counted.url(0)]);
        expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      }
      await noSessionsLeft(counted);
      const after = await suite.guest.until(
        () => rdmaResources(suite.guest),
        ({ queuePairs }) => queuePairs === before.queuePairs,
      );
      expect(after.connections).toBe(before.connections);
    });
  },
);
