import { describe, expect, it } from 'vitest';
import { BlockOp, BlockStatus } from '../../src/block/device.js';
import { Slab, SlabPool } from '../../src/common/slab.js';
import { DiskSteps } from '../../src/disk/disk-steps.js';
import { inspectLogicalUnit } from '../../src/disk/inspect.js';
import { ScsiDisk } from '../../src/disk/scsi-disk.js';
import { ScsiError } from '../../src/disk/errors.js';
import {
  ABORTED_RETRIES_MAX,
  BUSY_DELAY_MIN_MS,
  BUSY_TOTAL_MS,
  DISKS_MAX,
  FLUSH_TIMEOUT_MS,
  SLOT_WAIT_MS,
  UNIT_ATTENTION_RETRIES_MAX,
  WRITE_SAME_TIMEOUT_MS,
  DISK_ZERO_BUFFER_BYTES,
} from '../../src/disk/limits.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { Asc, SenseKey } from '../../src/scsi/sense.js';
import { ScsiStatus } from '../../src/scsi/wire.js';
import { pattern, read, submit, write } from '../support/block/client.js';
import { INVALID_OPCODE, ScsiPortDouble, check } from '../support/scsi/port.js';
import { openDisk } from '../support/scsi/disk.js';
import { testServices } from '../support/scsi/services.js';
import { turn } from '../support/waiting.js';

const UNIT_ATTENTION = check(SenseKey.unitAttention, Asc.deviceReset);

describe('ScsiDisk, commands', () => {
  it('reads and writes with READ(16) and WRITE(16)', async () => {
    const { port, disk } = await openDisk();
    const data = pattern(1024, 1);
    expect(await write(disk, 4096, data)).toBe(BlockStatus.ok);
    expect(Buffer.compare((await read(disk, 4096, 1024)).bytes, data)).toBe(0);
    expect(port.seen).toMatchObject([
      { name: 'WRITE(16)', cdb: { lba: 8, blocks: 2, fua: false } },
      { name: 'READ(16)', cdb: { lba: 8, blocks: 2, fua: false } },
    ]);
  });

  it('addresses sectors of 4096 bytes', async () => {
    const { port, disk } = await openDisk({ blockBytes: 4096 });
    await write(disk, 8192, pattern(4096, 1));
    expect(port.seen).toMatchObject([{ cdb: { lba: 2, blocks: 1 } }]);
  });

  it('sets FUA where the device has it', async () => {
    const { port, disk } = await openDisk();
    await write(disk, 0, pattern(512, 1), { forceUnitAccess: true });
    expect(port.seen).toMatchObject([{ name: 'WRITE(16)', cdb: { fua: true } }]);
  });

  it('synchronizes the cache behind a write where the device has no FUA', async () => {
    const { port, disk } = await openDisk({ dpofua: false });
    expect(disk.info.canForceUnitAccess).toBe(false);
    await write(disk, 1024, pattern(1024, 1), { forceUnitAccess: true });
    expect(port.seen).toMatchObject([
      { name: 'WRITE(16)', cdb: { fua: false } },
      { name: 'SYNCHRONIZE CACHE(16)', cdb: { lba: 0, blocks: 0 } },
    ]);
  });

  it('needs neither where the device has no write cache', async () => {
    const { port, disk } = await openDisk({ dpofua: false, writeCache: false });
    expect(disk.info.canForceUnitAccess).toBe(true);
    await write(disk, 0, pattern(512, 1), { forceUnitAccess: true });
    expect(port.names).toEqual(['WRITE(16)']);
  });

  it('takes a device that does not tell about its cache to have one', async () => {
    const { port, disk } = await openDisk({ dpofua: false, writeCache: null });
    await write(disk, 0, pattern(512, 1), { forceUnitAccess: true });
    expect(port.names).toEqual(['WRITE(16)', 'SYNCHRONIZE CACHE(16)']);
  });

  it('compares and writes in one command, and tells a mismatch', async () => {
    const { port, disk, services } = await openDisk();
    const slab = new Slab(1024);
    slab.bytes.fill(7, 512);
    const fields = { op: BlockOp.compareAndWrite, offset: 1024, length: 512, slab };
    expect(await submit(disk, { ...fields, forceUnitAccess: true })).toBe(BlockStatus.ok);
    expect(port.bytes.subarray(1024, 1536).every((byte) => byte === 7)).toBe(true);
    expect(await submit(disk, fields)).toBe(BlockStatus.mismatch);
    expect(port.seen.map(({ name, cdb }) => [name, cdb.lba, cdb.blocks, cdb.fua])).toEqual([
      ['COMPARE AND WRITE', 2, 1, true],
      ['COMPARE AND WRITE', 2, 1, false],
    ]);
    // Somebody else was there first: no news for the log.
    expect(services.lines).toEqual([]);
  });

  it('synchronizes the cache behind a compare and write where the device has no FUA', async () => {
    const { port, disk } = await openDisk({ dpofua: false });
    const slab = new Slab(1024);
    const fields = { op: BlockOp.compareAndWrite, length: 512, slab, forceUnitAccess: true };
    expect(await submit(disk, fields)).toBe(BlockStatus.ok);
    expect(port.names).toEqual(['COMPARE AND WRITE', 'SYNCHRONIZE CACHE(16)']);
  });

  it('has no compare and write where the device does not, or turns out not to', async () => {
    const none = await openDisk({ limits: { compareAndWriteBlocksMax: 0 } });
    expect(none.disk.info.compareBytesMax).toBe(0);
    const denied = await openDisk({ refuses: ['COMPARE AND WRITE'] });
    expect(denied.disk.info.compareBytesMax).toBe(0);
    const { port, disk } = await openDisk();
    expect(disk.info.compareBytesMax).toBe(512);
    port.injectNext('COMPARE AND WRITE', INVALID_OPCODE);
    const fields = { op: BlockOp.compareAndWrite, length: 512, slab: new Slab(1024) };
    expect(await submit(disk, fields)).toBe(BlockStatus.notSupported);
    expect(disk.info.compareBytesMax).toBe(0);
  });

  it('flushes the whole unit, with time for it', async () => {
    const { port, disk } = await openDisk();
    expect(await submit(disk, { op: BlockOp.flush })).toBe(BlockStatus.ok);
    const cdb = { lba: 0, blocks: 0, immediate: false };
    expect(port.seen).toMatchObject([
      { name: 'SYNCHRONIZE CACHE(16)', cdb, timeoutMs: FLUSH_TIMEOUT_MS },
    ]);
  });

  it('trims with UNMAP, which has no FUA and is flushed behind if that is wanted', async () => {
    const { port, disk } = await openDisk();
    await write(disk, 0, pattern(2048, 1));
    const fields = { op: BlockOp.trim, offset: 512, length: 1024, forceUnitAccess: true };
    expect(await submit(disk, fields)).toBe(BlockStatus.ok);
    expect(port.seen.slice(1)).toMatchObject([
      { name: 'UNMAP', cdb: { allocationLength: 24 } },
      { name: 'SYNCHRONIZE CACHE(16)', cdb: { lba: 0, blocks: 0 } },
    ]);
    expect([...port.mapped]).toEqual([0, 3]);
  });

  it('keeps the UNMAP lists of parallel trims apart', async () => {
    const { port, disk } = await openDisk();
    port.isHeld = true;
    for (let lba = 0; lba < 64; lba++) port.mapped.add(lba);
    const trims = Array.from({ length: 10 }, (_, index) =>
      submit(disk, { op: BlockOp.trim, offset: index * 2048, length: 512 }),
    );
    port.release();
    await Promise.all(trims);
    const left = [...port.mapped].filter((lba) => lba < 40);
    expect(left).toEqual(Array.from({ length: 40 }, (_, lba) => lba).filter((lba) => lba % 4 > 0));
  });

  it('writes zeroes with WRITE SAME and UNMAP, and without UNMAP where no hole may be', async () => {
    const { port, disk } = await openDisk();
    await submit(disk, { op: BlockOp.writeZeroes, length: 65_536 });
    await submit(disk, { op: BlockOp.writeZeroes, length: 65_536, noHole: true });
    expect(port.seen).toMatchObject([
      {
        name: 'WRITE SAME(16)',
        cdb: { blocks: 128, unmap: true },
        timeoutMs: WRITE_SAME_TIMEOUT_MS,
      },
      { name: 'WRITE SAME(16)', cdb: { blocks: 128, unmap: false } },
    ]);
  });

  it('does not trust UNMAP for zeroes where unmapped blocks do not read as zeroes', async () => {
    const { port, disk } = await openDisk({ readZeroes: false });
    await submit(disk, { op: BlockOp.writeZeroes, length: 512 });
    expect(port.seen).toMatchObject([{ name: 'WRITE SAME(16)', cdb: { unmap: false } }]);
    expect(disk.info.trimReadsZeroes).toBe(false);
  });

  it('writes zeroes from a buffer where there is no WRITE SAME, one piece after the other', async () => {
    const { port, disk } = await openDisk({ refuses: ['WRITE SAME(16)'] });
    port.bytes.fill(1);
    const length = 2 * DISK_ZERO_BUFFER_BYTES + 512;
    const fields = { op: BlockOp.writeZeroes, offset: 512, length, forceUnitAccess: true };
    expect(await submit(disk, fields)).toBe(BlockStatus.ok);
    expect(port.seen).toMatchObject([
      { name: 'WRITE(16)', cdb: { lba: 1, blocks: 512, fua: true } },
      { name: 'WRITE(16)', cdb: { lba: 513, blocks: 512, fua: true } },
      { name: 'WRITE(16)', cdb: { lba: 1025, blocks: 1, fua: true } },
    ]);
    const firstOther = port.bytes.subarray(512).findIndex((byte) => byte !== 0);
    expect(firstOther).toBe(length);
    expect(port.bytes[511]).toBe(1);
  });

  it('refuses fast zeroes where there is no WRITE SAME', async () => {
    const { port, disk } = await openDisk({ refuses: ['WRITE SAME(16)'] });
    const fields = { op: BlockOp.writeZeroes, length: 512, fastOnly: true };
    expect(await submit(disk, fields)).toBe(BlockStatus.notSupported);
    expect(port.seen).toEqual([]);
  });

  it('caches with PRE-FETCH, for which CONDITION MET is success, within the device limit', async () => {
    const { port, disk } = await openDisk({ limits: { prefetchBlocksMax: 8 } });
    expect(disk.info.canCache).toBe(true);
    expect(await submit(disk, { op: BlockOp.cache, length: 65_536 })).toBe(BlockStatus.ok);
    expect(port.seen).toMatchObject([
      { name: 'PRE-FETCH(16)', cdb: { lba: 0, blocks: 8, immediate: true } },
    ]);
  });

  it('sends as many commands at once as the port is deep, and the rest in order', async () => {
    const { port, disk } = await openDisk({ queueDepth: 4 });
    port.isHeld = true;
    const reads = Array.from({ length: 20 }, (_, index) => read(disk, index * 512, 512));
    expect(port.inFlight.length).toBe(4);
    port.release();
    await Promise.all(reads);
    expect(port.inFlightMax).toBe(4);
    expect(port.seen.map(({ cdb }) => cdb.lba)).toEqual(
      Array.from({ length: 20 }, (_, lba) => lba),
    );
  });
});

describe('ScsiDisk, learning', () => {
  it('uses the 10-byte forms of READ, WRITE and SYNCHRONIZE CACHE where there are no others', async () => {
    const refuses = ['READ(16)', 'WRITE(16)', 'SYNCHRONIZE CACHE(16)'];
    const { port, disk } = await openDisk({ refuses });
    for (let round = 0; round < 2; round++) {
      expect(await write(disk, 512, pattern(1024, 1))).toBe(BlockStatus.ok);
      expect(Buffer.compare((await read(disk, 512, 1024)).bytes, pattern(1024, 1))).toBe(0);
      expect(await submit(disk, { op: BlockOp.flush })).toBe(BlockStatus.ok);
    }
    const known = ['WRITE(10)', 'READ(10)', 'SYNCHRONIZE CACHE(10)'];
    const [write16, ...rest] = port.names;
    expect(write16).toBe('WRITE(16)');
    expect(rest).toEqual(['WRITE(10)', 'READ(10)', 'SYNCHRONIZE CACHE(16)', known[2], ...known]);
    expect(port.seen[1]?.cdb).toMatchObject({ lba: 1, blocks: 2 });
  });

  it('has no 10-byte form for a device that they do not reach all of', async () => {
    const refuses = ['READ(16)'];
    const { port, disk } = await openDisk({ refuses, sizeBlocks: 2 ** 32 + 1 });
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    expect(port.names).toEqual(['READ(16)']);
  });

  it('takes the 10-byte forms at once for a device with the reduced command set', async () => {
    const { port, disk } = await openDisk({ inquiry: { deviceType: 0x0e } });
    await read(disk, 0, 512);
    expect(port.names).toEqual(['READ(10)']);
    expect(disk.info.transferBytesMax).toBeLessThanOrEqual(0xffff * 512);
  });

  it('goes over to WRITE(16) when the device refuses the WRITE SAME it did not deny', async () => {
    const refuses = ['REPORT SUPPORTED OPERATION CODES', 'WRITE SAME(16)'];
    const { port, disk } = await openDisk({ refuses });
    port.bytes.fill(1);
    const fields = { op: BlockOp.writeZeroes, length: 1024 };
    expect(await submit(disk, fields)).toBe(BlockStatus.ok);
    expect(port.names).toEqual(['WRITE SAME(16)', 'WRITE SAME(16)', 'WRITE(16)']);
    expect(port.bytes.subarray(0, 1024).every((byte) => byte === 0)).toBe(true);
    port.seen.length = 0;
    expect(await submit(disk, fields)).toBe(BlockStatus.ok);
    expect(port.names).toEqual(['WRITE(16)']);
    expect(await submit(disk, { ...fields, fastOnly: true })).toBe(BlockStatus.notSupported);
  });

  it('answers a fast write zeroes at the refusal, and not after writing slowly', async () => {
    const refuses = ['REPORT SUPPORTED OPERATION CODES', 'WRITE SAME(16)'];
    const { port, disk } = await openDisk({ refuses });
    const fields = { op: BlockOp.writeZeroes, length: 1024, fastOnly: true };
    expect(await submit(disk, fields)).toBe(BlockStatus.notSupported);
    expect(port.names).toEqual(['WRITE SAME(16)', 'WRITE SAME(16)']);
  });

  it('stops offering a trim that the device refuses', async () => {
    const refuses = ['REPORT SUPPORTED OPERATION CODES', 'UNMAP'];
    const { disk } = await openDisk({ refuses, provisioning: { writeSame16Unmap: false } });
    expect(disk.info.canTrim).toBe(true);
    const fields = { op: BlockOp.trim, length: 512 };
    expect(await submit(disk, fields)).toBe(BlockStatus.notSupported);
    expect(disk.info.canTrim).toBe(false);
  });

  it('takes a refused flush for done where there is no cache, and for an error where there is', async () => {
    const refuses = ['SYNCHRONIZE CACHE(16)', 'SYNCHRONIZE CACHE(10)'];
    const without = await openDisk({ refuses, writeCache: false });
    expect(await submit(without.disk, { op: BlockOp.flush })).toBe(BlockStatus.ok);
    const withCache = await openDisk({ refuses });
    expect(await submit(withCache.disk, { op: BlockOp.flush })).toBe(BlockStatus.ioError);
  });
});

describe('ScsiDisk, commands sent again', () => {
  it('sends a command again that met a unit attention', async () => {
    const { port, disk, services } = await openDisk();
    port.injectNext('WRITE(16)', UNIT_ATTENTION, 3);
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ok);
    expect(port.names.filter((name) => name === 'WRITE(16)').length).toBe(4);
    expect(services.lines.map(({ facts }) => facts['sense'])).toEqual(Array(3).fill('6/29/03'));
  });

  it('gives up on a device that has nothing but unit attentions', async () => {
    const { port, disk } = await openDisk();
    port.injectNext('READ(16)', UNIT_ATTENTION, 1000);
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    const reads = port.names.filter((name) => name === 'READ(16)');
    expect(reads.length).toBe(1 + UNIT_ATTENTION_RETRIES_MAX);
  });

  for (const [title, ending] of [
    ['ABORTED COMMAND', check(SenseKey.abortedCommand, Asc.none)],
    ['TASK ABORTED', { status: ScsiStatus.taskAborted }],
    ['a reset', { outcome: DeliveryOutcome.aborted }],
    ['a timeout and a confirmed abort', { outcome: DeliveryOutcome.timedOut }],
  ] as const) {
    it(`sends a command again that ended with ${title}, a few times`, async () => {
      const { port, disk } = await openDisk();
      port.injectNext('READ(16)', ending, 2);
      expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
      port.seen.length = 0;
      port.injectNext('READ(16)', ending, 1000);
      expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
      expect(port.names.length).toBe(1 + ABORTED_RETRIES_MAX);
    });
  }

  for (const [title, ending] of [
    ['BUSY', { status: ScsiStatus.busy }],
    ['TASK SET FULL', { status: ScsiStatus.taskSetFull }],
    ['NOT READY, becoming ready', check(SenseKey.notReady, Asc.becomingReady)],
  ] as const) {
    it(`waits longer and longer after ${title}`, async () => {
      const { port, disk, services } = await openDisk();
      port.injectNext('WRITE(16)', ending, 3);
      const done = write(disk, 0, pattern(512, 1));
      for (const [index, delayMs] of [10, 20, 40].entries()) {
        await turn();
        expect(port.names.length).toBe(index + 1);
        services.clock.advance(delayMs - 1);
        await turn();
        expect(port.names.length).toBe(index + 1);
        services.clock.advance(1);
      }
      expect(await done).toBe(BlockStatus.ok);
      // The next look at the unit.
      expect(services.clock.armedCount).toBe(1);
    });
  }

  it('gives up on a device that stays busy', async () => {
    const { port, disk, services } = await openDisk();
    port.injectNext('READ(16)', { status: ScsiStatus.busy }, 10_000);
    let status: BlockStatus | null = null;
    const done = read(disk, 0, 512).then((ended) => (status = ended.status));
    let waitedMs = 0;
    for (; status === null && waitedMs < 10 * BUSY_TOTAL_MS; waitedMs += BUSY_DELAY_MIN_MS) {
      await turn();
      services.clock.advance(BUSY_DELAY_MIN_MS);
    }
    await done;
    expect(status).toBe(BlockStatus.ioError);
    expect(waitedMs).toBeGreaterThanOrEqual(BUSY_TOTAL_MS);
    expect(waitedMs).toBeLessThan(2 * BUSY_TOTAL_MS);
    expect(services.lines.at(-1)?.facts).toMatchObject({ reason: 'BUSY', command: 'READ(16)' });
  });

  it('starts each request with a fresh number of attempts', async () => {
    const { port, disk } = await openDisk({ queueDepth: 1 });
    const ending = check(SenseKey.abortedCommand, Asc.none);
    for (let round = 0; round < 3; round++) {
      port.injectNext('READ(16)', ending, ABORTED_RETRIES_MAX);
      expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
    }
  });

  it('never sends a command again that may still be executing', async () => {
    const { port, disk } = await openDisk();
    port.injectNext('WRITE(16)', { outcome: DeliveryOutcome.connectionLost });
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ioError);
    expect(port.names).toEqual(['WRITE(16)']);
  });
});

describe('ScsiDisk, failures', () => {
  it('fails a read whose data did not come, once and with a line that says so', async () => {
    const { port, disk, services } = await openDisk();
    port.injectNext('READ(16)', { outcome: DeliveryOutcome.dataMissing });
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    expect(port.names).toEqual(['READ(16)']);
    expect(services.lines).toMatchObject([
      { level: 'warn', facts: { reason: expect.stringMatching(/says it sent more/) as string } },
    ]);
  });

  for (const [triple, key, asc, readStatus, writeStatus] of [
    ['3/11/00', SenseKey.mediumError, Asc.unrecoveredReadError, 'ioError', 'ioError'],
    ['4/44/00', SenseKey.hardwareError, Asc.internalTargetFailure, 'ioError', 'ioError'],
    ['5/21/00', SenseKey.illegalRequest, Asc.lbaOutOfRange, 'invalid', 'noSpace'],
    ['5/26/00', SenseKey.illegalRequest, Asc.invalidFieldInParameterList, 'ioError', 'ioError'],
    ['7/27/00', SenseKey.dataProtect, Asc.writeProtected, 'notPermitted', 'notPermitted'],
    ['7/27/07', SenseKey.dataProtect, Asc.spaceAllocationFailed, 'noSpace', 'noSpace'],
    ['2/04/03', SenseKey.notReady, Asc.manualInterventionRequired, 'ioError', 'ioError'],
    ['0/00/00', SenseKey.noSense, Asc.none, 'ioError', 'ioError'],
  ] as const) {
    it(`maps ${triple} to ${readStatus} for a read, ${writeStatus} for a write, and logs it once`, async () => {
      const { port, disk, services } = await openDisk();
      port.inject = () => check(key, asc);
      expect((await read(disk, 512, 512)).status).toBe(BlockStatus[readStatus]);
      expect(services.lines).toMatchObject([
        { level: 'warn', facts: { sense: triple, command: 'READ(16)', lba: 1, blocks: 1 } },
      ]);
      expect(await write(disk, 512, pattern(512, 1))).toBe(BlockStatus[writeStatus]);
      expect(services.lines.length).toBe(2);
    });
  }

  for (const status of [ScsiStatus.reservationConflict, ScsiStatus.acaActive, 0x7e]) {
    it(`takes status 0x${status.toString(16)} for an I/O error`, async () => {
      const { port, disk, services } = await openDisk();
      port.injectNext('WRITE(16)', { status });
      expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.ioError);
      expect(services.lines.length).toBe(1);
    });
  }

  it('takes a recovered error for success', async () => {
    const { port, disk } = await openDisk();
    port.injectNext('SYNCHRONIZE CACHE(16)', check(SenseKey.recoveredError, Asc.none));
    expect(await submit(disk, { op: BlockOp.flush })).toBe(BlockStatus.ok);
  });

  for (const residual of [512, 1, -1]) {
    it(`never takes GOOD with a residual of ${residual} for success`, async () => {
      const { port, disk, services } = await openDisk();
      port.residual = () => residual;
      expect((await read(disk, 0, 1024)).status).toBe(BlockStatus.ioError);
      expect(await write(disk, 0, pattern(1024, 1))).toBe(BlockStatus.ioError);
      const trim = { op: BlockOp.trim, length: 1024 };
      expect(await submit(disk, trim)).toBe(BlockStatus.ioError);
      expect(services.lines.length).toBe(3);
    });
  }

  it('fails the flush behind a write when that flush fails', async () => {
    const { port, disk } = await openDisk({ dpofua: false });
    port.injectNext('SYNCHRONIZE CACHE(16)', check(SenseKey.mediumError, Asc.writeError));
    const status = await write(disk, 0, pattern(512, 1), { forceUnitAccess: true });
    expect(status).toBe(BlockStatus.ioError);
  });
});

describe('ScsiDisk, changes of the unit', () => {
  const changed = check(SenseKey.unitAttention, Asc.capacityChanged);

  it('reads its capacity again after CAPACITY DATA HAS CHANGED and tells about it', async () => {
    const { port, disk } = await openDisk({ sizeBlocks: 1024 });
    const sizes: number[] = [];
    disk.onCapacityChange = (info) => sizes.push(info.sizeBytes);
    port.sizeBlocks = 512;
    port.injectNext('READ(16)', changed);
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ok);
    await turn();
    expect(sizes).toEqual([512 * 512]);
    expect(disk.info.sizeBytes).toBe(512 * 512);
    expect(await write(disk, 512 * 512, pattern(512, 1))).toBe(BlockStatus.noSpace);
  });

  it('becomes read-only with the device', async () => {
    const options = { writeProtected: false };
    const { port, disk } = await openDisk(options);
    options.writeProtected = true;
    port.injectNext('READ(16)', check(SenseKey.unitAttention, Asc.modeParametersChanged));
    await read(disk, 0, 512);
    await turn();
    expect(disk.info.readOnly).toBe(true);
    expect(await write(disk, 0, pattern(512, 1))).toBe(BlockStatus.notPermitted);
  });

  it('fails everything from then on when the block size changed', async () => {
    const { port, disk, services } = await openDisk({ queueDepth: 1 });
    port.injectNext('READ(16)', changed);
    port.blockBytes = 4096;
    port.sizeBlocks = 128;
    await read(disk, 0, 512);
    await turn();
    port.seen.length = 0;
    expect(await write(disk, 0, pattern(4096, 1))).toBe(BlockStatus.ioError);
    expect(port.seen).toEqual([]);
    expect(services.lines.filter(({ level }) => level === 'error').length).toBe(1);
  });
});

describe('ScsiDisk, a lost path', () => {
  it('fails what is in flight, queued and waiting, says so once, and fails what comes later', async () => {
    const { port, disk, services } = await openDisk({ queueDepth: 2 });
    port.injectNext('READ(16)', { status: ScsiStatus.busy });
    const reads = [read(disk, 0, 512)];
    await turn();
    port.isHeld = true;
    for (let index = 1; index < 10; index++) reads.push(read(disk, index * 512, 512));
    services.lines.length = 0;
    port.lose('the target reset the connection');
    const statuses = (await Promise.all(reads)).map(({ status }) => status);
    expect(statuses).toEqual(Array(10).fill(BlockStatus.ioError));
    expect(services.lines).toMatchObject([
      { level: 'error', facts: { reason: 'the target reset the connection' } },
    ]);
    expect(services.clock.armedCount).toBe(0);
    expect((await read(disk, 0, 512)).status).toBe(BlockStatus.ioError);
    await disk.close();
  });

  it('says so once when the commands in flight end before it hears why', async () => {
    const { port, disk, services } = await openDisk({ queueDepth: 16 });
    port.injectNext('READ(16)', { outcome: DeliveryOutcome.connectionLost }, 16);
    const reads = Array.from({ length: 16 }, (_, index) => read(disk, index * 512, 512));
    await Promise.all(reads);
    const told: string[] = [];
    disk.onLost = (reason) => told.push(reason);
    port.lose('the target reset the connection');
    expect(told).toEqual(['the target reset the connection']);
    const lines = services.lines.filter(({ level }) => level !== 'debug');
    expect(lines).toMatchObject([{ level: 'error', message: 'disk lost' }]);
    expect(services.lines.length).toBe(17);
  });
});

describe('ScsiDisk, extents', () => {
  it('asks GET LBA STATUS and joins what is alike', async () => {
    const { port, disk } = await openDisk();
    await write(disk, 1024, pattern(1024, 1));
    await write(disk, 2048, pattern(512, 1));
    expect(await disk.queryExtents(0, 8192)).toEqual([
      { lengthBytes: 1024, hole: true, zero: true },
      { lengthBytes: 1536, hole: false, zero: false },
      { lengthBytes: 5632, hole: true, zero: true },
    ]);
    expect(port.names.filter((name) => name === 'GET LBA STATUS').length).toBe(1);
  });

  it('does not call a hole zero where LBPRZ is not set', async () => {
    const { disk } = await openDisk({ readZeroes: false });
    expect(await disk.queryExtents(512, 512)).toEqual([
      { lengthBytes: 512, hole: true, zero: false },
    ]);
  });

  it('asks again where the device did not tell all, and stops at a limit', async () => {
    const { port, disk } = await openDisk({ sizeBlocks: 8192 });
    for (let lba = 0; lba < 8192; lba += 2) port.mapped.add(lba);
    const extents = await disk.queryExtents(0, 8192 * 512);
    expect(port.names.filter((name) => name === 'GET LBA STATUS').length).toBe(11);
    expect(extents.length).toBe(1024);
  });

  it('cuts to a range that does not lie on sectors', async () => {
    const { disk } = await openDisk();
    await write(disk, 512, pattern(512, 1));
    expect(await disk.queryExtents(500, 100)).toEqual([
      { lengthBytes: 12, hole: true, zero: true },
      { lengthBytes: 88, hole: false, zero: false },
    ]);
  });

  it('calls everything allocated where the device cannot tell', async () => {
    const all = [{ lengthBytes: 4096, hole: false, zero: false }];
    const fully = await openDisk({ provisioned: false });
    expect(await fully.disk.queryExtents(0, 4096)).toEqual(all);
    expect(fully.port.seen).toEqual([]);
    const refuses = ['REPORT SUPPORTED OPERATION CODES', 'GET LBA STATUS'];
    const refusing = await openDisk({ refuses });
    expect(await refusing.disk.queryExtents(0, 4096)).toEqual(all);
    expect(await refusing.disk.queryExtents(0, 4096)).toEqual(all);
    expect(refusing.port.names).toEqual(['GET LBA STATUS']);
  });

  it('calls everything allocated where the device sends no descriptor', async () => {
    const { port, disk } = await openDisk();
    port.truncateTo = () => 8;
    expect(await disk.queryExtents(0, 1024)).toEqual([
      { lengthBytes: 1024, hole: false, zero: false },
    ]);
  });

  it('refuses a range that is not on the disk, and reports a device that fails', async () => {
    const { port, disk } = await openDisk({ sizeBlocks: 8 });
    for (const [offset, length] of [
      [0, 0],
      [-512, 512],
      [4096, 1],
      [0, 4097],
      [Number.NaN, 512],
    ] as const) {
      await expect(disk.queryExtents(offset, length)).rejects.toMatchObject({
        code: 'scsi-invalid-range',
      });
    }
    port.inject = () => check(SenseKey.mediumError, Asc.none);
    const failure = disk.queryExtents(0, 512);
    await expect(failure).rejects.toBeInstanceOf(ScsiError);
    await expect(failure).rejects.toMatchObject({ code: 'scsi-sense-3-00-00' });
    await disk.close();
    await expect(disk.queryExtents(0, 512)).rejects.toMatchObject({ code: 'scsi-closed' });
  });
});

describe('ScsiDisk, memory', () => {
  it('gives all its memory back when it is closed', async () => {
    const pool = new SlabPool();
    const port = new ScsiPortDouble();
    const disk = await ScsiDisk.open(port, testServices(pool));
    await Promise.all([write(disk, 0, pattern(512, 1)), disk.queryExtents(0, 512), disk.close()]);
    expect(pool.usedCount).toBe(0);
    expect(port.listener).toBe(null);
  });

  it('takes no slot of the data pool for as long as it is open, however many disks there are', async () => {
    const pool = new SlabPool([
      { slotBytes: 4096, slotsMax: 1, slotsPerSlab: 1 },
      { slotBytes: DISK_ZERO_BUFFER_BYTES, slotsMax: 1, slotsPerSlab: 1 },
    ]);
    const data = pool.acquire(DISK_ZERO_BUFFER_BYTES);
    for (let count = 0; count < 3; count++) {
      const port = new ScsiPortDouble({ refuses: ['WRITE SAME(16)'] });
      port.bytes.fill(1);
      const disk = await ScsiDisk.open(port, testServices(pool));
      expect(pool.usedCount).toBe(1);
      const zeroes = { op: BlockOp.writeZeroes, length: 8192 };
      expect(await submit(disk, zeroes)).toBe(BlockStatus.ok);
      expect(port.bytes.findIndex((byte) => byte !== 0)).toBe(8192);
    }
    data?.release();
  });

  it('gives up when no buffer for a query comes free in time, and goes on when one does', async () => {
    const pool = new SlabPool([{ slotBytes: 4096, slotsMax: 1, slotsPerSlab: 1 }]);
    const services = testServices(pool);
    const disk = await ScsiDisk.open(new ScsiPortDouble(), services);
    const slot = pool.acquire(4096);
    const failing = expect(disk.queryExtents(0, 512)).rejects.toMatchObject({
      code: 'scsi-no-buffer',
    });
    await turn();
    services.clock.advance(SLOT_WAIT_MS);
    await failing;
    const waiting = disk.queryExtents(0, 512);
    await turn();
    services.clock.advance(SLOT_WAIT_MS - 1);
    slot?.release();
    expect(await waiting).toEqual([{ lengthBytes: 512, hole: true, zero: true }]);
    // The next look at the unit.
    expect(services.clock.armedCount).toBe(1);
    expect(pool.usedCount).toBe(0);
  });

  it('is refused in one sentence when there are as many disks as may be', async () => {
    const port = new ScsiPortDouble();
    const services = testServices();
    const unit = await inspectLogicalUnit(port, services);
    // What takes the place of an open disk. Those that other tests have left open count as well.
    const places: DiskSteps[] = [];
    expect(() => {
      while (places.length <= DISKS_MAX) places.push(new DiskSteps(unit, 1));
    }).toThrow(ScsiError);
    await expect(ScsiDisk.open(port, services)).rejects.toMatchObject({
      code: 'scsi-too-many-disks',
      message: `one process has at most ${DISKS_MAX} disks open; serve the others from another process`,
    });
    expect(services.clock.armedCount).toBe(0);
    places.pop()?.release();
    const disk = await ScsiDisk.open(port, services);
    await disk.close();
    for (const place of places) place.release();
  });

  it('keeps none when it cannot be opened', async () => {
    const pool = new SlabPool();
    const port = new ScsiPortDouble();
    port.inject = (_cdb, name) => (name === 'MODE SENSE(10)' ? UNIT_ATTENTION : undefined);
    await expect(ScsiDisk.open(port, testServices(pool))).rejects.toBeInstanceOf(ScsiError);
    expect(pool.usedCount).toBe(0);
    port.inject = (_cdb, name) => (name === 'TEST UNIT READY' ? INVALID_OPCODE : undefined);
    await expect(ScsiDisk.open(port, testServices(pool))).rejects.toBeInstanceOf(ScsiError);
    expect(pool.usedCount).toBe(0);
  });
});
