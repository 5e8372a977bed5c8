/** Linux's ib_iser in the guest, as two machines, and our target on the host: reservations, and what tools ask for. */
import { existsSync, writeFileSync } from 'node:fs';
import { afterEach, beforeAll, expect, it } from 'vitest';
import { expectZeroes } from './guest-tools.js';
import { HOST_SEEN_FROM_GUEST } from './lab/guest.js';
import { OpenIscsi } from './lab/open-iscsi.js';
import type { KernelTarget } from './lab/open-iscsi.js';
import { addSoftIwarp } from './lab/soft-iwarp.js';
import { describeWithGuest } from './suite.js';

const NAME = 'iqn.2026-11.io.example:kernel';
const SECRET = 'correct-horse-battery';
/** Write exclusive, registrants only: what cluster managers take. */
const TYPE = '--prout-type=5';
/** What Linux says of a conflict; it flushes at every logout, which a reservation may not let it. */
const CONFLICT =
  /conflict|nexus error|FAILED Result|CDB:|Synchronize Cache.* failed|Buffer I\/O|suppressed/;

/**
 * Of libiscsi's test suite those that need one nexus, take seconds, and find nothing but what they look for. Inquiry and
 * GetLBAStatus have tests that mistake their own constants for the standard's (docs/interop.md).
 */
const LIBISCSI_TESTS = [
  ...['PrinReadKeys', 'PrinServiceactionRange', 'PrinReportCapabilities', 'ProutRegister'],
  ...['ProutReserve', 'ProutClear', 'Reserve6', 'ReportSupportedOpcodes', 'ModeSense6'],
  ...['Mandatory', 'TestUnitReady', 'StartStopUnit', 'ReadCapacity10', 'ReadCapacity16'],
];

describeWithGuest(
  'reservations, by two machines with ib_iser',
  () => ({}),
  (suite) => {
    let initiator: OpenIscsi;

    beforeAll(async () => {
      await addSoftIwarp(suite.guest);
      initiator = await OpenIscsi.start(suite.guest);
      writeFileSync(suite.files.path('secret'), `${SECRET}\n`);
    }, 60_000);

    // Before our target stops.
    afterEach(() => initiator.forgetAll());

    async function target(lun: string, ...args: string[]): Promise<KernelTarget> {
      const ready = await suite.start(
        ['target', '--listen', '127.0.0.1:0', '--name', NAME, '--lun', lun, ...args],
        1,
      );
      const { port } = new URL((ready[0] ?? '').replace(/^iser:/, 'http:'));
      return { name: NAME, portal: `${HOST_SEEN_FROM_GUEST}:${port}` };
    }

    /** Logs in to the target's LUN twice, under two names: the disks of the one and of the other machine. */
    async function attachTwice(lun: string): Promise<readonly [string, string]> {
      const at = await target(lun);
      await initiator.addInterface('second', 'iqn.2026-11.io.example.lab:second');
      const other = { ...at, through: 'second' };
      await initiator.add(at);
      await initiator.add(other);
      const [first = ''] = await initiator.login(at, 1);
      const both = await initiator.login(other, 2);
      return [first, both.find((disk) => disk !== first) ?? ''];
    }

    const reserve = (disk: string, ...args: string[]) =>
      suite.guest.must('sg_persist', '--out', ...args, disk);
    const persistIn = (disk: string, what: string) =>
      suite.guest.must('sg_persist', '--in', what, disk);
    const register = (disk: string, key: string, ...args: string[]) =>
      reserve(disk, '--register', `--param-sark=${key}`, ...args);
    const write = (disk: string) =>
      suite.guest.run([
        ...['dd', 'if=/dev/zero', `of=${disk}`, 'bs=4096', 'count=1', 'oflag=direct'],
      ]);

    it('tell tools what the target can do', async () => {
      const { guest } = suite;
      const at = await target('memory:16M');
      await initiator.add(at);
      const [disk = ''] = await initiator.login(at, 1);
      expect(await guest.must('sg_opcodes', '--rctd', disk)).toMatch(
        /5f +5 +10 +30 +120 +Persistent reserve out, preempt and abort/,
      );
      const management = await guest.must('sg_opcodes', '--tmf', '--repd', disk);
      expect(management).toMatch(/Abort task\n.*Abort task set\n.*Clear task set\n/);
      expect(await guest.must('sg_logs', '--all', disk)).toMatch(
        /Current temperature = <not available>/,
      );
      expect(await guest.must('sg_senddiag', '--test', disk)).toMatch(/returned GOOD status/);
      expect(await guest.must('sg_vpd', '--page=ei', disk)).toMatch(
        /ORDSUP=1 SIMPSUP=1[^]*V_SUP=1/,
      );
      expect(await guest.must('sg_persist', '--in', '--report-capabilities', disk)).toMatch(
        /\(PTPL_C\): 0[^]*Allow Commands: 3[^]*Exclusive Access, all registrants: 1/,
      );
      // A mode page handed back as it is, and one with the write cache off.
      const page = (flags: string) => `--contents=08,12,${flags}${',00'.repeat(17)}`;
      await guest.must('sg_wr_mode', '--page=8', page('04'), disk);
      const refused = await guest.run(['sg_wr_mode', '--page=8', page('00'), disk]);
      expect(refused.status).not.toBe(0);
      expect(await guest.must('sg_modes', '--page=8', disk)).toMatch(/12 04 00/);
    });

    it("pass libiscsi's tests", async () => {
      const { guest, files } = suite;
      suite.kernelMaySay(/./);
      const disks = await attachTwice(`file:${files.path('libiscsi.img')}:64M`);
      const generics: string[] = [];
      for (const disk of disks) {
        const name = await guest.script('ls /sys/block/$(basename $1)/device/scsi_generic', disk);
        generics.push(`/dev/${name.trim()}`);
      }
      for (const name of LIBISCSI_TESTS) {
        const test = ['iscsi-test-cu', '--dataloss', '--normal', `--test=SCSI.${name}`];
        const { status, stdout } = await guest.run([...test, ...generics]);
        expect([name, status, /had failures/.test(stdout)]).toEqual([name, 0, false]);
      }
    });

    it('keep out who is not registered, and outlive the session', async () => {
      suite.kernelMaySay(CONFLICT);
      const [mine, other] = await attachTwice('memory:16M');
      await register(mine, '0xa1');
      await reserve(mine, '--reserve', '--param-rk=0xa1', TYPE);
      expect((await write(mine)).status).toBe(0);
      expect(await persistIn(other, '--read-keys')).toMatch(/1 registered.*\n.*0xa1/);
      expect(await persistIn(other, '--read-reservation')).toMatch(
        /Key=0xa1[^]*Write Exclusive, registrants only/,
      );
      const refused = await write(other);
      expect(refused.status).not.toBe(0);
      expect(refused.stderr).toMatch(/Invalid exchange/);
      await register(other, '0xb2');
      expect((await write(other)).status).toBe(0);
      const full = await persistIn(mine, '--read-full-status');
      expect(full).toMatch(/iqn\.2026-11\.io\.example\.lab:guest,i,0x[0-9a-f]{12}/);
      expect(full).toMatch(/iqn\.2026-11\.io\.example\.lab:second,i,0x[0-9a-f]{12}/);
      await reserve(other, '--clear', '--param-rk=0xb2');
      const told = await suite.guest.run(['sg_persist', '--in', '--read-keys', mine]);
      expect(told.stderr + told.stdout).toMatch(/Unit attention/i);
      expect(await persistIn(mine, '--read-keys')).toMatch(/there are NO registered/);
    });

    it('fence a machine in the middle of its writes, and nothing of it lands behind', async () => {
      const { guest } = suite;
      suite.kernelMaySay(CONFLICT);
      const [victim, survivor] = await attachTwice('memory:32M');
      await register(victim, '0xa1');
      await register(survivor, '0xb2');
      await reserve(victim, '--reserve', '--param-rk=0xa1', TYPE);
      const writing = guest.start([
        ...['fio', '--name=victim', `--filename=${victim}`, '--ioengine=libaio', '--direct=1'],
        ...['--iodepth=32', '--rw=randwrite', '--bs=16k', '--size=32M', '--time_based'],
        ...['--runtime=120', '--refill_buffers=1'],
      ]);
      const written = async (): Promise<number> =>
        Number((await guest.read(`/sys/block/${victim.slice(5)}/stat`)).trim().split(/\s+/)[4]);
      await guest.until(written, (count) => count > 100);
      const keys = ['--param-rk=0xb2', '--param-sark=0xa1', TYPE];
      await reserve(survivor, '--preempt-abort', ...keys);
      await guest.must('blkdiscard', '-z', '-f', survivor);
      const { status, stdout } = await writing.finished;
      expect(status).not.toBe(0);
      expect(stdout).toMatch(/Invalid exchange|err=52/);
      await guest.must('blockdev', '--flushbufs', survivor);
      await expectZeroes(guest, survivor);
      expect(await persistIn(survivor, '--read-keys')).toMatch(/1 registered.*\n.*0xb2/);
      await reserve(survivor, '--release', '--param-rk=0xb2', TYPE);
    });

    it('are still there when the target was started anew', async () => {
      suite.kernelMaySay(CONFLICT);
      const { files } = suite;
      const path = files.path('kept.img');
      const [mine] = await attachTwice(`file:${path}:16M`);
      await register(mine, '0xa1', '--param-aptpl');
      await reserve(mine, '--reserve', '--param-rk=0xa1', TYPE);
      await initiator.forgetAll();
      await suite.stopPrograms();
      expect(existsSync(`${path}.reservations`)).toBe(true);
      const [, other] = await attachTwice(`file:${path}`);
      expect(await persistIn(other, '--read-reservation')).toMatch(/Key=0xa1/);
      expect((await write(other)).status).not.toBe(0);
      await register(other, '0xb2');
      await reserve(other, '--clear', '--param-rk=0xb2');
      await initiator.forgetAll();
      await suite.stopPrograms();
      expect(existsSync(`${path}.reservations`)).toBe(false);
    });

    it('and discovery can be had only with the secret, where that is asked for', async () => {
      suite.kernelMaySay(/connection\d+:0|iser|login/i);
      const chap = ['--chap-user', 'guest', '--chap-secret-file', suite.files.path('secret')];
      const { portal } = await target('memory:16M', ...chap, '--discovery-auth');
      const found = await initiator.discover(portal, { user: 'guest', secret: SECRET });
      expect(found).toContain(NAME);
      await expect(initiator.discover(portal)).rejects.toThrow(/authori|login/i);
    });
  },
);
