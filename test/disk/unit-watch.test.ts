import { describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { Requester } from '../../src/common/requester.js';
import { ScsiDisk } from '../../src/disk/scsi-disk.js';
import { compareIdentities } from '../../src/disk/identity.js';
import type { UnitIdentity } from '../../src/disk/identity.js';
import { LOOK_PERIOD_MS, LOOK_SPACING_MS, REGAIN_PERIOD_MS } from '../../src/disk/limits.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { Asc, SenseKey } from '../../src/scsi/sense.js';
import { pattern, read, submit, write } from '../support/block/client.js';
import { openDisk } from '../support/scsi/disk.js';
import { check } from '../support/scsi/port.js';
import type { ScsiPortDouble } from '../support/scsi/port.js';
import { turn } from '../support/waiting.js';

const attention = (asc: number) => check(SenseKey.unitAttention, asc);
const LBA_OUT_OF_RANGE = check(SenseKey.illegalRequest, Asc.lbaOutOfRange);
const NO_UNIT = check(SenseKey.illegalRequest, Asc.logicalUnitNotSupported);

const ANOTHER: readonly (readonly [string, number])[] = [
  ['REPORTED LUNS DATA HAS CHANGED', Asc.reportedLunsChanged],
  ['INQUIRY DATA HAS CHANGED', Asc.inquiryDataChanged],
  ['POWER ON OR RESET', Asc.powerOnOrReset],
  ['NEXUS LOSS', Asc.nexusLoss],
  ['NOT READY TO READY CHANGE', Asc.notReadyToReadyChange],
];

/** The commands of data that reached the port since it was last asked. */
function dataCommands(port: ScsiPortDouble): string[] {
  const names = port.names.filter((name) => /^(READ|WRITE)\(/.test(name));
  port.seen.length = 0;
  return names;
}

describe('a disk that was put in the place of another', () => {
  it.each(ANOTHER)('gets nothing that is written after %s', async (_, asc) => {
    const { port, disk, services } = await openDisk();
    port.injectNext('WRITE(16)', attention(asc));
    port.serial = 'OTHER-1';
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ioError);
    // The one that met the attention was not executed; no other was sent.
    expect(dataCommands(port)).toEqual(['WRITE(16)']);
    expect(await write(disk, 512, pattern(512, 2))).toBe(BlockStatus.ioError);
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    expect(await submit(disk, { op: BlockOp.flush })).toBe(BlockStatus.ioError);
    expect(dataCommands(port)).toEqual([]);
    expect(port.bytes.every((byte) => byte === 0)).toBe(true);
    const errors = services.lines.filter(({ level }) => level === 'error');
    expect(errors).toHaveLength(1);
    expect(errors[0]?.facts['reason']).toMatch(/another disk is there: .*OTHER-1.*S-4711/);
    await expect(disk.refresh()).rejects.toThrow(/another disk is there/);
    await disk.close();
  });

  it('is let go as soon as the right disk is back', async () => {
    const { port, disk, services } = await openDisk();
    port.injectNext('WRITE(16)', attention(Asc.inquiryDataChanged));
    port.serial = 'OTHER-1';
    await write(disk, 0, pattern(512, 1));
    for (let look = 0; look < 3; look++) {
      services.clock.advance(REGAIN_PERIOD_MS);
      await turn();
    }
    expect(services.lines.filter(({ level }) => level === 'error')).toHaveLength(1);
    port.serial = 'S-4711';
    services.clock.advance(REGAIN_PERIOD_MS);
    await turn();
    expect(services.lines.at(-1)?.message).toBe('the right disk is back');
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ok);
    await expect(disk.refresh()).resolves.toBeUndefined();
  });

  it('is found without a word of the target: by a client that attaches, and by looking now and then', async () => {
    for (const act of ['attach', 'wait'] as const) {
      const { port, disk, services } = await openDisk();
      port.serial = 'OTHER-1';
      if (act === 'attach') {
        services.clock.advance(LOOK_SPACING_MS);
        await expect(disk.refresh()).rejects.toThrow(/another disk/);
      } else {
        services.clock.advance(LOOK_PERIOD_MS);
        await turn();
      }
      expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ioError);
      expect(dataCommands(port)).toEqual([]);
    }
  });

  it('is not believed: what was under way when the attention came ends with an error', async () => {
    const { port, disk } = await openDisk();
    port.isHeld = true;
    const reads = [read(disk, 0, 512), read(disk, 512, 512)];
    const written = write(disk, 1024, pattern(512, 1));
    const [, second] = [...port.inFlight];
    port.injectNext('READ(16)', attention(Asc.reportedLunsChanged));
    port.serial = 'OTHER-1';
    port.finish(0);
    expect(port.inFlight).toContain(second);
    port.release();
    const statuses = [...(await Promise.all(reads)).map(({ status }) => status), await written];
    expect(statuses).toEqual(Array(3).fill(BlockStatus.ioError));
  });
});

describe('a disk that is the same after an attention', () => {
  it('goes on with what was under way, and with what has waited meanwhile', async () => {
    const { port, disk } = await openDisk({ queueDepth: 2 });
    port.isHeld = true;
    const reads = Array.from({ length: 6 }, (_, index) => read(disk, index * 512, 512));
    port.injectNext('READ(16)', attention(Asc.powerOnOrReset));
    port.finish(0);
    const late = read(disk, 65_536, 512);
    await turn();
    // Only the look is out, and the read that was sent before.
    expect(port.inFlight).toHaveLength(2);
    port.release();
    const ended = await Promise.all([...reads, late]);
    expect(ended.map(({ status }) => status)).toEqual(Array(7).fill(BlockStatus.ok));
    expect(port.questionedCount).toBe(1);
    await disk.close();
  });

  it('is looked at again when an attention comes during a look', async () => {
    const { port, disk } = await openDisk();
    port.injectNext('READ(16)', attention(Asc.powerOnOrReset));
    let looks = 0;
    const once = port.inject;
    port.inject = (cdb, name) => {
      if (name === 'READ CAPACITY(16)' && looks++ === 0) {
        port.serial = 'OTHER-1';
        return attention(Asc.reportedLunsChanged);
      }
      return once?.(cdb, name);
    };
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    expect(dataCommands(port)).toEqual(['READ(16)']);
  });

  it('is asked no oftener than once a second by clients that attach', async () => {
    const { port, disk, services } = await openDisk();
    await disk.refresh();
    expect(port.names).toEqual([]);
    services.clock.advance(LOOK_SPACING_MS);
    await Promise.all([disk.refresh(), disk.refresh(), disk.refresh()]);
    const inquiries = port.names.filter((name) => name === 'READ CAPACITY(16)');
    expect(inquiries).toHaveLength(1);
    await disk.refresh();
    expect(port.names.filter((name) => name === 'READ CAPACITY(16)')).toHaveLength(1);
  });

  it('does not wait for ever for a unit that has one attention after the other', async () => {
    const { port, disk } = await openDisk();
    port.injectNext('READ(16)', attention(Asc.powerOnOrReset));
    const once = port.inject;
    port.inject = (cdb, name) =>
      name === 'TEST UNIT READY' ? attention(Asc.powerOnOrReset) : once?.(cdb, name);
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    await disk.close();
  });
});

describe('a disk that changes', () => {
  it('has its new size for the next client, without an attention', async () => {
    const { port, disk, services } = await openDisk({ sizeBlocks: 1024 });
    port.sizeBlocks = 2048;
    services.clock.advance(LOOK_SPACING_MS);
    await disk.refresh();
    expect(disk.info.sizeBytes).toBe(2048 * 512);
  });

  it('is looked at when it says that an address is out of range', async () => {
    const { port, disk } = await openDisk({ sizeBlocks: 1024 });
    port.sizeBlocks = 512;
    port.injectNext('READ(16)', LBA_OUT_OF_RANGE);
    expect((await read(disk, 600 * 512, 512)).status).toBe(BlockStatus.invalid);
    await turn();
    expect(disk.info.sizeBytes).toBe(512 * 512);
  });

  it('adopts limits and provisioning', async () => {
    const limits = { writeSameBlocksMax: 1000, transferBlocksMax: 0 };
    const options = { limits, provisioned: true };
    const { disk, services } = await openDisk(options);
    expect([disk.info.canTrim, disk.info.writeZeroesBytesMax]).toEqual([true, 512_000]);
    options.provisioned = false;
    limits.writeSameBlocksMax = 8;
    limits.transferBlocksMax = 16;
    services.clock.advance(LOOK_SPACING_MS);
    await disk.refresh();
    const { canTrim, writeZeroesBytesMax, transferBytesMax } = disk.info;
    expect([canTrim, writeZeroesBytesMax, transferBytesMax]).toEqual([false, 4096, 8192]);
  });

  it('keeps in mind which commands it has refused', async () => {
    const { disk, port, services } = await openDisk();
    port.injectNext('WRITE SAME(16)', check(SenseKey.illegalRequest, Asc.invalidOpcode));
    const zeroes = { op: BlockOp.writeZeroes, length: 512, noHole: true };
    expect(await submit(disk, zeroes)).toBe(BlockStatus.ok);
    services.clock.advance(LOOK_SPACING_MS);
    await disk.refresh();
    port.seen.length = 0;
    expect(await submit(disk, zeroes)).toBe(BlockStatus.ok);
    expect(port.names).toEqual(['WRITE(16)']);
  });

  it('cannot be used with another block size, until it has the old one again', async () => {
    const { disk, port, services } = await openDisk();
    port.blockBytes = 4096;
    services.clock.advance(LOOK_SPACING_MS);
    await expect(disk.refresh()).rejects.toThrow(/block size changed from 512 to 4096/);
    port.blockBytes = 512;
    services.clock.advance(REGAIN_PERIOD_MS);
    await turn();
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
  });
});

describe('a disk that is missing', () => {
  it('fails requests while it is, and goes on when it is back', async () => {
    const { port, disk, services } = await openDisk();
    port.inject = () => NO_UNIT;
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    const second = read(disk, 0, 512);
    services.clock.advance(LOOK_SPACING_MS);
    expect((await second).status).toBe(BlockStatus.ioError);
    await expect(disk.refresh()).rejects.toThrow(/does not exist/);
    port.inject = null;
    const third = read(disk, 0, 512);
    expect(dataCommands(port)).toEqual(['READ(16)']);
    services.clock.advance(LOOK_SPACING_MS);
    expect((await third).status).toBe(BlockStatus.ok);
    await disk.close();
  });

  it('may be another one when it is back', async () => {
    const { port, disk, services } = await openDisk();
    port.inject = () => NO_UNIT;
    await read(disk, 0, 512);
    port.inject = null;
    port.serial = 'OTHER-1';
    const written = write(disk, 0, pattern(512, 1));
    services.clock.advance(LOOK_SPACING_MS);
    expect(await written).toBe(BlockStatus.ioError);
    expect(port.bytes.every((byte) => byte === 0)).toBe(true);
  });

  it('does not keep a disk from being closed for whose return requests wait', async () => {
    const { port, disk } = await openDisk();
    port.inject = () => NO_UNIT;
    await read(disk, 0, 512);
    const waiting = read(disk, 0, 512);
    const closed = disk.close();
    expect((await waiting).status).toBe(BlockStatus.ioError);
    await closed;
  });

  it('is trusted still when it only did not answer a look in time', async () => {
    const { port, disk, services } = await openDisk();
    port.injectNext('INQUIRY', { outcome: DeliveryOutcome.timedOut }, 1000);
    services.clock.advance(LOOK_PERIOD_MS);
    await turn();
    port.inject = null;
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
  });
});

describe('ScsiDisk.open with an identity that is known', () => {
  it('refuses another disk', async () => {
    const first = await openDisk();
    const { port, services } = await openDisk();
    port.serial = 'OTHER-1';
    const opening = ScsiDisk.open(port, services, { expected: first.disk.identity });
    await expect(opening).rejects.toMatchObject({ code: 'scsi-other-unit' });
  });
});

describe('requests whose client is gone', () => {
  it('are dropped if they have not been sent, and end in their time if they have', async () => {
    const { port, disk } = await openDisk({ queueDepth: 1 });
    const [gone, here] = [new Requester(), new Requester()];
    port.isHeld = true;
    const ends: string[] = [];
    const writeBy = (name: string, requester: Requester, offset: number) =>
      submit(disk, { op: BlockOp.trim, offset, length: 512, requester }).then((status) => {
        ends.push(`${name} ${status}`);
      });
    const all = [
      writeBy('sent', gone, 0),
      writeBy('unsent', gone, 512),
      writeBy('other', here, 1024),
    ];
    gone.isGone = true;
    all.push(writeBy('late', gone, 2048));
    port.release();
    await Promise.all(all);
    expect(ends.sort()).toEqual([
      `late ${BlockStatus.shutdown}`,
      `other ${BlockStatus.ok}`,
      `sent ${BlockStatus.ok}`,
      `unsent ${BlockStatus.shutdown}`,
    ]);
    expect(port.names).toEqual(['UNMAP', 'UNMAP']);
  });

  it('are not sent again', async () => {
    const { port, disk } = await openDisk();
    const requester = new Requester();
    port.isHeld = true;
    const trimmed = submit(disk, { op: BlockOp.trim, length: 512, requester });
    port.injectNext('UNMAP', { outcome: DeliveryOutcome.aborted });
    requester.isGone = true;
    port.release();
    expect(await trimmed).toBe(BlockStatus.shutdown);
    expect(port.names).toEqual(['UNMAP']);
  });
});

describe('compareIdentities', () => {
  const base: UnitIdentity = {
    vendor: 'V',
    product: 'P',
    serial: 'S',
    designators: ['naa:1', 't10:2'],
  };
  it.each<[string, UnitIdentity, UnitIdentity, 'same' | 'other' | 'unknown']>([
    ['one designator in common', base, { ...base, designators: ['naa:1'] }, 'same'],
    ['no designator in common', base, { ...base, designators: ['naa:9'] }, 'other'],
    ['designators that are gone', base, { ...base, designators: [] }, 'other'],
    ['another serial number', base, { ...base, serial: 'T' }, 'other'],
    ['a serial number alone', { ...base, designators: [] }, { ...base, designators: [] }, 'same'],
    [
      'nothing at all',
      { ...base, designators: [], serial: '' },
      { ...base, designators: [], serial: '' },
      'unknown',
    ],
    [
      'another product and nothing else',
      { ...base, designators: [], serial: '' },
      { ...base, designators: [], serial: '', product: 'Q' },
      'other',
    ],
  ])('judges %s', (_, a, b, expected) => {
    expect(compareIdentities(a, b)).toBe(expected);
    expect(compareIdentities(b, a)).toBe(expected);
  });
});
