import { describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { ScsiDisk } from '../../src/disk/scsi-disk.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { Asc, SenseKey } from '../../src/scsi/sense.js';
import { ScsiStatus } from '../../src/scsi/wire.js';
import { pattern, read, submit, write } from '../support/block/client.js';
import { openDisk } from '../support/scsi/disk.js';
import { check } from '../support/scsi/port.js';
import { testServices } from '../support/scsi/services.js';

const FLUSH = { op: BlockOp.flush };

describe('ScsiDisk, writes that the device loses after it ended them', () => {
  it('fails every flush after a deferred error', async () => {
    const { port, disk, services } = await openDisk();
    const lost = { ...check(SenseKey.mediumError, Asc.writeError), deferred: true };
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ok);
    port.injectNext('READ(16)', lost);
    expect((await read(disk, 512, 512)).status).toBe(BlockStatus.ok);
    expect(services.lines[0]).toMatchObject({ level: 'error', facts: { sense: '3/0c/00' } });
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
  });

  for (const [title, key, asc] of [
    ['MEDIUM ERROR', SenseKey.mediumError, Asc.writeError],
    ['HARDWARE ERROR', SenseKey.hardwareError, Asc.internalTargetFailure],
  ] as const) {
    it(`fails every flush after one that ended with ${title}, and says so once`, async () => {
      const { port, disk, services } = await openDisk();
      await write(disk, 0, pattern(512, 1));
      port.injectNext('SYNCHRONIZE CACHE(16)', check(key, asc));
      for (let round = 0; round < 3; round++) {
        expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
      }
      expect(services.lines.map(({ level }) => level)).toEqual(['warn', 'error']);
      expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
      expect(await write(disk, 0, pattern(512, 2))).toBe(BlockStatus.ok);
      const reopened = await ScsiDisk.open(port, testServices());
      expect(await submit(reopened, FLUSH)).toBe(BlockStatus.ok);
    });
  }

  it('fails every flush, and every flush behind a write, after one behind a write failed', async () => {
    const { port, disk } = await openDisk({ dpofua: false });
    const durably = { forceUnitAccess: true };
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ok);
    port.injectNext('SYNCHRONIZE CACHE(16)', check(SenseKey.mediumError, Asc.writeError));
    expect(await write(disk, 65_536, pattern(512, 2), durably)).toBe(BlockStatus.ioError);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
    expect(await write(disk, 0, pattern(512, 3), durably)).toBe(BlockStatus.ioError);
  });

  it('takes nothing for lost when a flush fails for want of an answer, or of a device', async () => {
    for (const ending of [
      { outcome: DeliveryOutcome.connectionLost },
      { status: ScsiStatus.reservationConflict },
      check(SenseKey.notReady, Asc.manualInterventionRequired),
    ]) {
      const { port, disk } = await openDisk();
      await write(disk, 0, pattern(512, 1));
      port.injectNext('SYNCHRONIZE CACHE(16)', ending);
      expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
      expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
    }
  });

  it('fails a flush that hears of the loss itself', async () => {
    const { port, disk } = await openDisk();
    const lost = { ...check(SenseKey.mediumError, Asc.writeError), deferred: true };
    port.injectNext('SYNCHRONIZE CACHE(16)', lost);
    expect(await submit(disk, { op: BlockOp.flush })).toBe(BlockStatus.ioError);
  });

  for (const asc of ['powerOnOrReset', 'powerOn', 'deviceInternalReset'] as const) {
    it(`fails every flush after a unit attention of ${asc} under unflushed writes`, async () => {
      const { port, disk } = await openDisk();
      await write(disk, 0, pattern(512, 1));
      port.injectNext('READ(16)', check(SenseKey.unitAttention, Asc[asc]));
      await read(disk, 0, 512);
      expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
      expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
    });
  }

  it('does not mind a power on when every write was forced to the medium', async () => {
    const { port, disk } = await openDisk();
    expect(await write(disk, 0, pattern(512, 1), { forceUnitAccess: true })).toBe(BlockStatus.ok);
    port.injectNext('READ(16)', check(SenseKey.unitAttention, Asc.powerOnOrReset));
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
  });

  it('does not mind a reset under unflushed writes, which keeps the cache', async () => {
    for (const asc of [Asc.busReset, Asc.deviceReset, Asc.nexusLoss, Asc.commandsClearedByOther]) {
      const { port, disk } = await openDisk();
      await write(disk, 0, pattern(512, 1));
      port.injectNext('READ(16)', check(SenseKey.unitAttention, asc));
      await read(disk, 0, 512);
      expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
    }
  });

  it('takes a flush behind a write for a flush of all that was written before', async () => {
    const { port, disk } = await openDisk({ dpofua: false });
    await write(disk, 0, pattern(512, 1));
    await write(disk, 512, pattern(512, 2), { forceUnitAccess: true });
    port.injectNext('READ(16)', check(SenseKey.unitAttention, Asc.powerOnOrReset));
    await read(disk, 0, 512);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
  });

  it('minds a power on also with nothing to flush, where others share the device’s cache', async () => {
    const port = (await openDisk()).port;
    const disk = await ScsiDisk.open(port, testServices(), { isShared: true });
    const lost: string[] = [];
    disk.onWritesLost = (reason) => lost.push(reason);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
    port.injectNext('READ(16)', check(SenseKey.unitAttention, Asc.powerOnOrReset));
    await read(disk, 0, 512);
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
    expect(lost).toHaveLength(1);
  });

  it('fails flushes because another who shares the device says so, and does not pass that on', async () => {
    const { disk, services } = await openDisk();
    let told = 0;
    disk.onWritesLost = () => told++;
    disk.loseWrites('power on');
    disk.loseWrites('power on');
    expect(await submit(disk, FLUSH)).toBe(BlockStatus.ioError);
    expect([told, services.lines.length]).toEqual([0, 1]);
  });

  it('does not mind a power on when everything was flushed, or nothing is ever cached', async () => {
    for (const asc of [Asc.powerOnOrReset, Asc.powerOn]) {
      for (const writeCache of [true, false]) {
        const { port, disk } = await openDisk({ writeCache });
        await write(disk, 0, pattern(512, 1));
        if (writeCache) await submit(disk, FLUSH);
        port.injectNext('READ(16)', check(SenseKey.unitAttention, asc));
        await read(disk, 0, 512);
        expect(await submit(disk, FLUSH)).toBe(BlockStatus.ok);
      }
    }
  });
});
