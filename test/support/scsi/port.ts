import { assert } from '../../../src/common/assert.js';
import { DeliveryOutcome } from '../../../src/scsi/port.js';
import { DataDirection } from '../../../src/common/data-direction.js';
import type { ScsiCommand, ScsiPort, ScsiPortListener } from '../../../src/scsi/port.js';
import { Asc, SenseKey, encodeFixedSense } from '../../../src/scsi/sense.js';
import * as wire from '../../../src/scsi/wire.js';
import { SeededRandom } from '../block/memory-device.js';

const { OperationCode, ServiceAction, ScsiStatus } = wire;

/** What the disk in the double is like. */
export interface DoubleOptions {
  readonly blockBytes?: number;
  readonly sizeBlocks?: number;
  readonly queueDepth?: number;
  readonly transferBytesMax?: number;
  readonly inquiry?: Partial<wire.InquiryData>;
  readonly limits?: Partial<wire.BlockLimits> | null;
  readonly provisioning?: Partial<wire.BlockProvisioning> | null;
  readonly rotationRate?: number;
  /** LBPME and LBPRZ. */
  readonly provisioned?: boolean;
  readonly readZeroes?: boolean;
  readonly writeProtected?: boolean;
  readonly dpofua?: boolean;
  /** null: the device returns no caching page. */
  readonly writeCache?: boolean | null;
  /** Commands that it refuses with INVALID COMMAND OPERATION CODE, by name. */
  readonly refuses?: readonly string[];
  /** Commands end in a random order of this seed; without it in their own. */
  readonly seed?: number;
}

/** How a command is to end instead of being executed. */
export interface Ending {
  readonly outcome?: DeliveryOutcome;
  readonly status?: number;
  readonly key?: SenseKey;
  readonly asc?: number;
  readonly deferred?: boolean;
}

/** Decides how a command ends; undefined executes it. */
export type Injection = (cdb: wire.DecodedCdb, name: string) => Ending | undefined;

/** A command that arrived. */
export interface SeenCommand {
  readonly name: string;
  readonly cdb: wire.DecodedCdb;
  readonly timeoutMs: number;
}

export const check = (key: SenseKey, asc: number): Ending => ({ key, asc });
export const INVALID_OPCODE = check(SenseKey.illegalRequest, Asc.invalidOpcode);

/** A small SBC disk behind a {@link ScsiPort}, written to be obvious, whose every answer a test can replace. */
export class ScsiPortDouble implements ScsiPort {
  readonly name = 'iqn.2026-11.io.example:double/0';
  readonly transferBytesMax: number;
  verifiesDataIn = true;
  readonly queueDepth: number;
  listener: ScsiPortListener | null = null;
  readonly seen: SeenCommand[] = [];
  inject: Injection | null = null;
  /** Bytes that a data command leaves untransferred, negative for an overflow. */
  residual: ((name: string) => number) | null = null;
  isHeld = false;
  readonly inFlight: ScsiCommand[] = [];
  inFlightMax = 0;
  blockBytes: number;
  sizeBlocks: number;
  readonly bytes: Uint8Array;
  readonly mapped = new Set<number>();
  readonly options: DoubleOptions;
  isLost = false;
  questionedCount = 0;
  /** The next reset is refused. */
  refusesReset = false;
  /** The next read gets no more than so many bytes of its data, and is told that it has all. */
  withheldTo: number | null = null;
  /** VPD page 80; the first designator of page 83 goes with it. */
  serial = 'S-4711';
  /** The LUNs that REPORT LUNS lists, eight bytes each in hexadecimal; null for 0, 1 and 300 as usual. */
  listedLuns: readonly string[] | null = null;
  /** Bytes of parameter data that the device claims to have and does not send. */
  truncateTo: ((name: string, cdb: wire.DecodedCdb) => number | undefined) | null = null;
  readonly #random: SeededRandom | null;
  #isScheduled = false;

  constructor(options: DoubleOptions = {}) {
    const { blockBytes = 512, sizeBlocks = (1 << 20) / blockBytes } = options;
    this.options = options;
    this.blockBytes = blockBytes;
    this.sizeBlocks = sizeBlocks;
    this.bytes = new Uint8Array(Math.min(sizeBlocks * blockBytes, 1 << 22));
    this.queueDepth = options.queueDepth ?? 16;
    this.transferBytesMax = options.transferBytesMax ?? 1 << 20;
    this.#random = options.seed === undefined ? null : new SeededRandom(options.seed);
  }

  /** The names of the commands since the start, or since `seen` was emptied. */
  get names(): string[] {
    return this.seen.map(({ name }) => name);
  }

  /** The next `times` commands of this name end so. */
  injectNext(name: string, ending: Ending, times = 1): void {
    let left = times;
    this.inject = (_cdb, arrived) => (arrived === name && left-- > 0 ? ending : undefined);
  }

  execute(command: ScsiCommand): void {
    assert(command.dataLength <= this.transferBytesMax, 'longer than the path carries');
    const cdb = new wire.DecodedCdb();
    wire.decodeCdb(command.cdbView, 0, cdb);
    const name = wire.commandNameAt(command.cdbView, 0);
    this.seen.push({ name, cdb, timeoutMs: command.timeoutMs });
    this.inFlight.push(command);
    this.inFlightMax = Math.max(this.inFlightMax, this.inFlight.length);
    this.#schedule();
  }

  questionOutstanding(): void {
    this.questionedCount++;
  }

  /** Ends what is in flight as aborted. */
  resetLogicalUnit(): Promise<void> {
    const covered = [...this.inFlight];
    return Promise.resolve().then(() => {
      if (this.isLost) throw new Error('the path is lost');
      if (this.refusesReset) {
        this.refusesReset = false;
        throw new Error('the reset is refused');
      }
      for (const command of covered) this.abort(command);
    });
  }

  /** Ends a command as aborted, if it is in flight. */
  abort(command: ScsiCommand): void {
    const index = this.inFlight.indexOf(command);
    if (index < 0) return;
    this.inFlight.splice(index, 1);
    end(command, { outcome: DeliveryOutcome.aborted });
    command.done(command);
  }

  /** The path goes: the listener hears of it, and whatever is in flight ends. */
  lose(reason: string): void {
    if (this.isLost) return;
    this.isLost = true;
    this.isHeld = false;
    this.listener?.onPortLost(reason);
    this.#schedule();
  }

  release(): void {
    this.isHeld = false;
    this.#schedule();
  }

  /** Ends the command at `index` of those in flight. */
  finish(index: number): void {
    const [command] = this.inFlight.splice(index, 1);
    if (command === undefined) throw new Error(`nothing in flight at ${index}`);
    this.#run(command);
    command.done(command);
  }

  #schedule(): void {
    if (this.isHeld || this.#isScheduled || this.inFlight.length === 0) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      if (this.isHeld) return;
      this.finish(this.#random?.below(this.inFlight.length) ?? 0);
      this.#schedule();
    });
  }

  #run(command: ScsiCommand): void {
    command.outcome = this.isLost ? DeliveryOutcome.connectionLost : DeliveryOutcome.delivered;
    command.status = ScsiStatus.good;
    command.residual = 0;
    command.senseLength = 0;
    if (this.isLost) return;
    const cdb = new wire.DecodedCdb();
    const isKnown = wire.decodeCdb(command.cdbView, 0, cdb);
    const name = wire.commandNameAt(command.cdbView, 0);
    const isRefused = !isKnown || this.options.refuses?.includes(name) === true;
    const injected = this.inject?.(cdb, name);
    const ending = injected ?? (isRefused ? INVALID_OPCODE : this.#perform(command, cdb));
    if (ending !== undefined) end(command, ending);
    else if (this.residual !== null && command.direction !== DataDirection.none) {
      command.residual = this.residual(name);
    }
  }

  #perform(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    switch (cdb.opcode) {
      case OperationCode.testUnitReady:
      case OperationCode.preFetch16:
      case OperationCode.synchronizeCache16:
      case OperationCode.synchronizeCache10:
        command.status = cdb.opcode === OperationCode.preFetch16 ? ScsiStatus.conditionMet : 0;
        return undefined;
      case OperationCode.inquiry:
        return this.#inquiry(command, cdb);
      case OperationCode.modeSense6:
      case OperationCode.modeSense10:
        return this.#modeSense(command, cdb);
      case OperationCode.readCapacity10:
        return this.#answer(command, cdb, (view) =>
          wire.encodeReadCapacity10(view, 0, this.sizeBlocks - 1, this.blockBytes),
        );
      case OperationCode.serviceActionIn16:
        return cdb.serviceAction === ServiceAction.getLbaStatus
          ? this.#lbaStatus(command, cdb)
          : this.#readCapacity(command, cdb);
      case OperationCode.reportLuns:
        return this.#answer(command, cdb, (view) => this.#reportLuns(view));
      case OperationCode.maintenanceIn:
        return this.#supported(command, cdb);
      case OperationCode.unmap:
        return this.#unmap(command);
      default:
        return this.#transfer(command, cdb);
    }
  }

  #reportLuns(view: DataView): number {
    if (this.listedLuns === null) return wire.encodeReportLuns(view, 0, [0, 1, 300]);
    view.setUint32(0, this.listedLuns.length * wire.LUN_BYTES);
    this.listedLuns.forEach((digits, index) => {
      view.setBigUint64(wire.REPORT_LUNS_HEADER_BYTES + 8 * index, BigInt(`0x${digits}`));
    });
    return wire.REPORT_LUNS_HEADER_BYTES + 8 * this.listedLuns.length;
  }

  #transfer(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    const { blockBytes } = this;
    if (cdb.lba < 0 || cdb.lba + cdb.blocks > this.sizeBlocks) {
      return check(SenseKey.illegalRequest, Asc.lbaOutOfRange);
    }
    const disk = this.bytes.subarray(cdb.lba * blockBytes, (cdb.lba + cdb.blocks) * blockBytes);
    const { slab, slabOffset, dataLength } = command;
    const data = slab?.bytes.subarray(slabOffset, slabOffset + dataLength) ?? new Uint8Array();
    const isSame = cdb.opcode === OperationCode.writeSame16;
    const isCompare = cdb.opcode === OperationCode.compareAndWrite;
    if (dataLength !== (isSame ? 1 : isCompare ? 2 * cdb.blocks : cdb.blocks) * blockBytes) {
      return check(SenseKey.abortedCommand, Asc.dataPhaseError);
    }
    if (cdb.opcode === OperationCode.read16 || cdb.opcode === OperationCode.read10) {
      this.#sendData(command, disk, data);
      return undefined;
    }
    if (isCompare) {
      const half = dataLength / 2;
      if (Buffer.compare(disk, data.subarray(0, half)) !== 0) {
        return check(SenseKey.miscompare, Asc.miscompareDuringVerify);
      }
      disk.set(data.subarray(half));
      return undefined;
    }
    for (let lba = cdb.lba; lba < cdb.lba + cdb.blocks; lba++) {
      if (isSame) this.bytes.set(data, lba * blockBytes);
      if (isSame && cdb.unmap) this.mapped.delete(lba);
      else this.mapped.add(lba);
    }
    if (!isSame) disk.set(data);
    return undefined;
  }

  #sendData(command: ScsiCommand, disk: Uint8Array, data: Uint8Array): void {
    const bytes = Math.min(this.withheldTo ?? Infinity, data.length);
    this.withheldTo = null;
    data.set(disk.subarray(0, bytes));
    if (bytes === data.length || !this.verifiesDataIn) return;
    command.outcome = DeliveryOutcome.dataMissing;
    command.residual = data.length - bytes;
  }

  #unmap({ slab, slabOffset, dataLength }: ScsiCommand): Ending | undefined {
    const { view } = slab!;
    const count = wire.unmapDescriptorCount(view, slabOffset, dataLength);
    if (count < 0) return check(SenseKey.illegalRequest, Asc.parameterListLengthError);
    const range = { lba: 0, blocks: 0 };
    for (let index = 0; index < count; index++) {
      wire.decodeUnmapDescriptor(view, slabOffset, index, range);
      const { lba, blocks } = range;
      const blocksMax = this.options.limits?.unmapBlocksMax ?? 0xffff_ffff;
      if (blocks > blocksMax)
        return check(SenseKey.illegalRequest, Asc.invalidFieldInParameterList);
      this.bytes.fill(0, lba * this.blockBytes, (lba + blocks) * this.blockBytes);
      for (let block = lba; block < lba + blocks; block++) this.mapped.delete(block);
    }
    return undefined;
  }

  #lbaStatus(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    return this.#answer(command, cdb, (view) => {
      const statusOf = (lba: number) => (this.mapped.has(lba) ? 0 : 1);
      let index = 0;
      for (let lba = cdb.lba; lba < this.sizeBlocks && index < 100; index++) {
        const status = statusOf(lba);
        let end = lba + 1;
        while (end < this.sizeBlocks && statusOf(end) === status) end++;
        wire.encodeLbaStatus(view, 0, index, { lba, blocks: end - lba, status });
        lba = end;
      }
      return wire.encodeLbaStatusHeader(view, 0, index);
    });
  }

  #readCapacity(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    const { provisioned = true, readZeroes = true } = this.options;
    return this.#answer(command, cdb, (view) =>
      wire.encodeReadCapacity16(view, 0, {
        ...wire.emptyReadCapacity(),
        lastLba: this.sizeBlocks - 1,
        blockBytes: this.blockBytes,
        provisioned,
        readZeroes,
      }),
    );
  }

  #modeSense(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    const { writeProtected = false, dpofua = true, writeCache = true } = this.options;
    const form = cdb.opcode === OperationCode.modeSense6 ? 6 : 10;
    const caching = writeCache === null ? null : { writeCache, readCache: true };
    return this.#answer(command, cdb, (view) =>
      wire.encodeModeParameters(view, 0, form, {
        writeProtected,
        forceUnitAccess: dpofua,
        caching,
        control: null,
      }),
    );
  }

  #supported(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    const known = wire.commandFormatOf(cdb.requestedOpcode, cdb.requestedServiceAction) ?? null;
    const isOffered = known !== null && this.options.refuses?.includes(known.name) !== true;
    return this.#answer(command, cdb, (view) =>
      wire.encodeOneCommand(view, 0, isOffered ? known : null),
    );
  }

  #inquiry(command: ScsiCommand, cdb: wire.DecodedCdb): Ending | undefined {
    const { VpdPage } = wire;
    const { limits = {}, provisioning = {}, rotationRate = 1, inquiry } = this.options;
    const pages: Record<number, ((view: DataView) => number) | null> = {
      [VpdPage.unitSerialNumber]: (view) => wire.encodeUnitSerialNumber(view, 0, this.serial),
      [VpdPage.deviceIdentification]: (view) =>
        wire.encodeDesignators(view, 0, designatorsOf(this.serial)),
      [VpdPage.blockLimits]:
        limits === null
          ? null
          : (view) => wire.encodeBlockLimits(view, 0, { ...DEFAULT_LIMITS, ...limits }),
      [VpdPage.blockDeviceCharacteristics]: (view) =>
        wire.encodeBlockCharacteristics(view, 0, { rotationRate, nominalFormFactor: 0 }),
      [VpdPage.logicalBlockProvisioning]:
        provisioning === null
          ? null
          : (view) =>
              wire.encodeBlockProvisioning(view, 0, { ...DEFAULT_PROVISIONING, ...provisioning }),
    };
    if (!cdb.evpd) {
      const data = { ...DEFAULT_INQUIRY, ...inquiry };
      return this.#answer(command, cdb, (view) => wire.encodeInquiry(view, 0, data));
    }
    const codes = Object.keys(pages).map(Number);
    const offered = [0, ...codes.filter((code) => pages[code] !== null).sort((a, b) => a - b)];
    if (cdb.pageCode === 0) {
      return this.#answer(command, cdb, (view) => wire.encodeSupportedPages(view, 0, offered));
    }
    const encode = pages[cdb.pageCode] ?? null;
    if (encode === null) return check(SenseKey.illegalRequest, Asc.invalidFieldInCdb);
    return this.#answer(command, cdb, encode);
  }

  /** Sends parameter data: no more than the CDB and the buffer allow. */
  #answer(
    command: ScsiCommand,
    cdb: wire.DecodedCdb,
    encode: (view: DataView) => number,
  ): undefined {
    const bytes = new Uint8Array(65_536);
    const encoded = encode(new DataView(bytes.buffer));
    const name = wire.commandNameAt(command.cdbView, 0);
    const length = this.truncateTo?.(name, cdb) ?? encoded;
    const allocated = cdb.opcode === OperationCode.readCapacity10 ? 8 : cdb.allocationLength;
    const offered = Math.min(length, allocated);
    const sent = Math.min(offered, command.dataLength);
    command.slab!.bytes.set(bytes.subarray(0, sent), command.slabOffset);
    command.residual = command.dataLength - offered;
    return undefined;
  }
}

function end(command: ScsiCommand, ending: Ending): void {
  const { outcome = DeliveryOutcome.delivered, key, asc = 0, deferred = false } = ending;
  command.outcome = outcome;
  command.status = ending.status ?? (key === undefined ? 0 : ScsiStatus.checkCondition);
  command.residual = command.dataLength;
  if (key === undefined) return;
  const view = new DataView(command.sense.buffer);
  command.senseLength = encodeFixedSense(view, 0, key, asc);
  if (deferred) command.sense[0] = 0x71;
}

/** Different for each serial number. */
const designatorsOf = (serial: string): readonly wire.Designator[] => [
  {
    association: wire.Association.logicalUnit,
    type: wire.DesignatorType.naa,
    codeSet: wire.CodeSet.binary,
    bytes:
      serial === 'S-4711'
        ? Uint8Array.of(0x60, 0x01, 0x40, 0x5a, 0xbc, 0xde, 0xf0, 0x12)
        : Uint8Array.from(Buffer.from(serial.padEnd(8).slice(0, 8))),
  },
  {
    association: wire.Association.targetPort,
    type: wire.DesignatorType.scsiNameString,
    codeSet: wire.CodeSet.utf8,
    bytes: new TextEncoder().encode('iqn.2026-11.io.example:double,t,0x0001\0'),
  },
];

const DEFAULT_INQUIRY: wire.InquiryData = {
  qualifier: 0,
  deviceType: 0,
  removable: false,
  version: 6,
  tpgs: 1,
  thirdPartyCopy: false,
  protect: false,
  multiPort: false,
  commandQueuing: true,
  vendor: 'ISERNBD',
  product: 'DOUBLE',
  revision: '0001',
  versionDescriptors: [0x00a0],
};

const DEFAULT_LIMITS: wire.BlockLimits = {
  writeSameNonZero: true,
  compareAndWriteBlocksMax: 1,
  transferGranularityBlocks: 0,
  transferBlocksMax: 0,
  transferBlocksOptimal: 0,
  prefetchBlocksMax: 0,
  unmapBlocksMax: 0xffff_ffff,
  unmapDescriptorsMax: 1,
  unmapGranularityBlocks: 1,
  unmapAlignmentBlocks: null,
  writeSameBlocksMax: 0,
};

const DEFAULT_PROVISIONING: wire.BlockProvisioning = {
  thresholdExponent: 0,
  unmap: true,
  writeSame16Unmap: true,
  writeSame10Unmap: false,
  readZeroes: 1,
  anchor: false,
  type: 2,
};
