import fc from 'fast-check';
import { beforeEach, describe, expect, it } from 'vitest';
import { Asc, SenseKey } from '../../../src/scsi/sense.js';
import {
  ScsiStatus,
  decodeBlockLimits,
  decodeBlockProvisioning,
  decodeDesignators,
  decodeInquiry,
  decodeLbaStatus,
  decodeModeParameters,
  decodeReadCapacity16,
  decodeReportLuns,
  decodeSupportedPages,
  lbaStatusCount,
} from '../../../src/scsi/wire.js';
import {
  COMPARE_AND_WRITE_BLOCKS_MAX,
  UNIT_TRANSFER_BYTES_MAX,
} from '../../../src/target/unit/limits.js';
import { LogicalUnits } from '../../../src/target/unit/logical-units.js';
import { MemoryStore } from '../../../src/store/memory-store.js';
import { Attention, Nexus } from '../../../src/target/unit/nexus.js';
import { StoreOp, StoreStatus } from '../../../src/store/store.js';
import type { Store, StoreRequest } from '../../../src/store/store.js';
import { cdb10, cdb16, execute, ok, refused, u16, u32, u64 } from '../../support/target/disk.js';
import type { Outcome } from '../../support/target/disk.js';
import { decodeAllCommands } from '../../support/scsi/supported-commands.js';

const NAME = 'iqn.2026-11.io.example:disk';
const BLOCK = 512;
const BLOCKS = 256;

const unmapList = (ranges: readonly (readonly [number, number])[]) => {
  const descriptors = ranges.flatMap(([lba, blocks]) => [...u64(lba), ...u32(blocks), ...u32(0)]);
  return Buffer.from([
    ...u16(descriptors.length + 6),
    ...u16(descriptors.length),
    ...u32(0),
    ...descriptors,
  ]);
};
const unmapCdb = (listBytes: number, flags = 0) => [
  0x42,
  flags,
  0,
  0,
  0,
  0,
  0,
  ...u16(listBytes),
  0,
];
const view = (data: Buffer) => new DataView(data.buffer, data.byteOffset, data.length);

let store: Store;
let units: LogicalUnits;
beforeEach(() => {
  store = new MemoryStore({ sizeBytes: BLOCKS * BLOCK });
  units = new LogicalUnits(NAME, [store]);
});

const write = (lba: number, data: Buffer, flags = 0) =>
  execute(units, cdb16(0x8a, flags, lba, data.length / BLOCK), { dataOut: data });
/** Whether each write that reaches the store from now on is forced to the medium. */
const watchWrites = (): readonly boolean[] => {
  const seen: boolean[] = [];
  const submit = store.submit.bind(store);
  store.submit = (request: StoreRequest) => {
    if (request.op === StoreOp.write) seen.push(request.forceUnitAccess);
    submit(request);
  };
  return seen;
};
const read = async (lba: number, blocks: number) =>
  ok(await execute(units, cdb16(0x88, 0, lba, blocks))).data;

describe('a disk, about itself,', () => {
  it('gives standard INQUIRY data', async () => {
    const { data } = ok(await execute(units, [0x12, 0, 0, 0, 96, 0]));
    const inquiry = decodeInquiry(view(data), 0, data.length);
    expect(inquiry).toMatchObject({
      qualifier: 0,
      deviceType: 0,
      removable: false,
      commandQueuing: true,
      tpgs: 1,
      vendor: 'ISERNBD',
    });
  });

  it('cuts INQUIRY data off at the allocation length', async () => {
    expect((await execute(units, [0x12, 0, 0, 0, 5, 0])).data).toHaveLength(5);
    expect((await execute(units, [0x12, 0, 0, 0, 0, 0])).data).toHaveLength(0);
  });

  it('has the VPD pages that it lists, and no other', async () => {
    const { data } = ok(await execute(units, [0x12, 1, 0, 0, 255, 0]));
    const pages = decodeSupportedPages(view(data), 0, data.length);
    expect(pages).toEqual([0x00, 0x80, 0x83, 0x86, 0xb0, 0xb1, 0xb2]);
    for (let page = 0; page < 256; page++) {
      const outcome = await execute(units, [0x12, 1, page, 1, 0, 0]);
      if (pages.includes(page)) expect(ok(outcome).data[1]).toBe(page);
      else refused(outcome, Asc.invalidFieldInCdb);
    }
    refused(await execute(units, [0x12, 0, 0x80, 0, 255, 0]), Asc.invalidFieldInCdb);
  });

  it('has an identity that is its own and lasts', async () => {
    const other = new MemoryStore({ sizeBytes: 4096 });
    const serial = async (name: string, stores: readonly Store[], lun: number) => {
      const several = new LogicalUnits(name, stores);
      return ok(await execute(several, [0x12, 1, 0x80, 0, 255, 0], { lun })).data.toString('hex');
    };
    const own = await serial(NAME, [store], 0);
    expect(await serial(NAME, [store], 0)).toBe(own);
    // The disk is what it is, whatever its number.
    expect(await serial(NAME, [other, store], 1)).toBe(own);
    expect(await serial(NAME, [other], 0)).not.toBe(own);
    expect(await serial(`${NAME}2`, [store], 0)).not.toBe(own);
    const { data } = ok(await execute(units, [0x12, 1, 0x83, 1, 0, 0]));
    const designators = decodeDesignators(view(data), 0, data.length);
    expect(designators.map(({ type }) => type)).toEqual([3, 1, 4, 5, 8]);
    expect(designators[0]!.bytes[0]! >> 4).toBe(3);
    expect(Buffer.from(designators[4]!.bytes).toString()).toMatch(/^iqn.*,t,0x0001\0{1,4}$/);
  });

  it('tells its limits and that it is thin', async () => {
    const limits = ok(await execute(units, [0x12, 1, 0xb0, 0, 255, 0])).data;
    expect(decodeBlockLimits(view(limits), 0, limits.length)).toMatchObject({
      transferBlocksMax: UNIT_TRANSFER_BYTES_MAX / BLOCK,
      compareAndWriteBlocksMax: COMPARE_AND_WRITE_BLOCKS_MAX,
      unmapGranularityBlocks: 8,
      writeSameNonZero: true,
    });
    const page = ok(await execute(units, [0x12, 1, 0xb2, 0, 255, 0])).data;
    expect(decodeBlockProvisioning(view(page), 0, page.length)).toMatchObject({
      unmap: true,
      writeSame16Unmap: true,
      writeSame10Unmap: true,
      readZeroes: 1,
      type: 2,
    });
  });

  it('tells its capacity', async () => {
    const short = ok(await execute(units, [0x25, ...Array<number>(9).fill(0)])).data;
    expect([...short]).toEqual([...u32(BLOCKS - 1), ...u32(BLOCK)]);
    const long = ok(await execute(units, [0x9e, 0x10, ...u64(0), ...u32(32), 0, 0])).data;
    const capacity = {} as Parameters<typeof decodeReadCapacity16>[2];
    decodeReadCapacity16(view(long), 0, capacity);
    expect(capacity).toMatchObject({
      lastLba: BLOCKS - 1,
      blockBytes: BLOCK,
      physicalBlockExponent: 3,
      provisioned: true,
      readZeroes: true,
    });
    refused(await execute(units, [0x25, 0, 0, 0, 0, 1, 0, 0, 0, 0]), Asc.invalidFieldInCdb);
  });

  it('tells its mode pages, none of which can be changed', async () => {
    for (const form of [6, 10] as const) {
      const cdb = (page: number, subpage = 0) =>
        form === 6
          ? [0x1a, 8, page, subpage, 255, 0]
          : [0x5a, 8, page, subpage, 0, 0, 0, 0, 255, 0];
      const all = ok(await execute(units, cdb(0x3f))).data;
      expect(decodeModeParameters(view(all), 0, all.length, form)).toMatchObject({
        writeProtected: false,
        forceUnitAccess: true,
        caching: { writeCache: true, readCache: true },
        control: { descriptorSense: false },
      });
      const caching = ok(await execute(units, cdb(0x08))).data;
      expect(decodeModeParameters(view(caching), 0, caching.length, form)!.control).toBeNull();
      const changeable = ok(await execute(units, cdb(0x48))).data;
      expect(
        decodeModeParameters(view(changeable), 0, changeable.length, form)!.caching,
      ).toMatchObject({ writeCache: false });
      ok(await execute(units, cdb(0x3f, 0xff)));
      refused(await execute(units, cdb(0xc8)), 0x3900);
      refused(await execute(units, cdb(0x1c)), Asc.invalidFieldInCdb);
      refused(await execute(units, cdb(0x08, 1)), Asc.invalidFieldInCdb);
    }
  });

  it('refuses what it does not have: by its operation code, or by its service action', async () => {
    for (const opcode of [0x04, 0x3b, 0x4c, 0x7f, 0xc1, 0xff]) {
      refused(await execute(units, [opcode]), Asc.invalidOpcode);
    }
    for (const [opcode, action] of [
      [0x9e, 0x1f],
      [0xa3, 0x1f],
      [0x5e, 4],
      [0x5f, 7],
    ] as const) {
      refused(await execute(units, [opcode, action]), Asc.invalidFieldInCdb);
    }
  });

  it('tells how long commands may take, to those who ask', async () => {
    const all = ok(await execute(units, [0xa3, 0x0c, 0x80, 0, 0, 0, ...u32(4096), 0, 0])).data;
    const commands = decodeAllCommands(view(all), 0, all.length);
    expect(all.readUInt32BE(0)).toBe(all.length - 4);
    expect(all.length).toBe(4 + 20 * commands.length);
    const sync = ok(await execute(units, [0xa3, 0x0c, 0x81, 0x91, 0, 0, ...u32(4096), 0, 0])).data;
    expect(sync.subarray(0, 4).toString('hex')).toBe('00830010');
    expect(sync.subarray(20).toString('hex')).toBe('000a0000' + '0000001e' + '00000078');
    // Of what it does not have there is nothing to tell.
    const none = ok(await execute(units, [0xa3, 0x0c, 0x81, 0x04, 0, 0, ...u32(4096), 0, 0])).data;
    expect(none.toString('hex')).toBe('00010000');
  });

  it('tells its task management functions', async () => {
    const ask = (flags: number, length: number) =>
      execute(units, [0xa3, 0x0d, flags, 0, 0, 0, ...u32(length), 0, 0]);
    expect(ok(await ask(0, 16)).data.toString('hex')).toBe('da000000');
    expect(ok(await ask(0x80, 64)).data.toString('hex')).toBe(`da00000c${'00'.repeat(12)}`);
    refused(await ask(0, 3), Asc.invalidFieldInCdb);
  });

  it('has log pages: which there are, and a temperature that it does not know', async () => {
    const ask = (page: number, subpage = 0, pointer = 0, flags = 0) =>
      execute(units, [0x4d, flags, 0x40 | page, subpage, 0, ...u16(pointer), ...u16(512), 0]);
    expect(ok(await ask(0)).data.toString('hex')).toBe('00000002' + '000d');
    expect(ok(await ask(0, 0xff)).data.toString('hex')).toBe('40ff0006' + '000000ff0d00');
    const temperature = '0000030200ff';
    const reference = '0001030200ff';
    expect(ok(await ask(0x0d)).data.toString('hex')).toBe(`0d00000c${temperature}${reference}`);
    expect(ok(await ask(0x0d, 0, 1)).data.toString('hex')).toBe(`0d000006${reference}`);
    for (const outcome of [ask(0x0d, 0, 2), ask(0, 0, 1), ask(0x2f), ask(0, 1), ask(0, 0, 0, 1)]) {
      refused(await outcome, Asc.invalidFieldInCdb);
    }
  });

  it('tests itself when asked to, and says when it fails', async () => {
    const test = (flags: number, length = 0) =>
      execute(units, [0x1d, flags, 0, ...u16(length), 0], { dataOut: Buffer.alloc(length) });
    for (const flags of [0x04, 0x00, 0xa0, 0xc0, 0x07]) ok(await test(flags));
    // Background self-tests, a code beside SELFTEST, and diagnostic pages.
    for (const flags of [0x20, 0x40, 0x80, 0x24]) {
      refused(await test(flags), Asc.invalidFieldInCdb);
    }
    refused(await test(0x10, 8), Asc.invalidFieldInCdb);
    store.submit = (request: StoreRequest) => {
      request.status = request.offset === 0 ? StoreStatus.ok : StoreStatus.ioError;
      request.done(request);
    };
    refused(await test(0x04), Asc.selfTestFailed, SenseKey.hardwareError);
  });

  it('takes its own mode pages back, and nothing else', async () => {
    for (const form of [6, 10] as const) {
      const headerBytes = form === 6 ? 4 : 8;
      const sense =
        form === 6 ? [0x1a, 8, 0x3f, 0, 255, 0] : [0x5a, 8, 0x3f, 0, 0, 0, 0, ...u16(255), 0];
      const current = ok(await execute(units, sense)).data;
      const select = (list: Buffer, flags = 0x10, length = list.length) =>
        execute(
          units,
          form === 6
            ? [0x15, flags, 0, 0, length, 0]
            : [0x55, flags, 0, 0, 0, 0, 0, ...u16(length), 0],
          { dataOut: list },
        );
      ok(await select(current));
      ok(await select(Buffer.alloc(0)));
      ok(await select(current.subarray(0, headerBytes)));
      const describe = (blocks: number, blockBytes: number) => {
        const header = Buffer.from(current.subarray(0, headerBytes));
        header[form === 6 ? 3 : 7] = 8;
        return Buffer.concat([
          header,
          Buffer.from([...u32(blocks), ...u32(blockBytes)]),
          current.subarray(headerBytes),
        ]);
      };
      for (const blocks of [0, BLOCKS, 0xffff_ffff]) ok(await select(describe(blocks, BLOCK)));
      for (const [blocks, blockBytes] of [
        [BLOCKS - 1, BLOCK],
        [BLOCKS, 4096],
      ] as const) {
        refused(await select(describe(blocks, blockBytes)), Asc.invalidFieldInParameterList);
      }
      for (let at = headerBytes; at < current.length; at++) {
        const changed = Buffer.from(current);
        changed[at]! ^= at === headerBytes ? 0x04 : 0x01;
        const outcome = await select(changed);
        expect(outcome.status).toBe(ScsiStatus.checkCondition);
        expect([Asc.invalidFieldInParameterList, Asc.parameterListLengthError]).toContain(
          outcome.asc,
        );
      }
      const { parameterListLengthError, invalidFieldInCdb } = Asc;
      refused(await select(current.subarray(0, -1)), parameterListLengthError);
      refused(await select(current.subarray(0, headerBytes - 1)), parameterListLengthError);
      refused(await select(current, 0x11), invalidFieldInCdb);
      refused(await select(current, 0x00), invalidFieldInCdb);
    }
  });

  it('reports the commands that it has, and has those that it reports', async () => {
    const { data } = ok(await execute(units, [0xa3, 0x0c, 0, 0, 0, 0, ...u32(4096), 0, 0]));
    const commands = decodeAllCommands(view(data), 0, data.length);
    expect(commands.length).toBeGreaterThan(25);
    for (const { opcode, serviceAction } of commands) {
      const outcome = await execute(units, [opcode, Math.max(0, serviceAction)]);
      expect(outcome.asc === Asc.invalidOpcode).toBe(false);
      const options = serviceAction < 0 ? 1 : 2;
      const one = await execute(units, [
        0xa3,
        0x0c,
        options,
        opcode,
        ...u16(Math.max(0, serviceAction)),
        ...u32(4096),
      ]);
      expect(ok(one).data[1]! & 7).toBe(3);
      expect(one.data[4]).toBe(opcode);
    }
    const unknown = ok(await execute(units, [0xa3, 0x0c, 1, 0x04, 0, 0, ...u32(4096)]));
    expect(unknown.data[1]! & 7).toBe(1);
    const wrong = Asc.invalidFieldInCdb;
    refused(await execute(units, [0xa3, 0x0c, 1, 0x9e, 0, 0, ...u32(4096)]), wrong);
    refused(await execute(units, [0xa3, 0x0c, 2, 0x12, 0, 0, ...u32(4096)]), wrong);
    refused(await execute(units, [0xa3, 0x0c, 7, 0x12, 0, 0, ...u32(4096)]), wrong);
    ok(await execute(units, [0xa3, 0x0c, 3, 0x12, 0, 0, ...u32(4096)]));
  });

  it('reports one target port group, which is active and optimized', async () => {
    const { data } = ok(await execute(units, [0xa3, 0x0a, 0, 0, 0, 0, ...u32(4096)]));
    expect(data.toString('hex')).toBe('0000000c' + '80010001' + '00000001' + '00000001');
    const extended = ok(await execute(units, [0xa3, 0x2a, 0, 0, 0, 0, ...u32(4096)])).data;
    expect(extended.readUInt32BE(0)).toBe(extended.length - 4);
    expect(extended[4]! >> 4).toBe(1);
  });

  it('lists the LUNs, whichever of them is asked', async () => {
    const three = new LogicalUnits(NAME, [store, store, store]);
    for (const lun of [0, 2, -1]) {
      const { data } = ok(await execute(three, [0xa0, 0, 0, 0, 0, 0, ...u32(4096)], { lun }));
      const listed = decodeReportLuns(view(data), 0, data.length);
      expect(listed.map(({ lun }) => lun)).toEqual([0, 1, 2]);
    }
    const wellKnown = ok(await execute(three, [0xa0, 0, 1, 0, 0, 0, ...u32(4096)])).data;
    expect(decodeReportLuns(view(wellKnown), 0, wellKnown.length)).toEqual([]);
    refused(await execute(three, [0xa0, 0, 0, 0, 0, 0, ...u32(15)]), Asc.invalidFieldInCdb);
    refused(await execute(three, [0xa0, 0, 9, 0, 0, 0, ...u32(16)]), Asc.invalidFieldInCdb);
  });
});

describe('a LUN without a disk', () => {
  it('says so, and nothing else', async () => {
    const { data } = ok(await execute(units, [0x12, 0, 0, 0, 96, 0], { lun: -1 }));
    expect(data[0]).toBe(0x7f);
    const missing = Asc.logicalUnitNotSupported;
    refused(await execute(units, [0x00], { lun: -1 }), missing);
    refused(await execute(units, [0x12, 1, 0, 0, 96, 0], { lun: -1 }), missing);
    refused(await execute(units, cdb16(0x88, 0, 0, 1), { lun: 7 }), missing);
    const sense = ok(await execute(units, [0x03, 0, 0, 0, 252, 0], { lun: -1 })).data;
    expect([sense[2], sense[12]]).toEqual([SenseKey.illegalRequest, 0x25]);
  });
});

describe('a disk, to a new nexus,', () => {
  it('tells of the power-on once, with the first command that may be refused for it', async () => {
    const nexus = new Nexus();
    ok(await execute(units, [0x12, 0, 0, 0, 96, 0], { nexus }));
    ok(await execute(units, [0xa0, 0, 0, 0, 0, 0, ...u32(64)], { nexus }));
    const { unitAttention } = SenseKey;
    refused(await execute(units, [0x00], { nexus }), Asc.powerOnOrReset, unitAttention);
    ok(await execute(units, [0x00], { nexus }));
  });

  it('tells of it in REQUEST SENSE instead, in either format', async () => {
    const fixed = ok(await execute(units, [0x03, 0, 0, 0, 252, 0], { nexus: new Nexus() })).data;
    expect([fixed[0], fixed[2], fixed[12]]).toEqual([0x70, SenseKey.unitAttention, 0x29]);
    const nexus = new Nexus();
    const described = ok(await execute(units, [0x03, 1, 0, 0, 252, 0], { nexus })).data;
    expect([...described.subarray(0, 3)]).toEqual([0x72, SenseKey.unitAttention, 0x29]);
    ok(await execute(units, [0x00], { nexus }));
    const none = ok(await execute(units, [0x03, 0, 0, 0, 252, 0], { nexus })).data;
    expect(none[2]).toBe(SenseKey.noSense);
  });

  it('tells of the most urgent condition', () => {
    const nexus = new Nexus();
    nexus.takeAttention();
    nexus.establish(Attention.reservationsReleased);
    nexus.establish(Attention.reset);
    expect(nexus.takeAttention()).toBe(Asc.deviceReset);
    expect(nexus.takeAttention()).toBe(Asc.reservationsReleased);
    expect(nexus.takeAttention()).toBe(Asc.none);
    nexus.establish(Attention.registrationsPreempted);
    nexus.establish(Attention.powerOn);
    expect(nexus.takeAttention()).toBe(Asc.powerOnOrReset);
    expect(nexus.takeAttention()).toBe(Asc.none);
  });
});

describe('a disk, reading and writing,', () => {
  it('keeps to its bounds with every command that has an address', async () => {
    const opcodes16 = [0x88, 0x8a, 0x8f, 0x90, 0x91, 0x93];
    const opcodes10 = [0x28, 0x2a, 0x2f, 0x34, 0x35, 0x41];
    for (const [lba, blocks] of [
      [BLOCKS, 1],
      [BLOCKS - 1, 2],
      [2 ** 32 - 1, 1],
    ] as const) {
      for (const opcode of opcodes16) {
        refused(await execute(units, cdb16(opcode, 0, lba, blocks)), Asc.lbaOutOfRange);
      }
      for (const opcode of opcodes10) {
        refused(await execute(units, cdb10(opcode, 0, lba, blocks)), Asc.lbaOutOfRange);
      }
    }
    const huge = [0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0];
    refused(await execute(units, huge), Asc.lbaOutOfRange);
    refused(
      await execute(units, [0x9e, 0x12, ...u64(BLOCKS), ...u32(24), 0, 0]),
      Asc.lbaOutOfRange,
    );
    ok(await execute(units, cdb16(0x88, 0, BLOCKS, 0)));
  });

  it('refuses transfers above its limit, protection and NACA', async () => {
    const large = new LogicalUnits(NAME, [new MemoryStore({ sizeBytes: 64 << 20 })]);
    const { invalidFieldInCdb } = Asc;
    const blocks = UNIT_TRANSFER_BYTES_MAX / BLOCK;
    refused(await execute(large, cdb16(0x88, 0, 0, blocks + 1)), invalidFieldInCdb);
    ok(await execute(large, cdb16(0x88, 0, 0, blocks)));
    refused(await execute(units, cdb16(0x88, 0x20, 0, 1)), invalidFieldInCdb);
    refused(await execute(units, cdb16(0x8a, 0x20, 0, 1)), invalidFieldInCdb);
    refused(await execute(units, [0x00, 0, 0, 0, 0, 4]), invalidFieldInCdb);
  });

  it('does READ and WRITE of all lengths', async () => {
    const data = Buffer.alloc(BLOCK, 0x5a);
    const forms: [number[], number[]][] = [
      [
        [0x0a, 0, 0, 3, 1, 0],
        [0x08, 0, 0, 3, 1, 0],
      ],
      [cdb10(0x2a, 0, 4, 1), cdb10(0x28, 0x08, 4, 1)],
      [
        [0xaa, 0x08, ...u32(5), ...u32(1), 0, 0],
        [0xa8, 0, ...u32(5), ...u32(1), 0, 0],
      ],
      [cdb16(0x8a, 0x08, 6, 1), cdb16(0x88, 0x10, 6, 1)],
    ];
    for (const [writing, reading] of forms) {
      ok(await execute(units, writing, { dataOut: data }));
      expect(ok(await execute(units, reading)).data.equals(data)).toBe(true);
    }
  });

  it('does nothing about a READ(6) of 0 blocks but read 256 of them', async () => {
    expect(ok(await execute(units, [0x08, 0, 0, 0, 0, 0])).data).toHaveLength(256 * BLOCK);
  });

  it('answers TEST UNIT READY, START STOP UNIT, PRE-FETCH and SYNCHRONIZE CACHE', async () => {
    ok(await execute(units, [0x00]));
    ok(await execute(units, [0x1b, 0, 0, 0, 1, 0]));
    refused(await execute(units, [0x1b, 0, 0, 0, 0, 0]), Asc.invalidFieldInCdb);
    refused(await execute(units, [0x1b, 0, 0, 0, 2, 0]), Asc.invalidFieldInCdb);
    refused(await execute(units, [0x1b, 0, 0, 0, 0x11, 0]), Asc.invalidFieldInCdb);
    ok(await execute(units, cdb10(0x35, 0, 0, 0)));
    ok(await execute(units, cdb16(0x91, 2, 1, 5)));
    const { conditionMet } = ScsiStatus;
    expect((await execute(units, cdb10(0x34, 2, 0, 8))).status).toBe(conditionMet);
    expect((await execute(units, cdb16(0x90, 2, 0, 8))).status).toBe(conditionMet);
  });

  it('repeats a block with WRITE SAME', async () => {
    const block = Buffer.from(Array.from({ length: BLOCK }, (_, index) => index & 0xff));
    ok(await execute(units, cdb16(0x93, 0, 10, 100), { dataOut: block }));
    const data = await read(9, 102);
    for (let index = 1; index <= 100; index++) {
      expect(data.subarray(index * BLOCK, (index + 1) * BLOCK).equals(block)).toBe(true);
    }
    expect(data.subarray(0, BLOCK).every((byte) => byte === 0)).toBe(true);
    expect(data.subarray(101 * BLOCK).every((byte) => byte === 0)).toBe(true);
  });

  it('repeats a block beyond its scratch buffer', async () => {
    const large = new LogicalUnits(NAME, [new MemoryStore({ sizeBytes: 4 << 20 })]);
    ok(await execute(large, cdb16(0x93, 0, 1, 1500), { dataOut: Buffer.alloc(BLOCK, 3) }));
    const { data } = await execute(large, cdb16(0x88, 0, 0, 1502));
    expect(data.subarray(BLOCK, 1501 * BLOCK).every((byte) => byte === 3)).toBe(true);
    expect(data[BLOCK - 1]! + data[1501 * BLOCK]!).toBe(0);
  });

  it('makes holes with WRITE SAME of zeroes with UNMAP, and allocates without it', async () => {
    await write(0, Buffer.alloc(64 * BLOCK, 1));
    const zero = Buffer.alloc(BLOCK);
    ok(await execute(units, cdb16(0x93, 0x08, 0, 8), { dataOut: zero }));
    ok(await execute(units, cdb16(0x93, 0x09, 8, 8)));
    ok(await execute(units, cdb10(0x41, 0x08, 16, 8), { dataOut: zero }));
    ok(await execute(units, cdb16(0x93, 0x01, 24, 8)));
    expect([0, 8, 16, 24].map((lba) => store.isAllocated(lba * BLOCK))).toEqual([
      false,
      false,
      false,
      true,
    ]);
    expect((await read(0, 32)).every((byte) => byte === 0)).toBe(true);
    expect((await read(32, 32)).every((byte) => byte === 1)).toBe(true);
    // What is not zero cannot be a hole, whatever UNMAP says.
    const ones = Buffer.alloc(BLOCK, 1);
    ok(await execute(units, cdb16(0x93, 0x08, 0, 8), { dataOut: ones }));
    expect((await read(0, 8)).every((byte) => byte === 1)).toBe(true);
  });

  it('refuses WRITE SAME of nothing, with ANCHOR or protection', async () => {
    const { invalidFieldInCdb } = Asc;
    refused(await execute(units, cdb16(0x93, 0, 0, 0)), invalidFieldInCdb);
    refused(await execute(units, cdb16(0x93, 0x18, 0, 1)), invalidFieldInCdb);
    refused(await execute(units, cdb16(0x93, 0x20, 0, 1)), invalidFieldInCdb);
    const huge = new LogicalUnits(NAME, [new MemoryStore({ sizeBytes: 2 ** 30 })]);
    refused(await execute(huge, cdb16(0x93, 1, 0, 2 ** 20)), invalidFieldInCdb);
  });

  it('refuses WRITE SAME with PBDATA or LBDATA, which would write other blocks than the one given', async () => {
    const before = Buffer.alloc(8 * BLOCK, 5);
    await write(0, before);
    for (const bits of [0x02, 0x04, 0x06]) {
      for (const cdb of [cdb16(0x93, bits, 0, 8), cdb10(0x41, bits, 0, 8)]) {
        refused(
          await execute(units, cdb, { dataOut: Buffer.alloc(BLOCK, 1) }),
          Asc.invalidFieldInCdb,
        );
      }
    }
    expect((await read(0, 8)).equals(before)).toBe(true);
  });

  it('refuses an address that counts from the last one (RELADR)', async () => {
    for (const opcode of [0x28, 0x2a, 0x2f, 0x34, 0x35, 0x41]) {
      const outcome = await execute(units, cdb10(opcode, 1, 8, 1), {
        dataOut: Buffer.alloc(BLOCK),
      });
      refused(outcome, Asc.invalidFieldInCdb);
    }
  });

  it('keeps more than FUA_NV asks for', async () => {
    const seen = watchWrites();
    for (const flags of [0, 0x02, 0x08, 0x0a]) await write(0, Buffer.alloc(BLOCK, 1), flags);
    expect(seen).toEqual([false, true, true, true]);
  });

  it('forces every WRITE to the medium that asks for it, and no other', async () => {
    const seen = watchWrites();
    const dataOut = Buffer.alloc(BLOCK, 1);
    for (const flags of [0, 0x08]) {
      ok(await execute(units, cdb10(0x2a, flags, 3, 1), { dataOut }));
      ok(await execute(units, cdb16(0x8a, flags, 3, 1), { dataOut }));
    }
    expect(seen).toEqual([false, false, true, true]);
  });

  it('unmaps ranges, and tells what is mapped', async () => {
    await write(0, Buffer.alloc(64 * BLOCK, 1));
    const list = unmapList([
      [8, 8],
      [40, 0],
      [32, 16],
    ]);
    ok(await execute(units, unmapCdb(list.length), { dataOut: list }));
    expect((await read(8, 8)).every((byte) => byte === 0)).toBe(true);
    const { data } = ok(await execute(units, [0x9e, 0x12, ...u64(4), ...u32(4096), 0, 0]));
    const runs = Array.from({ length: lbaStatusCount(view(data), 0, data.length) }, (_, index) => {
      const run = { lba: 0, blocks: 0, status: 0 };
      decodeLbaStatus(view(data), 0, index, run);
      return [run.lba, run.blocks, run.status];
    });
    expect(runs).toEqual([
      [4, 4, 0],
      [8, 8, 1],
      [16, 16, 0],
      [32, 16, 1],
      [48, 16, 0],
      [64, 192, 1],
    ]);
    const short = ok(await execute(units, [0x9e, 0x12, ...u64(4), ...u32(24), 0, 0])).data;
    expect(lbaStatusCount(view(short), 0, short.length)).toBe(1);
  });

  it('acts on an UNMAP list as a whole, or not at all', async () => {
    await write(0, Buffer.alloc(64 * BLOCK, 1));
    const send = (list: Buffer, bytes = list.length, flags = 0) =>
      execute(units, unmapCdb(bytes, flags), { dataOut: list });
    const bad = unmapList([
      [0, 8],
      [BLOCKS - 1, 2],
    ]);
    refused(await send(bad), Asc.lbaOutOfRange);
    refused(await send(unmapList([[0, 8]]), 23), Asc.parameterListLengthError);
    refused(await send(unmapList([[0, 8]]), 7), Asc.parameterListLengthError);
    refused(await send(Buffer.alloc(8192), 8192), Asc.parameterListLengthError);
    refused(await send(unmapList([[0, 8]]), 24, 1), Asc.invalidFieldInCdb);
    expect((await read(0, 64)).every((byte) => byte === 1)).toBe(true);
    ok(await send(unmapList([])));
    ok(await send(Buffer.alloc(0)));
  });

  it('refuses to write when it is read-only, and reads', async () => {
    const readOnly = new LogicalUnits(NAME, [
      new MemoryStore({ sizeBytes: BLOCKS * BLOCK, readOnly: true }),
    ]);
    for (const cdb of [
      cdb16(0x8a, 0, 0, 1),
      cdb10(0x2a, 0, 0, 1),
      cdb16(0x93, 0, 0, 1),
      cdb16(0x89, 0, 0, 1),
      unmapCdb(24),
    ]) {
      refused(await execute(readOnly, cdb), Asc.writeProtected, SenseKey.dataProtect);
    }
    ok(await execute(readOnly, cdb16(0x88, 0, 0, 1)));
    const mode = ok(await execute(readOnly, [0x1a, 8, 0x3f, 0, 255, 0])).data;
    expect(mode[2]! & 0x80).toBe(0x80);
  });

  it('is thick over a store that cannot have holes', async () => {
    const thick = new LogicalUnits(NAME, [
      Object.assign(new MemoryStore({ sizeBytes: BLOCKS * BLOCK }), { canPunch: false }),
    ]);
    refused(await execute(thick, unmapCdb(24)), Asc.invalidOpcode);
    refused(await execute(thick, cdb16(0x93, 0x09, 0, 8)), Asc.invalidFieldInCdb);
    ok(await execute(thick, cdb16(0x93, 0x01, 0, 8)));
    const page = ok(await execute(thick, [0x12, 1, 0xb2, 0, 255, 0])).data;
    expect(decodeBlockProvisioning(view(page), 0, page.length)).toMatchObject({
      unmap: false,
      readZeroes: 0,
      type: 0,
    });
  });
});

describe('COMPARE AND WRITE', () => {
  const compareAndWrite = (expected: number, next: number, blocks = 1, flags = 0) =>
    execute(units, [0x89, flags, ...u64(5), 0, 0, 0, blocks, 0, 0], {
      dataOut: Buffer.concat([
        Buffer.alloc(blocks * BLOCK, expected),
        Buffer.alloc(blocks * BLOCK, next),
      ]),
    });

  it('writes when what is there is what was expected', async () => {
    ok(await compareAndWrite(0, 1));
    ok(await compareAndWrite(1, 2));
    expect((await read(5, 1)).every((byte) => byte === 2)).toBe(true);
    expect((await read(6, 1)).every((byte) => byte === 0)).toBe(true);
    ok(await compareAndWrite(0, 0, 0));
  });

  it('forces what it writes to the medium when it is asked to', async () => {
    const seen = watchWrites();
    ok(await compareAndWrite(0, 1));
    ok(await compareAndWrite(1, 2, 1, 0x08));
    expect(seen).toEqual([false, true]);
  });

  it('reports where the first difference is, and writes nothing', async () => {
    const data = Buffer.alloc(BLOCK);
    data[77] = 1;
    await write(5, data);
    const outcome = await compareAndWrite(0, 9);
    refused(outcome, Asc.miscompareDuringVerify, SenseKey.miscompare);
    expect(outcome.information).toBe(77);
    expect((await read(5, 1)).equals(data)).toBe(true);
  });

  it('refuses more blocks than it compares in one piece', async () => {
    refused(
      await execute(units, [0x89, 0, ...u64(0), 0, 0, 0, COMPARE_AND_WRITE_BLOCKS_MAX + 1]),
      Asc.invalidFieldInCdb,
    );
  });

  it('is atomic: of many counters that race, none is lost', async () => {
    const count = 20;
    const increment = async (): Promise<void> => {
      for (;;) {
        const before = (await read(5, 1))[0]!;
        const { status } = await compareAndWrite(before, before + 1);
        if (status === ScsiStatus.good) return;
      }
    };
    await Promise.all(Array.from({ length: count }, increment));
    expect((await read(5, 1))[0]).toBe(count);
  });
});

describe('VERIFY', () => {
  it('compares with the data that it is given', async () => {
    const data = Buffer.from(Array.from({ length: 4 * BLOCK }, (_, index) => (index * 7) & 0xff));
    await write(0, data);
    ok(await execute(units, cdb16(0x8f, 0, 0, 4)));
    ok(await execute(units, cdb16(0x8f, 2, 0, 4), { dataOut: data }));
    ok(await execute(units, cdb10(0x2f, 2, 1, 3), { dataOut: data.subarray(BLOCK) }));
    const changed = Buffer.from(data);
    changed[3 * BLOCK + 5]! ^= 1;
    const outcome = await execute(units, cdb16(0x8f, 2, 0, 4), { dataOut: changed });
    refused(outcome, Asc.miscompareDuringVerify, SenseKey.miscompare);
    expect(outcome.information).toBe(3 * BLOCK + 5);
    refused(await execute(units, cdb16(0x8f, 4, 0, 4)), Asc.invalidFieldInCdb);
  });

  it('compares each block with the same one', async () => {
    await write(0, Buffer.alloc(8 * BLOCK, 4));
    ok(await execute(units, cdb16(0x8f, 6, 0, 8), { dataOut: Buffer.alloc(BLOCK, 4) }));
    const other = await execute(units, cdb16(0x8f, 6, 0, 9), { dataOut: Buffer.alloc(BLOCK, 4) });
    refused(other, Asc.miscompareDuringVerify, SenseKey.miscompare);
    expect(other.information).toBe(8 * BLOCK);
  });

  it('compares more than its scratch buffer holds', async () => {
    const large = new LogicalUnits(NAME, [new MemoryStore({ sizeBytes: 4 << 20 })]);
    const data = Buffer.from(Array.from({ length: 1 << 20 }, (_, index) => (index >> 9) & 0xff));
    ok(await execute(large, cdb16(0x8a, 0, 0, 2048), { dataOut: data }));
    ok(await execute(large, cdb16(0x8f, 2, 0, 2048), { dataOut: data }));
    data[data.length - 1]! ^= 1;
    const outcome = await execute(large, cdb16(0x8f, 2, 0, 2048), { dataOut: data });
    expect(outcome.information).toBe(data.length - 1);
  });
});

/** A store that lets the test decide when and how requests end. */
class ScriptedStore extends MemoryStore {
  readonly held: StoreRequest[] = [];
  isHolding = false;
  failure: { op: StoreOp; status: StoreStatus } | null = null;

  override submit(request: StoreRequest): void {
    if (this.isHolding) this.held.push(request);
    else if (this.failure?.op === request.op) this.#fail(request, this.failure.status);
    else super.submit(request);
  }

  releaseAll(): void {
    this.isHolding = false;
    for (const request of this.held.splice(0)) super.submit(request);
  }

  #fail(request: StoreRequest, status: StoreStatus): void {
    queueMicrotask(() => {
      request.status = status;
      request.done(request);
    });
  }
}

describe('a disk whose store fails', () => {
  it('turns every failure into its sense', async () => {
    const scripted = new ScriptedStore({ sizeBytes: BLOCKS * BLOCK });
    const failing = new LogicalUnits(NAME, [scripted]);
    const { mediumError, dataProtect } = SenseKey;
    const cases: [StoreOp, StoreStatus, number[], number, number][] = [
      [StoreOp.read, StoreStatus.ioError, cdb16(0x88, 0, 3, 1), mediumError, 0x1100],
      [StoreOp.write, StoreStatus.ioError, cdb16(0x8a, 0, 3, 1), mediumError, 0x0c00],
      [StoreOp.write, StoreStatus.noSpace, cdb16(0x8a, 0, 3, 1), dataProtect, 0x2707],
      [StoreOp.flush, StoreStatus.ioError, cdb16(0x91, 0, 0, 0), mediumError, 0x0c00],
      [StoreOp.flush, StoreStatus.ioError, cdb16(0x88, 8, 0, 1), mediumError, 0x0c00],
      [StoreOp.punch, StoreStatus.ioError, cdb16(0x93, 9, 3, 8), mediumError, 0x0c00],
      [StoreOp.writeZeroes, StoreStatus.noSpace, cdb16(0x93, 1, 3, 8), dataProtect, 0x2707],
      [StoreOp.read, StoreStatus.ioError, [0x89, 0, ...u64(3), 0, 0, 0, 1], mediumError, 0x1100],
      [StoreOp.read, StoreStatus.ioError, cdb16(0x8f, 2, 3, 1), mediumError, 0x1100],
    ];
    for (const [op, status, cdb, senseKey, asc] of cases) {
      scripted.failure = { op, status };
      const outcome = await execute(failing, cdb);
      refused(outcome, asc, senseKey);
      if (op !== StoreOp.flush) expect(outcome.information).toBe(3);
      expect(outcome.data).toHaveLength(0);
    }
    scripted.failure = { op: StoreOp.punch, status: StoreStatus.ioError };
    const list = unmapList([[0, 8]]);
    refused(
      await execute(failing, unmapCdb(list.length), { dataOut: list }),
      Asc.writeError,
      mediumError,
    );
    scripted.failure = { op: StoreOp.write, status: StoreStatus.ioError };
    refused(
      await execute(failing, cdb16(0x93, 0, 0, 8), { dataOut: Buffer.alloc(BLOCK, 1) }),
      Asc.writeError,
      mediumError,
    );
  });
});

describe('an ORDERED command', () => {
  it('runs behind what came before it and ahead of what comes after', async () => {
    const scripted = new ScriptedStore({ sizeBytes: BLOCKS * BLOCK });
    const disk = new LogicalUnits(NAME, [scripted]);
    const order: string[] = [];
    scripted.isHolding = true;
    const track = (name: string, outcome: Promise<Outcome>) =>
      outcome.then(() => void order.push(name));
    const first = track('first', execute(disk, cdb16(0x88, 0, 0, 1)));
    const ordered = track('ordered', execute(disk, cdb16(0x88, 0, 1, 1), { isOrdered: true }));
    const last = track('last', execute(disk, cdb16(0x88, 0, 2, 1)));
    expect(scripted.held.map(({ offset }) => offset)).toEqual([0]);
    scripted.releaseAll();
    await Promise.all([first, ordered, last]);
    expect(order).toEqual(['first', 'ordered', 'last']);
  });
});

describe('a disk, whatever it is asked,', () => {
  it('behaves as an array of blocks', async () => {
    const operation = fc.record({
      kind: fc.constantFrom('write', 'unmap', 'writeSame', 'zero', 'compareAndWrite', 'read'),
      lba: fc.nat(BLOCKS - 1),
      blocks: fc.integer({ min: 1, max: 40 }),
      fill: fc.nat(3),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { maxLength: 30 }), async (operations) => {
        const disk = new LogicalUnits(NAME, [new MemoryStore({ sizeBytes: BLOCKS * BLOCK })]);
        const oracle = Buffer.alloc(BLOCKS * BLOCK);
        for (const { kind, lba, blocks: wanted, fill } of operations) {
          const blocks = Math.min(wanted, BLOCKS - lba);
          const range = oracle.subarray(lba * BLOCK, (lba + blocks) * BLOCK);
          const fillRange = Buffer.alloc(blocks * BLOCK, fill);
          switch (kind) {
            case 'write':
              ok(await execute(disk, cdb16(0x8a, 0, lba, blocks), { dataOut: fillRange }));
              range.fill(fill);
              break;
            case 'unmap': {
              const list = unmapList([[lba, blocks]]);
              ok(await execute(disk, unmapCdb(list.length), { dataOut: list }));
              range.fill(0);
              break;
            }
            case 'writeSame': {
              const dataOut = Buffer.alloc(BLOCK, fill);
              ok(await execute(disk, cdb16(0x93, 8, lba, blocks), { dataOut }));
              range.fill(fill);
              break;
            }
            case 'zero':
              ok(await execute(disk, cdb16(0x93, 1, lba, blocks)));
              range.fill(0);
              break;
            case 'compareAndWrite': {
              const dataOut = Buffer.concat([fillRange, Buffer.alloc(blocks * BLOCK, fill + 1)]);
              const cdb = [0x89, 0, ...u64(lba), 0, 0, 0, blocks, 0, 0];
              const { status } = await execute(disk, cdb, { dataOut });
              expect(status === ScsiStatus.good).toBe(range.equals(fillRange));
              if (status === ScsiStatus.good) range.fill(fill + 1);
              break;
            }
            default:
              expect(ok(await execute(disk, cdb16(0x88, 0, lba, blocks))).data.equals(range)).toBe(
                true,
              );
          }
        }
        expect(ok(await execute(disk, cdb16(0x88, 0, 0, BLOCKS))).data.equals(oracle)).toBe(true);
      }),
      { numRuns: 60 },
    );
  });

  it('ends every CDB with one outcome, and with sense whenever it is CHECK CONDITION', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.uint8Array({ maxLength: 64 }),
        fc.constantFrom(0, -1),
        async (cdb, data, lun) => {
          const outcome = await execute(units, [...cdb], { dataOut: Buffer.from(data), lun });
          if (outcome.status === ScsiStatus.checkCondition) {
            expect(outcome.senseKey).not.toBe(SenseKey.noSense);
            expect(outcome.asc).not.toBe(0);
          } else {
            const { good, conditionMet, reservationConflict } = ScsiStatus;
            expect([good, conditionMet, reservationConflict]).toContain(outcome.status);
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});
