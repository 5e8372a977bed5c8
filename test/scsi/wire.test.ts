import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slab } from '../../src/common/slab.js';
import * as commands from '../../src/scsi/commands.js';
import { ScsiCommand } from '../../src/scsi/port.js';
import * as wire from '../../src/scsi/wire.js';
import { decodeAllCommands } from '../support/scsi/supported-commands.js';

const { OperationCode, ServiceAction, VpdPage } = wire;

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex.replace(/\s/g, ''), 'hex'));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** What `encode` writes into memory full of 0xee: encoders clear what they do not set, unless it says otherwise. */
function encoded(encode: (view: DataView) => number, fill = 0xee): string {
  const bytes = new Uint8Array(4096).fill(fill);
  const length = encode(viewOf(bytes));
  return Buffer.from(bytes.subarray(0, length)).toString('hex');
}

/** SPC-4 4.2.5.1: the length follows from the opcode's group; 0 for groups that are variable or vendor-specific. */
function cdbLengthOf(opcode: number): number {
  return [6, 10, 10, 0, 16, 12, 0, 0][opcode >> 5]!;
}

function cdbOf(build: (command: ScsiCommand) => void): string {
  const command = new ScsiCommand(() => undefined);
  command.cdb.fill(0xee);
  build(command);
  return Buffer.from(command.cdb).toString('hex');
}

function decode(hex: string): wire.DecodedCdb {
  const cdb = new wire.DecodedCdb();
  const bytes = new Uint8Array(16);
  bytes.set(bytesOf(hex));
  expect(wire.decodeCdb(viewOf(bytes), 0, cdb)).toBe(true);
  return cdb;
}

describe('CDB builders', () => {
  for (const [title, build, hex] of [
    [
      'READ(16)',
      (c: ScsiCommand) => commands.buildRead16(c, 0x12_3456_789a, 0x100),
      '8800 0000 0012 3456 789a 0000 0100 0000',
    ],
    [
      'WRITE(16) with FUA',
      (c: ScsiCommand) => commands.buildWrite16(c, 8, 1, true),
      '8a08 0000 0000 0000 0008 0000 0001 0000',
    ],
    [
      'SYNCHRONIZE CACHE(16)',
      (c: ScsiCommand) => commands.buildSynchronizeCache16(c, 0, 0),
      '9100 0000 0000 0000 0000 0000 0000 0000',
    ],
    [
      'WRITE SAME(16) with UNMAP',
      (c: ScsiCommand) => commands.buildWriteSame16(c, 2, 0xffff, true),
      '9308 0000 0000 0000 0002 0000 ffff 0000',
    ],
    [
      'PRE-FETCH(16) with IMMED',
      (c: ScsiCommand) => commands.buildPreFetch16(c, 1, 2),
      '9002 0000 0000 0000 0001 0000 0002 0000',
    ],
    [
      'UNMAP',
      (c: ScsiCommand) => commands.buildUnmap(c, 24),
      '4200 0000 0000 0000 1800 0000 0000 0000',
    ],
    ['TEST UNIT READY', commands.buildTestUnitReady, '00'.repeat(16)],
    [
      'INQUIRY',
      (c: ScsiCommand) => commands.buildInquiry(c, 252),
      '1200 0000 fc00 0000 0000 0000 0000 0000',
    ],
    [
      'INQUIRY for page B0',
      (c: ScsiCommand) => commands.buildInquiryVpd(c, 0xb0, 4096),
      '1201 b010 0000 0000 0000 0000 0000 0000',
    ],
    ['READ CAPACITY(10)', commands.buildReadCapacity10, `25${'00'.repeat(15)}`],
    [
      'READ CAPACITY(16)',
      (c: ScsiCommand) => commands.buildReadCapacity16(c, 32),
      '9e10 0000 0000 0000 0000 0000 0020 0000',
    ],
    [
      'GET LBA STATUS',
      (c: ScsiCommand) => commands.buildGetLbaStatus(c, 0x1000, 4096),
      '9e12 0000 0000 0000 1000 0000 1000 0000',
    ],
    [
      'MODE SENSE(6)',
      (c: ScsiCommand) => commands.buildModeSense6(c, 0x3f, 252),
      '1a08 3f00 fc00 0000 0000 0000 0000 0000',
    ],
    [
      'MODE SENSE(10)',
      (c: ScsiCommand) => commands.buildModeSense10(c, 8, 252),
      '5a08 0800 0000 0000 fc00 0000 0000 0000',
    ],
    [
      'REPORT LUNS',
      (c: ScsiCommand) => commands.buildReportLuns(c, 4096),
      'a000 0000 0000 0000 1000 0000 0000 0000',
    ],
    [
      'REPORT SUPPORTED OPERATION CODES',
      (c: ScsiCommand) =>
        commands.buildReportSupportedOperationCodes(
          c,
          { reportingOptions: 2, opcode: 0x9e, serviceAction: 0x12 },
          4096,
        ),
      'a30c 029e 0012 0000 1000 0000 0000 0000',
    ],
  ] as const) {
    it(`makes ${title}, byte for byte`, () => {
      const command = cdbOf(build);
      expect(command).toBe(hex.replaceAll(' ', ''));
      expect(title.startsWith(wire.commandNameAt(viewOf(bytesOf(command)), 0))).toBe(true);
    });
  }

  it('leave no data behind in a command without any', () => {
    const command = new ScsiCommand(() => undefined);
    commands.setData(command, 1, new Slab(16), 3, 4);
    commands.buildTestUnitReady(command);
    expect(command).toMatchObject({ direction: 0, slab: null, slabOffset: 0, dataLength: 0 });
  });
});

describe('decodeCdb', () => {
  it('reads every form of READ and WRITE', () => {
    expect(decode('08 1f ff fe 00 00')).toMatchObject({ lba: 0x1ffffe, blocks: 256 });
    expect(decode('0a 00 00 01 02 00')).toMatchObject({ lba: 1, blocks: 2 });
    expect(decode('28 78 89abcdef 00 1234 44')).toMatchObject({
      lba: 0x89ab_cdef,
      blocks: 0x1234,
      protect: 3,
      dpo: true,
      fua: true,
      control: 0x44,
    });
    expect(decode('a8 00 00000001 89abcdef 00 00').blocks).toBe(0x89ab_cdef);
    const big = decode('8a 08 001fffffffffffff 00000001 00 00');
    expect(big).toMatchObject({ lba: Number.MAX_SAFE_INTEGER, blocks: 1, fua: true });
    expect(decode('88 00 0020000000000000 00000001 00 00').lba).toBe(-1);
  });

  it('reads what is special about the others', () => {
    expect(decode('12 01 83 0102 00')).toMatchObject({
      evpd: true,
      pageCode: 0x83,
      allocationLength: 0x102,
    });
    expect(decode('1a 08 48 ff 20 00')).toMatchObject({
      disableBlockDescriptors: true,
      pageControl: 1,
      pageCode: 8,
      subpageCode: 0xff,
      allocationLength: 0x20,
    });
    expect(decode('5a 10 0a 00 000000 0100 00')).toMatchObject({
      longLba: true,
      disableBlockDescriptors: false,
      pageCode: 0x0a,
      allocationLength: 0x100,
    });
    expect(decode('93 19 0000000000000001 00000002 00 00')).toMatchObject({
      lba: 1,
      blocks: 2,
      unmap: true,
      anchor: true,
      noDataOut: true,
      fua: false,
      dpo: false,
    });
    expect(decode('41 09 00000001 00 0002 00')).toMatchObject({ unmap: true, noDataOut: false });
    expect(decode('89 08 0000000000000001 00000000 00 00').blocks).toBe(0);
    expect(decode('89 08 0000000000000001 000000 07 00 00')).toMatchObject({
      blocks: 7,
      fua: true,
    });
    expect(decode('42 01 00000000 00 0018 00')).toMatchObject({
      anchor: true,
      allocationLength: 24,
    });
    expect(decode('8f 12 0000000000000001 00000002 00 00')).toMatchObject({
      dpo: true,
      byteCheck: 1,
      fua: false,
    });
    expect(decode('91 02 00')).toMatchObject({ immediate: true });
    expect(decode('03 01 00 00 fc 00')).toMatchObject({
      descriptorSense: true,
      allocationLength: 252,
    });
    expect(decode('1b 01 00 00 33 00')).toMatchObject({
      immediate: true,
      start: true,
      loadEject: true,
      powerCondition: 3,
    });
    expect(decode('a0 00 02 000000 00001000 00 00')).toMatchObject({
      selectReport: 2,
      allocationLength: 4096,
    });
    expect(decode('a3 0c 83 9e 0012 00001000 00 00')).toMatchObject({
      serviceAction: ServiceAction.reportSupportedOperationCodes,
      returnTimeouts: true,
      reportingOptions: 3,
      requestedOpcode: 0x9e,
      requestedServiceAction: 0x12,
      allocationLength: 4096,
    });
    expect(decode('25 00 00000005 0000 01 00')).toMatchObject({ partialMedium: true, lba: 5 });
  });

  it('knows the commands of its table and no others, and always names the opcode', () => {
    const known = new Set(wire.COMMAND_FORMATS.map(({ opcode }) => opcode));
    const cdb = new wire.DecodedCdb();
    for (let opcode = 0; opcode < 256; opcode++) {
      const actions = [0x00, 0x0a, 0x0c, 0x10, 0x12, 0x1f];
      for (const action of actions) {
        const bytes = new Uint8Array(16);
        bytes.set([opcode, action]);
        const format = wire.commandFormatOf(opcode, action);
        expect(wire.decodeCdb(viewOf(bytes), 0, cdb)).toBe(format !== undefined);
        expect(cdb.opcode).toBe(opcode);
        if (!known.has(opcode)) expect(format).toBe(undefined);
      }
    }
    expect(wire.commandNameAt(viewOf(bytesOf('c100')), 0)).toBe('command 0xc1');
  });

  it('leaves nothing of the command before', () => {
    const cdb = decode('a3 1f ff ff ffff ffffffff ff ff'.replace('1f', '0c'));
    const bytes = new Uint8Array(16);
    wire.decodeCdb(viewOf(bytes), 0, cdb);
    expect(cdb).toEqual(new wire.DecodedCdb());
  });

  it('agrees with a slow decoder on address and length of every block command', () => {
    const layouts: Record<number, readonly [number, number, number, number]> = {};
    const { read10, write10, verify10, preFetch10, synchronizeCache10, writeSame10 } =
      OperationCode;
    for (const opcode of [read10, write10, verify10, preFetch10, synchronizeCache10, writeSame10]) {
      layouts[opcode] = [2, 4, 7, 2];
    }
    for (const opcode of [OperationCode.read12, OperationCode.write12])
      layouts[opcode] = [2, 4, 6, 4];
    const { read16, write16, verify16, preFetch16, synchronizeCache16, writeSame16 } =
      OperationCode;
    for (const opcode of [read16, write16, verify16, preFetch16, synchronizeCache16, writeSame16]) {
      layouts[opcode] = [2, 8, 10, 4];
    }
    layouts[OperationCode.compareAndWrite] = [2, 8, 13, 1];
    const number = (bytes: Uint8Array, at: number, length: number) =>
      BigInt(`0x${Buffer.from(bytes.subarray(at, at + length)).toString('hex')}`);
    const cdb = new wire.DecodedCdb();
    fc.assert(
      fc.property(
        fc.constantFrom(...Object.keys(layouts).map(Number)),
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.nat(7),
        (opcode, body, offset) => {
          const bytes = new Uint8Array(offset + 16);
          bytes.set(body, offset);
          bytes[offset] = opcode;
          const [lbaAt, lbaLength, blocksAt, blocksLength] = layouts[opcode]!;
          wire.decodeCdb(viewOf(bytes), offset, cdb);
          const lba = number(bytes.subarray(offset), lbaAt, lbaLength);
          expect(cdb.lba).toBe(lba > BigInt(Number.MAX_SAFE_INTEGER) ? -1 : Number(lba));
          const blocks = number(bytes.subarray(offset), blocksAt, blocksLength);
          expect(cdb.blocks).toBe(Number(blocks));
        },
      ),
    );
  });

  it('has a usage map as long as the CDB for every command', () => {
    for (const { opcode, usage, name } of wire.COMMAND_FORMATS) {
      expect(usage.length, name).toBe(cdbLengthOf(opcode));
      expect(usage[0], name).toBe(opcode);
    }
  });

  it('takes any sixteen bytes', () => {
    const cdb = new wire.DecodedCdb();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        wire.decodeCdb(viewOf(bytes), 0, cdb);
        expect(cdb.lba).toBeGreaterThanOrEqual(-1);
        expect(cdb.blocks).toBeGreaterThanOrEqual(0);
        expect(cdb.allocationLength).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});

describe('standard INQUIRY data', () => {
  it('is read as LIO sends it', () => {
    const hex = `0000 0502 1f10 0002 ${ascii('LIO-ORG ')} ${ascii('FILEIO          ')} ${ascii('4.0 ')}`;
    const bytes = bytesOf(hex);
    expect(wire.decodeInquiry(viewOf(bytes), 0, bytes.length)).toEqual({
      qualifier: 0,
      deviceType: 0,
      removable: false,
      version: 5,
      tpgs: 1,
      thirdPartyCopy: false,
      protect: false,
      multiPort: false,
      commandQueuing: true,
      vendor: 'LIO-ORG',
      product: 'FILEIO',
      revision: '4.0',
      versionDescriptors: [],
    });
  });

  const inquiry = fc.record({
    qualifier: fc.nat(7),
    deviceType: fc.nat(31),
    removable: fc.boolean(),
    version: fc.nat(255),
    tpgs: fc.nat(3),
    thirdPartyCopy: fc.boolean(),
    protect: fc.boolean(),
    multiPort: fc.boolean(),
    commandQueuing: fc.boolean(),
    vendor: fc.stringMatching(/^([A-Za-z0-9-]{0,8})$/),
    product: fc.stringMatching(/^([A-Za-z0-9-]{0,16})$/),
    revision: fc.stringMatching(/^([A-Za-z0-9.]{0,4})$/),
    versionDescriptors: fc.array(fc.integer({ min: 1, max: 0xffff }), { maxLength: 8 }),
  });

  it('survives the round trip', () => {
    fc.assert(
      fc.property(inquiry, (data) => {
        const bytes = new Uint8Array(200);
        const length = wire.encodeInquiry(viewOf(bytes), 3, data);
        expect(wire.decodeInquiry(viewOf(bytes), 3, length)).toEqual(data);
      }),
    );
  });

  it('never carries a control character to a terminal', () => {
    const bytes = new Uint8Array(36).fill(0x1b);
    expect(wire.decodeInquiry(viewOf(bytes), 0, 36)?.vendor).toBe('\\x1b'.repeat(8));
  });

  it('tells units apart whose serial numbers are not ASCII', () => {
    const serialOf = (...text: number[]) => {
      const bytes = Uint8Array.from([0, 0x80, 0, text.length, ...text]);
      return wire.decodeUnitSerialNumber(viewOf(bytes), 0, bytes.length);
    };
    expect(serialOf(0x53, 0xe4)).toBe('S\\xe4');
    expect(serialOf(0x53, 0xf6)).toBe('S\\xf6');
    expect(serialOf(0x53, 0x5c, 0x78, 0x65, 0x34)).toBe('S\\\\xe4');
    expect(serialOf(0x20, 0x53, 0x20, 0)).toBe('S');
  });
});

function ascii(text: string): string {
  return Buffer.from(text, 'ascii').toString('hex');
}

describe('VPD pages', () => {
  it('have the bytes that SPC and SBC give them', () => {
    expect(encoded((view) => wire.encodeSupportedPages(view, 0, [0, 0x80, 0xb0]))).toBe(
      '000000030080b0',
    );
    expect(encoded((view) => wire.encodeUnitSerialNumber(view, 0, 'AB1'))).toBe('00800003414231');
    const designator = { association: 1, type: 3, codeSet: 1, bytes: bytesOf('60a1') };
    expect(encoded((view) => wire.encodeDesignators(view, 0, [designator]))).toBe(
      '00830006' + '01130002' + '60a1',
    );
    const provisioning = {
      thresholdExponent: 1,
      unmap: true,
      writeSame16Unmap: true,
      writeSame10Unmap: false,
      readZeroes: 1,
      anchor: true,
      type: 2,
    };
    expect(encoded((view) => wire.encodeBlockProvisioning(view, 0, provisioning), 0)).toBe(
      '00b20004' + '01c60200',
    );
    const rotation = { rotationRate: 1, nominalFormFactor: 3 };
    expect(encoded((view) => wire.encodeBlockCharacteristics(view, 0, rotation), 0)).toBe(
      '00b1003c' + '00010003' + '00'.repeat(56),
    );
  });

  it('block limits have the bytes of SBC-3, and read back from them', () => {
    const limits: wire.BlockLimits = {
      writeSameNonZero: true,
      compareAndWriteBlocksMax: 0x11,
      transferGranularityBlocks: 0x2222,
      transferBlocksMax: 0x3333_3333,
      transferBlocksOptimal: 0x4444_4444,
      prefetchBlocksMax: 0x5555_5555,
      unmapBlocksMax: 0x6666_6666,
      unmapDescriptorsMax: 0x7777_7777,
      unmapGranularityBlocks: 0x8888_8888,
      unmapAlignmentBlocks: 0x1999_9999,
      writeSameBlocksMax: 0x0a_aaaa_aaaa,
    };
    const hex =
      '00b0003c 0111 2222 33333333 44444444 55555555 66666666 77777777 88888888 99999999 0000000aaaaaaaaa' +
      '00'.repeat(20);
    expect(encoded((view) => wire.encodeBlockLimits(view, 0, limits), 0)).toBe(
      hex.replaceAll(' ', ''),
    );
    const bytes = bytesOf(hex);
    expect(wire.decodeBlockLimits(viewOf(bytes), 0, 64)).toEqual(limits);
  });

  it('block limits of 16 bytes, as SBC-2 has them, have zeroes for the rest', () => {
    const bytes = bytesOf('00b0000c 0000 0008 00000400 00000080');
    expect(wire.decodeBlockLimits(viewOf(bytes), 0, 16)).toMatchObject({
      transferGranularityBlocks: 8,
      transferBlocksMax: 1024,
      transferBlocksOptimal: 128,
      unmapBlocksMax: 0,
      unmapAlignmentBlocks: null,
      writeSameBlocksMax: 0,
    });
  });

  it('are not taken for one another', () => {
    const bytes = new Uint8Array(64);
    wire.encodeVpdHeader(viewOf(bytes), 0, VpdPage.supportedPages, 60);
    const view = viewOf(bytes);
    expect(wire.decodeBlockLimits(view, 0, 64)).toBe(null);
    expect(wire.decodeBlockCharacteristics(view, 0, 64)).toBe(null);
    expect(wire.decodeBlockProvisioning(view, 0, 64)).toBe(null);
    expect(wire.decodeUnitSerialNumber(view, 0, 64)).toBe('');
    expect(wire.decodeDesignators(view, 0, 64)).toEqual([]);
  });

  it('designators survive the round trip, and one that is cut is left out', () => {
    const designator = fc.record({
      association: fc.nat(2),
      type: fc.nat(15),
      codeSet: fc.nat(3),
      bytes: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(designator, { minLength: 1, maxLength: 5 }), (designators) => {
        const bytes = new Uint8Array(512);
        const length = wire.encodeDesignators(viewOf(bytes), 0, designators);
        expect(wire.decodeDesignators(viewOf(bytes), 0, length)).toEqual(designators);
        const cut = wire.decodeDesignators(viewOf(bytes), 0, length - 1);
        expect(cut).toEqual(designators.slice(0, -1));
      }),
    );
  });
});

describe('mode parameters', () => {
  const mode = {
    writeProtected: true,
    forceUnitAccess: true,
    caching: { writeCache: true, readCache: true },
    control: { descriptorSense: true, softwareWriteProtect: true, taskAbortedStatus: true },
  };
  const pages = `0812 04${'00'.repeat(17)} 0a0a 0400 0840 ${'00'.repeat(6)}`.replaceAll(' ', '');

  it('have the bytes of SPC-4 behind either header', () => {
    expect(encoded((view) => wire.encodeModeParameters(view, 0, 10, mode))).toBe(
      '0026009000000000' + pages,
    );
    expect(encoded((view) => wire.encodeModeParameters(view, 0, 6, mode))).toBe('23009000' + pages);
  });

  it('read back, also behind a block descriptor', () => {
    const plain = bytesOf('0026009000000000' + pages);
    expect(wire.decodeModeParameters(viewOf(plain), 0, plain.length, 10)).toEqual(mode);
    const short = bytesOf('23009000' + pages);
    expect(wire.decodeModeParameters(viewOf(short), 0, short.length, 6)).toEqual(mode);
    const described = bytesOf('002e009000000008' + '0000100000000200' + pages);
    expect(wire.decodeModeParameters(viewOf(described), 0, described.length, 10)).toEqual(mode);
  });

  it('skip subpages and pages that this project does not know', () => {
    const bytes = bytesOf('0000000000000000' + '0102ffff' + '48010002ffff' + pages);
    viewOf(bytes).setUint16(0, bytes.length - 2);
    const { caching, control } = wire.decodeModeParameters(viewOf(bytes), 0, bytes.length, 10)!;
    expect({ caching, control }).toEqual({ caching: mode.caching, control: mode.control });
  });

  it('have no page where one is cut short', () => {
    const bytes = bytesOf('0026009000000000' + pages);
    const cut = wire.decodeModeParameters(viewOf(bytes), 0, bytes.length - 1, 10);
    expect(cut).toMatchObject({ caching: mode.caching, control: null });
    expect(wire.decodeModeParameters(viewOf(bytes), 0, 7, 10)).toBe(null);
  });
});

describe('parameter data', () => {
  it('READ CAPACITY(16) reads as a thin LIO disk of 1 GiB sends it', () => {
    const bytes = bytesOf(`00000000001fffff 00000200 0000 c000 ${'00'.repeat(16)}`);
    const capacity = wire.emptyReadCapacity();
    wire.decodeReadCapacity16(viewOf(bytes), 0, capacity);
    expect(capacity).toEqual({
      lastLba: 0x1f_ffff,
      blockBytes: 512,
      protectionType: 0,
      physicalBlockExponent: 0,
      lowestAlignedLba: 0,
      provisioned: true,
      readZeroes: true,
    });
  });

  it('READ CAPACITY(16) survives the round trip', () => {
    const capacity = fc.record({
      lastLba: fc.maxSafeNat(),
      blockBytes: fc.nat(0xffff_ffff),
      protectionType: fc.nat(3),
      physicalBlockExponent: fc.nat(15),
      lowestAlignedLba: fc.nat(0x3fff),
      provisioned: fc.boolean(),
      readZeroes: fc.boolean(),
    });
    fc.assert(
      fc.property(capacity, (data) => {
        const bytes = new Uint8Array(40);
        wire.encodeReadCapacity16(viewOf(bytes), 5, data);
        const back = wire.emptyReadCapacity();
        wire.decodeReadCapacity16(viewOf(bytes), 5, back);
        expect(back).toEqual(data);
      }),
    );
  });

  it('READ CAPACITY(10) says "too large" for what it cannot say', () => {
    expect(encoded((view) => wire.encodeReadCapacity10(view, 0, 2 ** 40, 512))).toBe(
      'ffffffff00000200',
    );
    expect(wire.decodeReadCapacity10(viewOf(bytesOf('0000000f00001000')), 0)).toMatchObject({
      lastLba: 15,
      blockBytes: 4096,
    });
  });

  it('an UNMAP list has the bytes of SBC-3', () => {
    const hex = encoded((view) => {
      wire.encodeUnmapDescriptor(view, 0, 0, 8, 4);
      wire.encodeUnmapDescriptor(view, 0, 1, 0x1_0000_0000, 1);
      return wire.encodeUnmapHeader(view, 0, 2);
    });
    expect(hex).toBe(
      '0026002000000000' +
        '0000000000000008' +
        '0000000400000000' +
        '0000000100000000' +
        '0000000100000000',
    );
    const view = viewOf(bytesOf(hex));
    expect(wire.unmapDescriptorCount(view, 0, 40)).toBe(2);
    const range = { lba: 0, blocks: 0 };
    wire.decodeUnmapDescriptor(view, 0, 1, range);
    expect(range).toEqual({ lba: 0x1_0000_0000, blocks: 1 });
  });

  it('an UNMAP list that says more than it has is refused', () => {
    const view = viewOf(bytesOf('0026002000000000'.padEnd(80, '0')));
    expect(wire.unmapDescriptorCount(view, 0, 0)).toBe(0);
    for (const length of [1, 7, 8, 39]) {
      expect(wire.unmapDescriptorCount(view, 0, length)).toBe(-1);
    }
    expect(wire.unmapDescriptorCount(viewOf(bytesOf('0006000000000000')), 0, 8)).toBe(0);
  });

  it('GET LBA STATUS data has the bytes of SBC-3', () => {
    const hex = encoded((view) => {
      wire.encodeLbaStatus(view, 0, 0, { lba: 16, blocks: 8, status: 1 });
      return wire.encodeLbaStatusHeader(view, 0, 1);
    });
    expect(hex).toBe('0000001400000000' + '0000000000000010' + '0000000801000000');
    const view = viewOf(bytesOf(hex));
    expect(wire.lbaStatusCount(view, 0, 24)).toBe(1);
    expect(wire.lbaStatusCount(view, 0, 23)).toBe(0);
    const status = { lba: 0, blocks: 0, status: 0 };
    wire.decodeLbaStatus(view, 0, 0, status);
    expect(status).toEqual({ lba: 16, blocks: 8, status: 1 });
  });

  it('LUNs are addressed as SAM-5 has it', () => {
    expect(encoded((view) => wire.encodeReportLuns(view, 0, [0, 255, 256]))).toBe(
      '0000001800000000' + '0000000000000000' + '00ff000000000000' + '4100000000000000',
    );
    const lunOf = (hex: string) => {
      const view = viewOf(bytesOf(hex));
      return wire.decodeLun(view.getUint32(0), view.getUint32(4));
    };
    expect(lunOf('7fff000000000000')).toBe(wire.LUN_MAX);
    // A bus identifier, a second level, logical unit and extended addressing.
    for (const hex of ['0105', '00050001', '8005', 'c101']) {
      expect(lunOf(hex.padEnd(16, '0'))).toBe(-1);
    }
  });

  it('REPORT LUNS keeps how each was addressed', () => {
    const bytes = bytesOf(
      '0000001800000000' + '0005000000000000' + '4005000000000000' + 'c101000000000000',
    );
    expect(wire.decodeReportLuns(viewOf(bytes), 0, bytes.length)).toEqual([
      { lun: 5, lunHigh: 0x0005_0000 },
      { lun: 5, lunHigh: 0x4005_0000 },
    ]);
  });

  it('REPORT LUNS reads what is there of a list', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(wire.LUN_MAX), { maxLength: 20 }), fc.nat(200), (luns, cut) => {
        const bytes = new Uint8Array(200);
        const whole = wire.encodeReportLuns(viewOf(bytes), 0, luns);
        const length = Math.min(cut, whole);
        const count = Math.max(0, Math.floor((length - 8) / 8));
        expect(wire.decodeReportLuns(viewOf(bytes), 0, length)).toEqual(
          luns.slice(0, count).map((lun) => ({ lun, lunHigh: wire.encodeLun(lun) })),
        );
      }),
    );
  });

  it('REPORT SUPPORTED OPERATION CODES lists all commands, or tells of one', () => {
    const bytes = new Uint8Array(1024);
    const view = viewOf(bytes);
    const length = wire.encodeAllCommands(view, 0, wire.COMMAND_FORMATS);
    expect(decodeAllCommands(view, 0, length)).toEqual(
      wire.COMMAND_FORMATS.map(({ opcode, serviceAction }) => ({ opcode, serviceAction })),
    );
    const unmap = wire.commandFormatOf(OperationCode.unmap, 0) ?? null;
    expect(encoded((one) => wire.encodeOneCommand(one, 0, unmap))).toBe(
      '0003000a' + '42010000000000ffff00',
    );
    expect(encoded((one) => wire.encodeOneCommand(one, 0, null))).toBe('00010000');
    expect(wire.decodeCommandSupport(viewOf(bytesOf('0003000a')), 0, 4)).toBe(3);
    expect(wire.decodeCommandSupport(viewOf(bytesOf('0003000a')), 0, 3)).toBe(0);
  });

  it('command descriptors with timeouts are longer', () => {
    const bytes = bytesOf(`0000001c 2800 0000 0002 000a ${'00'.repeat(12)} 9e00 0010 0001 0010`);
    expect(decodeAllCommands(viewOf(bytes), 0, bytes.length)).toEqual([
      { opcode: 0x28, serviceAction: -1 },
      { opcode: 0x9e, serviceAction: 0x10 },
    ]);
  });
});

describe('decoders of what a device sends', () => {
  const decoders: Record<string, (view: DataView, offset: number, length: number) => unknown> = {
    inquiry: wire.decodeInquiry,
    supportedPages: wire.decodeSupportedPages,
    serial: wire.decodeUnitSerialNumber,
    designators: wire.decodeDesignators,
    limits: wire.decodeBlockLimits,
    characteristics: wire.decodeBlockCharacteristics,
    provisioning: wire.decodeBlockProvisioning,
    mode6: (view, offset, length) => wire.decodeModeParameters(view, offset, length, 6),
    mode10: (view, offset, length) => wire.decodeModeParameters(view, offset, length, 10),
    luns: wire.decodeReportLuns,
    commands: decodeAllCommands,
    support: wire.decodeCommandSupport,
    unmapCount: wire.unmapDescriptorCount,
    lbaStatusCount: wire.lbaStatusCount,
  };
  // The second byte decides whether a VPD decoder goes on, the others are lengths with high bytes of zero.
  const likely = fc.tuple(
    fc.nat(0xff),
    fc.constantFrom(0x00, 0x80, 0x83, 0xb0, 0xb1, 0xb2),
    fc.nat(2),
    fc.nat(0xff),
  );

  for (const [name, decodeIt] of Object.entries(decoders)) {
    it(`never read beyond what arrived: ${name}`, () => {
      const arrived = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc
          .tuple(likely, fc.uint8Array({ maxLength: 300 }))
          .map(([head, rest]) => Uint8Array.from([...head, ...rest])),
      );
      fc.assert(
        fc.property(arrived, fc.nat(9), (bytes, offset) => {
          // A view that ends where the data does: one byte further throws a RangeError.
          const view = new DataView(new ArrayBuffer(offset + bytes.length));
          new Uint8Array(view.buffer).set(bytes, offset);
          decodeIt(view, offset, bytes.length);
        }),
        { numRuns: 300 },
      );
    });
  }
});
