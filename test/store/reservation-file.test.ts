import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { open as openHandle } from 'node:fs/promises';
import type * as FileSystem from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { silentLogger } from '../../src/observe/log.js';
import { ReservationType } from '../../src/scsi/wire.js';
import type { InitiatorPort } from '../../src/scsi/wire.js';
import { FileStore } from '../../src/store/file-store.js';
import { LogicalUnits } from '../../src/target/unit/logical-units.js';
import { portKeyOf } from '../../src/store/reservation-keeper.js';
import { ReservationFile } from '../../src/store/reservation-file.js';
import type { Registration, Reservations } from '../../src/scsi/reservation-state.js';
import { keyOf } from '../support/target/reservations.js';

vi.mock('node:fs/promises', async (original) => {
  const real = await original<typeof FileSystem>();
  return { ...real, open: vi.fn(real.open), rename: vi.fn(real.rename) };
});

let folder = '';
let lun = '';
let beside = '';
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'iser-nbd-reservations-'));
  lun = join(folder, 'disk.img');
  beside = `${lun}.reservations`;
});
afterEach(() => {
  vi.mocked(openHandle).mockClear();
  rmSync(folder, { recursive: true });
});

const port = (name: string): InitiatorPort => ({
  initiatorName: `iqn.2026-11.io.example:${name}`,
  isidHigh: 0x4000_0000,
  isidLow: 1,
});
const registration = (name: string): Registration => ({
  port: port(name),
  portKey: portKeyOf(port(name)),
  key: keyOf('c'),
  allTargetPorts: name === 'B',
});
const STATE: Reservations = {
  generation: 0,
  registrations: [registration('a'), registration('B')],
  reservation: { type: ReservationType.exclusiveAccess, holder: portKeyOf(port('B')) },
  persists: true,
};
const open = (isNew = false) => ReservationFile.open(lun, isNew, silentLogger);

describe('the reservations beside a file LUN', () => {
  it('are nothing at first, and what was kept later', async () => {
    const first = await open();
    expect(first.kept).toBeNull();
    await first.keep({ ...STATE, generation: 77 });
    expect((await open()).kept).toEqual(STATE);
    const ofAll = { type: ReservationType.writeExclusiveAllRegistrants, holder: null };
    await first.keep({ ...STATE, reservation: ofAll });
    expect((await open()).kept?.reservation).toEqual(ofAll);
    await first.keep({ ...STATE, registrations: [], reservation: null });
    expect((await open()).kept).toMatchObject({ registrations: [], reservation: null });
  });

  it('are for people to read, and for no other user', async () => {
    await (await open()).keep(STATE);
    expect(JSON.parse(readFileSync(beside, 'utf8'))).toEqual({
      version: 1,
      registrations: [
        {
          port: 'iqn.2026-11.io.example:a,i,0x400000000001',
          key: '0xcccccccccccccccc',
          allTargetPorts: false,
        },
        {
          port: 'iqn.2026-11.io.example:B,i,0x400000000001',
          key: '0xcccccccccccccccc',
          allTargetPorts: true,
        },
      ],
      reservation: { type: 'exclusiveAccess', holder: 'iqn.2026-11.io.example:B,i,0x400000000001' },
    });
    expect(readdirSync(folder)).toEqual(['disk.img.reservations']);
  });

  it('go when they are to be kept no more', async () => {
    const file = await open();
    await file.keep(STATE);
    await file.keep({ ...STATE, persists: false });
    expect(existsSync(beside)).toBe(false);
    await file.keep({ ...STATE, persists: false });
  });

  it('are flushed before they take their name, and the folder after', async () => {
    const events: string[] = [];
    const real = await vi.importActual<typeof FileSystem>('node:fs/promises');
    vi.mocked(openHandle).mockImplementation(async (path, flags, mode) => {
      const handle = await real.open(path, flags, mode);
      const sync = handle.sync.bind(handle);
      handle.sync = () => {
        events.push(`sync ${String(path).replace(folder, '')}`);
        return sync();
      };
      return handle;
    });
    const { rename } = await import('node:fs/promises');
    vi.mocked(rename).mockImplementationOnce((from, to) => {
      events.push('rename');
      return real.rename(from, to);
    });
    await (await open()).keep(STATE);
    expect(events).toEqual(['sync /disk.img.reservations.new', 'rename', 'sync ']);
    vi.mocked(openHandle).mockImplementation(real.open);
  });

  it('stay as they were when the new ones cannot be written', async () => {
    const errors: object[] = [];
    const log = { ...silentLogger, error: (facts: object) => void errors.push(facts) };
    const file = await ReservationFile.open(lun, false, log);
    await file.keep(STATE);
    mkdirSync(`${beside}.new`);
    await expect(file.keep({ ...STATE, registrations: [], reservation: null })).rejects.toThrow();
    expect(errors).toHaveLength(1);
    expect((await open()).kept).toEqual(STATE);
  });

  it('of a crash in between leave no trace, and follow no link', async () => {
    const victim = join(folder, 'victim');
    writeFileSync(victim, 'precious');
    symlinkSync(victim, `${beside}.new`);
    await (await open()).keep(STATE);
    expect(readFileSync(victim, 'utf8')).toBe('precious');
    expect(readdirSync(folder).sort()).toEqual(['disk.img.reservations', 'victim']);
  });

  it('of an earlier LUN are not those of one that is new', async () => {
    await (await open()).keep(STATE);
    expect((await open(true)).kept).toBeNull();
    expect(existsSync(beside)).toBe(false);
  });

  const kept = () => JSON.parse(readFileSync(beside, 'utf8')) as Record<string, unknown>;
  it.each<[string, () => string]>([
    ['no JSON', () => 'not JSON'],
    ['nothing', () => ''],
    ['another version', () => JSON.stringify({ ...kept(), version: 2 })],
    ['something unknown', () => JSON.stringify({ ...kept(), more: 1 })],
    [
      'a type that is none',
      () => JSON.stringify({ ...kept(), reservation: { type: 'x', holder: null } }),
    ],
    ['a holder who is not registered', () => JSON.stringify({ ...kept(), registrations: [] })],
    [
      'a key of zero',
      () => readFileSync(beside, 'utf8').replaceAll('c'.repeat(16), '0'.repeat(16)),
    ],
    ['a port that is none', () => readFileSync(beside, 'utf8').replaceAll(',i,', ',t,')],
    ['one port twice', () => readFileSync(beside, 'utf8').replaceAll(':B,', ':A,')],
    ['too much', () => ' '.repeat((1 << 20) + 1)],
  ])('with %s in the file keep the LUN from being served, in one sentence', async (_what, text) => {
    await (await open()).keep(STATE);
    writeFileSync(beside, text());
    const failure = expect(open()).rejects;
    await failure.toMatchObject({ code: 'lun-reservations' });
    await expect(open()).rejects.toThrow(
      /^[^\n]*disk\.img\.reservations cannot be read[^\n]*remove the file[^\n]*$/,
    );
  });
});

describe('a file store', () => {
  const openStore = (path = lun, sizeBytes: number | null = null, readOnly = false) =>
    FileStore.open({ path, sizeBytes, blockBytes: 512, readOnly });

  it('has its reservations beside the file itself, whatever link led there', async () => {
    await (await openStore(lun, 1 << 20)).close();
    const link = join(folder, 'link.img');
    symlinkSync(lun, link);
    const store = await openStore(link);
    await store.reservationKeeper?.keep(STATE);
    await store.close();
    expect(existsSync(beside)).toBe(true);
    const again = await openStore();
    expect(again.reservationKeeper?.kept).toEqual(STATE);
    const units = new LogicalUnits('iqn.2026-11.io.example:t', [again]);
    expect(units.disks[0]?.reservations.state).toEqual(STATE);
    await again.close();
  });

  it('does not take over those of a file that was there before it', async () => {
    await (await open()).keep(STATE);
    const store = await openStore(lun, 1 << 20);
    expect(store.reservationKeeper?.kept).toBeNull();
    await store.close();
  });

  it('that cannot be written keeps none', async () => {
    await (await openStore(lun, 1 << 20)).close();
    chmodSync(lun, 0o400);
    const store = await openStore(lun, null, true);
    expect(store.reservationKeeper).toBeNull();
    await store.close();
  });

  it('lets go of the file when its reservations cannot be read', async () => {
    await (await openStore(lun, 1 << 20)).close();
    writeFileSync(beside, 'odd');
    await expect(openStore()).rejects.toMatchObject({ code: 'lun-reservations' });
    rmSync(beside);
    await (await openStore()).close();
  });
});
