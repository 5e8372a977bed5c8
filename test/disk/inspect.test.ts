import { describe, expect, it } from 'vitest';
import { deviceInfoOf } from '../../src/disk/device-info.js';
import { ScsiError } from '../../src/disk/errors.js';
import { inspectLogicalUnit, reportLuns } from '../../src/disk/inspect.js';
import { TRIM_BYTES_MAX, WRITE_ZEROES_BYTES_MAX } from '../../src/disk/limits.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import { Asc, SenseKey } from '../../src/scsi/sense.js';
import { DeviceType, ScsiStatus, encodeReportLuns } from '../../src/scsi/wire.js';
import { INVALID_OPCODE, ScsiPortDouble, check } from '../support/scsi/port.js';
import type { DoubleOptions, Ending } from '../support/scsi/port.js';
import { testServices } from '../support/scsi/services.js';
import { turn } from '../support/waiting.js';

function inspect(options: DoubleOptions = {}) {
  return inspectLogicalUnit(new ScsiPortDouble(options), testServices());
}

async function infoOf(options: DoubleOptions = {}) {
  return deviceInfoOf(await inspect(options));
}

describe('inspectLogicalUnit', () => {
  it('tells all that there is to know', async () => {
    const unit = await inspect({ limits: { transferBlocksMax: 2048 } });
    expect(unit).toMatchObject({
      name: 'iqn.2026-11.io.example:double/0',
      vendor: 'ISERNBD',
      product: 'DOUBLE',
      revision: '0001',
      version: 6,
      tpgs: 1,
      serial: 'S-4711',
      designators: [
        { association: 'logical-unit', type: 'naa', value: '6001405abcdef012' },
        {
          association: 'target-port',
          type: 'scsi-name',
          value: 'iqn.2026-11.io.example:double,t,0x0001',
        },
      ],
      sizeBytes: 1 << 20,
      sizeBlocks: 2048,
      blockBytes: 512,
      physicalBlockBytes: 512,
      protectionType: 0,
      provisioned: true,
      readZeroes: true,
      readOnly: false,
      forceUnitAccess: true,
      writeCache: true,
      limits: { transferBlocksMax: 2048 },
      characteristics: { rotationRate: 1 },
      provisioning: { unmap: true, type: 2 },
      commands: { unmap: true, writeSame16: true, preFetch16: true, getLbaStatus: true },
      pathTransferBytesMax: 1 << 20,
      pathVerifiesDataIn: true,
    });
  });

  it('can be written as JSON and read back', async () => {
    const unit = await inspect();
    expect(JSON.parse(JSON.stringify(unit))).toEqual(unit);
  });

  it('gets along with a device that has only what every disk has', async () => {
    const refuses = [
      'READ CAPACITY(16)',
      'MODE SENSE(10)',
      'MODE SENSE(6)',
      'REPORT SUPPORTED OPERATION CODES',
    ];
    const port = new ScsiPortDouble({ refuses });
    port.inject = (cdb, name) => (name === 'INQUIRY' && cdb.evpd ? INVALID_OPCODE : undefined);
    const unit = await inspectLogicalUnit(port, testServices());
    expect(unit).toMatchObject({
      serial: '',
      designators: [],
      limits: null,
      characteristics: null,
      provisioning: null,
      provisioned: false,
      writeCache: null,
      forceUnitAccess: false,
      sizeBytes: 1 << 20,
      commands: { unmap: null, writeSame16: null, preFetch16: null, getLbaStatus: null },
    });
    const { canTrim, canCache, canFlush, canWriteZeroes } = deviceInfoOf(unit);
    expect([canTrim, canCache, canFlush, canWriteZeroes]).toEqual([false, false, true, true]);
  });

  it('asks for pages only that the device offers, and once about operation codes if it cannot tell', async () => {
    const refuses = ['REPORT SUPPORTED OPERATION CODES'];
    const port = new ScsiPortDouble({ limits: null, provisioning: null, refuses });
    await inspectLogicalUnit(port, testServices());
    const pages = port.seen.filter(({ cdb }) => cdb.evpd).map(({ cdb }) => cdb.pageCode);
    expect(pages).toEqual([0x00, 0x80, 0x83, 0xb1]);
    expect(port.names.filter((name) => name === refuses[0]).length).toBe(1);
  });

  it('falls back to MODE SENSE(6)', async () => {
    const unit = await inspect({ refuses: ['MODE SENSE(10)'], writeProtected: true });
    expect(unit.readOnly).toBe(true);
  });

  it('consumes the unit attentions of a new path', async () => {
    const port = new ScsiPortDouble();
    port.injectNext('TEST UNIT READY', check(SenseKey.unitAttention, Asc.powerOnOrReset), 3);
    await inspectLogicalUnit(port, testServices());
    expect(port.names.filter((name) => name === 'TEST UNIT READY').length).toBe(4);
  });

  it('does not take the limit of READ CAPACITY(10) for a size', async () => {
    const refuses = ['READ CAPACITY(16)'];
    const failure = inspect({ refuses, sizeBlocks: 2 ** 32 });
    await expect(failure).rejects.toMatchObject({ code: 'scsi-no-capacity' });
    await expect(failure).rejects.toThrow(/does not support READ CAPACITY\(16\)/);
    expect((await inspect({ refuses, sizeBlocks: 2 ** 32 - 1 })).sizeBlocks).toBe(2 ** 32 - 1);
  });

  it('takes a device with the reduced command set for a disk', async () => {
    const unit = await inspect({ inquiry: { deviceType: DeviceType.simplifiedBlock } });
    expect(unit.commands).toMatchObject({ readWrite16: false, synchronizeCache16: false });
  });

  it('waits for a device that becomes ready', async () => {
    const port = new ScsiPortDouble();
    const services = testServices();
    port.injectNext('TEST UNIT READY', check(SenseKey.notReady, Asc.becomingReady), 2);
    const done = inspectLogicalUnit(port, services);
    for (let waits = 0; waits < 2; waits++) {
      await turn();
      expect(services.clock.armedCount).toBe(1);
      services.clock.advance(20);
    }
    expect((await done).sizeBytes).toBe(1 << 20);
  });

  for (const [title, command, ending, code] of [
    ['no such LUN', 'INQUIRY', [5, Asc.logicalUnitNotSupported], 'scsi-no-such-lun'],
    ['no such LUN, late', 'TEST UNIT READY', [5, Asc.logicalUnitNotSupported], 'scsi-no-such-lun'],
    ['no medium', 'TEST UNIT READY', [2, Asc.mediumNotPresent], 'scsi-no-medium'],
    ['no medium, tray open', 'TEST UNIT READY', [2, 0x3a02], 'scsi-no-medium'],
    ['not ready', 'TEST UNIT READY', [2, Asc.initializingCommandRequired], 'scsi-not-ready'],
    ['broken', 'READ CAPACITY(16)', [4, Asc.internalTargetFailure], 'scsi-sense-4-44-00'],
  ] as const) {
    it(`refuses a unit that is ${title}, with code ${code}`, async () => {
      const port = new ScsiPortDouble();
      const [key, asc] = ending;
      port.injectNext(command, check(key, asc), 1000);
      const failure = inspectLogicalUnit(port, testServices());
      await expect(failure).rejects.toBeInstanceOf(ScsiError);
      await expect(failure).rejects.toMatchObject({ code });
      await expect(failure).rejects.toThrow(port.name);
    });
  }

  for (const [ending, code, words] of [
    [{ outcome: DeliveryOutcome.connectionLost }, 'scsi-connection-lost', /connection lost/],
    [{ outcome: DeliveryOutcome.timedOut }, 'scsi-timeout', /timed out/],
    [{ outcome: DeliveryOutcome.aborted }, 'scsi-aborted', /aborted/],
    [{ status: ScsiStatus.reservationConflict }, 'scsi-status', /RESERVATION CONFLICT/],
  ] as const satisfies readonly (readonly [Ending, string, RegExp])[]) {
    it(`says ${String(words)} with code ${code}`, async () => {
      const port = new ScsiPortDouble();
      port.injectNext('READ CAPACITY(16)', ending, 1000);
      const failure = inspectLogicalUnit(port, testServices());
      await expect(failure).rejects.toMatchObject({ code });
      await expect(failure).rejects.toThrow(words);
    });
  }

  for (const qualifier of [1, 3]) {
    it(`takes peripheral qualifier ${qualifier} for no such LUN`, async () => {
      const failure = inspect({ inquiry: { qualifier, deviceType: 0x1f } });
      await expect(failure).rejects.toMatchObject({ code: 'scsi-no-such-lun' });
    });
  }

  for (const [deviceType, words] of [
    [DeviceType.cdDvd, /CD or DVD drive/],
    [DeviceType.tape, /tape drive/],
    [0x0c, /storage array controller/],
    [0x11, /device of type 0x11/],
  ] as const) {
    it(`refuses a device of type ${deviceType} by name`, async () => {
      const failure = inspect({ inquiry: { deviceType } });
      await expect(failure).rejects.toMatchObject({ code: 'scsi-not-a-disk' });
      await expect(failure).rejects.toThrow(words);
    });
  }

  for (const [blockBytes, code] of [
    [0, 'scsi-no-capacity'],
    [520, 'scsi-block-size'],
    [256, 'scsi-block-size'],
    [131_072, 'scsi-block-size'],
  ] as const) {
    it(`refuses blocks of ${blockBytes} bytes`, async () => {
      const port = new ScsiPortDouble();
      port.blockBytes = blockBytes;
      const failure = inspectLogicalUnit(port, testServices());
      await expect(failure).rejects.toMatchObject({ code });
    });
  }

  it('refuses a size above 8 PiB', async () => {
    const port = new ScsiPortDouble();
    port.sizeBlocks = 2 ** 50;
    const failure = inspectLogicalUnit(port, testServices());
    await expect(failure).rejects.toMatchObject({ code: 'scsi-no-capacity' });
  });

  for (const name of ['INQUIRY', 'READ CAPACITY(16)']) {
    it(`refuses a ${name} answer that is cut short`, async () => {
      const port = new ScsiPortDouble();
      port.truncateTo = (arrived) => (arrived === name ? 8 : undefined);
      const failure = inspectLogicalUnit(port, testServices());
      await expect(failure).rejects.toMatchObject({ code: 'scsi-malformed' });
    });
  }
});

describe('deviceInfoOf', () => {
  it('limits transfers to what device and path both carry', async () => {
    expect((await infoOf({ transferBytesMax: 100_000 })).transferBytesMax).toBe(99_840);
    const limits = { transferBlocksMax: 16 };
    expect((await infoOf({ limits, blockBytes: 4096 })).transferBytesMax).toBe(65_536);
    expect((await infoOf({ transferBytesMax: 5000, blockBytes: 8192 })).transferBytesMax).toBe(
      8192,
    );
  });

  it('prefers what the device does, within its limits', async () => {
    expect((await infoOf()).preferredBytes).toBe(4096);
    const limits = { transferGranularityBlocks: 128 };
    expect((await infoOf({ limits })).preferredBytes).toBe(65_536);
    expect((await infoOf({ limits: { transferGranularityBlocks: 3 } })).preferredBytes).toBe(4096);
    expect((await infoOf({ limits: { transferBlocksMax: 3 } })).preferredBytes).toBe(1024);
  });

  it('limits trims to whole allocation units, and to a size that takes no eternity', async () => {
    const limits = { unmapBlocksMax: 1000, unmapGranularityBlocks: 64 };
    expect((await infoOf({ limits })).trimBytesMax).toBe(960 * 512);
    expect((await infoOf()).trimBytesMax).toBe(TRIM_BYTES_MAX - (TRIM_BYTES_MAX % 512) - 0);
    const unreported = { unmapBlocksMax: 0 };
    expect((await infoOf({ limits: unreported })).trimBytesMax).toBe(0x7f_ffff * 512);
  });

  it('limits write zeroes to what the device reports, or to what is safe without a report', async () => {
    const limits = { writeSameBlocksMax: 128 };
    expect((await infoOf({ limits })).writeZeroesBytesMax).toBe(65_536);
    expect((await infoOf()).writeZeroesBytesMax).toBe(0xffff * 512);
    const endless = { writeSameBlocksMax: 2 ** 40 };
    expect((await infoOf({ limits: endless })).writeZeroesBytesMax).toBe(WRITE_ZEROES_BYTES_MAX);
  });

  it('offers no change of a read-only device', async () => {
    expect(await infoOf({ writeProtected: true })).toMatchObject({
      readOnly: true,
      canTrim: false,
      trimBytesMax: 0,
      canWriteZeroes: false,
      writeZeroesBytesMax: 0,
    });
  });

  it('knows a rotating medium from page B1', async () => {
    expect((await infoOf({ rotationRate: 7200 })).rotational).toBe(true);
    expect((await infoOf({ rotationRate: 1 })).rotational).toBe(false);
    expect((await infoOf({ rotationRate: 0 })).rotational).toBe(false);
  });
});

describe('reportLuns', () => {
  it('lists the logical units', async () => {
    const listed = await reportLuns(new ScsiPortDouble(), testServices());
    expect(listed).toEqual([
      { lun: 0, lunHigh: 0 },
      { lun: 1, lunHigh: 0x0001_0000 },
      { lun: 300, lunHigh: 0x412c_0000 },
    ]);
  });

  it('asks again with room for a long list', async () => {
    const luns = Array.from({ length: 1000 }, (_, lun) => lun);
    const port = new ScsiPortDouble();
    const view = new DataView(new ArrayBuffer(16_384));
    const wholeBytes = encodeReportLuns(view, 0, luns);
    const plain = port.execute.bind(port);
    port.execute = (command) => {
      const { slab, slabOffset, dataLength } = command;
      const length = Math.min(wholeBytes, dataLength);
      plain(command);
      const { done } = command;
      command.done = (ended) => {
        command.done = done;
        slab?.bytes.set(new Uint8Array(view.buffer, 0, length), slabOffset);
        ended.residual = dataLength - length;
        done(ended);
      };
    };
    const listed = await reportLuns(port, testServices());
    expect(listed.map(({ lun }) => lun)).toEqual(luns);
    expect(port.seen.map(({ cdb }) => cdb.allocationLength)).toEqual([4096, wholeBytes]);
  });
});
