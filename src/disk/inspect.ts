import {
  buildInquiry,
  buildInquiryVpd,
  buildModeSense10,
  buildModeSense6,
  buildReadCapacity10,
  buildReadCapacity16,
  buildReportLuns,
  buildReportSupportedOperationCodes,
  buildTestUnitReady,
} from '../scsi/commands.js';
import { ControlChannel } from './control.js';
import type { ParameterDecoder, ScsiServices } from './control.js';
import { designatorText } from '../scsi/designator.js';
import type { DesignatorText } from '../scsi/designator.js';
import { ScsiCheckCondition, ScsiError } from './errors.js';
import {
  BLOCK_BYTES_MAX,
  BLOCK_BYTES_MIN,
  INQUIRY_ALLOCATION_BYTES,
  PARAMETER_BYTES,
  REPORT_LUNS_BYTES_MAX,
} from './limits.js';
import type { ScsiPort } from '../scsi/port.js';
import { Asc, SenseKey } from '../scsi/sense.js';
import * as wire from '../scsi/wire.js';
import type {
  BlockCharacteristics,
  BlockLimits,
  BlockProvisioning,
  InquiryData,
  ModeParameters,
  ReadCapacity,
  ReportedLun,
} from '../scsi/wire.js';

/** The properties that can change while a logical unit is in use. */
export interface Medium {
  readonly sizeBytes: number;
  readonly sizeBlocks: number;
  readonly blockBytes: number;
  readonly physicalBlockBytes: number;
  /** T10 protection information: 0 for none, else the type. */
  readonly protectionType: number;
  /**
   * LBPME (`provisioned`): the unit manages provisioning by block. LBPRZ (`readZeroes`): unmapped blocks read as
   * zeroes.
   */
  readonly provisioned: boolean;
  readonly readZeroes: boolean;
  readonly readOnly: boolean;
  /** DPOFUA. */
  readonly forceUnitAccess: boolean;
  /** WCE; null when the device does not report it. Treat null as true. */
  readonly writeCache: boolean | null;
}

/**
 * Commands that not every device supports: true or false from REPORT SUPPORTED OPERATION CODES, null when the device
 * does not report it.
 */
export interface SupportedCommands {
  /** READ(16) and WRITE(16). False selects READ(10) and WRITE(10). */
  readonly readWrite16: boolean | null;
  readonly synchronizeCache16: boolean | null;
  readonly compareAndWrite: boolean | null;
  readonly unmap: boolean | null;
  readonly writeSame16: boolean | null;
  readonly preFetch16: boolean | null;
  readonly getLbaStatus: boolean | null;
}

/** `found` without the commands that the device has refused before. */
export function withRefusals(
  found: SupportedCommands,
  known: SupportedCommands,
): SupportedCommands {
  const merged: Record<keyof SupportedCommands, boolean | null> = { ...found };
  for (const name of COMMAND_NAMES) if (known[name] === false) merged[name] = false;
  return merged;
}

const COMMAND_NAMES: readonly (keyof SupportedCommands)[] = [
  'readWrite16',
  'synchronizeCache16',
  'compareAndWrite',
  'unmap',
  'writeSame16',
  'preFetch16',
  'getLbaStatus',
];

/** The properties that a disk reports. */
export interface InspectedUnit extends Medium {
  /** The port's name for the unit: target and LUN. */
  readonly name: string;
  readonly vendor: string;
  readonly product: string;
  readonly revision: string;
  /** 5 is SPC-3, 6 SPC-4, 7 SPC-5. */
  readonly version: number;
  /** Asymmetric access (ALUA): 0 none, 1 implicit, 2 explicit, 3 both. */
  readonly tpgs: number;
  /** Empty when the unit has no serial number. */
  readonly serial: string;
  readonly designators: readonly DesignatorText[];
  /** VPD pages B0, B1 and B2; null for a page that the device does not have. */
  readonly limits: BlockLimits | null;
  readonly characteristics: BlockCharacteristics | null;
  readonly provisioning: BlockProvisioning | null;
  readonly commands: SupportedCommands;
  /** The longest transfer of one command on the path. */
  readonly pathTransferBytesMax: number;
  /** The path checks that a read's data has arrived; see {@link ScsiPort.verifiesDataIn}. */
  readonly pathVerifiesDataIn: boolean;
}

/**
 * Reads every property of a logical unit that this program uses.
 * @throws ScsiError when the unit does not exist, is not a disk, is not ready, or has no usable capacity
 */
export async function inspectLogicalUnit(
  port: ScsiPort,
  services: ScsiServices,
  control = new ControlChannel(port, services),
): Promise<InspectedUnit> {
  const inquiry = await readInquiry(control);
  await waitUntilReady(control);
  const medium = await readMedium(control);
  const pages = await readPages(control);
  return {
    name: port.name,
    vendor: inquiry.vendor,
    product: inquiry.product,
    revision: inquiry.revision,
    version: inquiry.version,
    tpgs: inquiry.tpgs,
    ...medium,
    ...pages,
    commands: await readSupportedCommands(control, inquiry.deviceType),
    pathTransferBytesMax: port.transferBytesMax,
    pathVerifiesDataIn: port.verifiesDataIn,
  };
}

/**
 * The single-level LUNs of the target behind `port`. Any LUN of the target may ask.
 * @throws ScsiError when the target does not answer with a list
 */
export async function reportLuns(
  port: ScsiPort,
  services: ScsiServices,
): Promise<readonly ReportedLun[]> {
  const control = new ControlChannel(port, services);
  const ask = (lengthBytes: number) =>
    control.run(
      (command) => buildReportLuns(command, lengthBytes),
      lengthBytes,
      (view, offset, length) => ({
        luns: wire.decodeReportLuns(view, offset, length),
        listBytes: length < 4 ? 0 : view.getUint32(offset),
      }),
    );
  const first = await ask(PARAMETER_BYTES);
  const wholeBytes = wire.REPORT_LUNS_HEADER_BYTES + first.listBytes;
  if (wholeBytes <= PARAMETER_BYTES) return first.luns;
  return (await ask(Math.min(wholeBytes, REPORT_LUNS_BYTES_MAX))).luns;
}

/**
 * Reads capacity and mode parameters.
 * @throws ScsiError when the unit has no usable capacity, or a command fails
 */
export async function readMedium(control: ControlChannel): Promise<Medium> {
  const capacity = await readCapacity(control);
  const mode = await readMode(control);
  const { blockBytes, lastLba } = capacity;
  const sizeBlocks = lastLba + 1;
  return {
    sizeBlocks,
    blockBytes,
    sizeBytes: sizeBlocks * blockBytes,
    physicalBlockBytes: blockBytes * 2 ** capacity.physicalBlockExponent,
    protectionType: capacity.protectionType,
    provisioned: capacity.provisioned,
    readZeroes: capacity.readZeroes,
    readOnly: mode?.writeProtected ?? false,
    forceUnitAccess: mode?.forceUnitAccess ?? false,
    writeCache: mode?.caching?.writeCache ?? null,
  };
}

async function readInquiry(control: ControlChannel): Promise<InquiryData> {
  const { name } = control.port;
  const inquiry = await unlessNoLun(control, () =>
    control.run(
      (command) => buildInquiry(command, INQUIRY_ALLOCATION_BYTES),
      INQUIRY_ALLOCATION_BYTES,
      wire.decodeInquiry,
    ),
  );
  if (inquiry === null) throw malformed(control, 'INQUIRY');
  if (inquiry.qualifier !== wire.Qualifier.connected) throw noSuchLun(control);
  if (!isDisk(inquiry.deviceType)) {
    const type = wire.deviceTypeName(inquiry.deviceType);
    throw new ScsiError(
      'scsi-not-a-disk',
      `${name} is a ${type}, not a disk; only direct access block devices can be exported`,
      { lun: name, deviceType: inquiry.deviceType },
    );
  }
  return inquiry;
}

async function waitUntilReady(control: ControlChannel): Promise<void> {
  const { name } = control.port;
  try {
    await unlessNoLun(control, () => control.runWithoutData(buildTestUnitReady));
  } catch (error) {
    if (!(error instanceof ScsiCheckCondition) || error.senseKey !== SenseKey.notReady) throw error;
    if (error.asc >> 8 === Asc.mediumNotPresent >> 8) {
      throw new ScsiError('scsi-no-medium', `${name} has no medium in it`, { lun: name }, error);
    }
    const facts = { lun: name };
    throw new ScsiError('scsi-not-ready', `${name} is not ready: ${error.message}`, facts, error);
  }
}

async function readCapacity(control: ControlChannel): Promise<ReadCapacity> {
  const { name } = control.port;
  const { READ_CAPACITY_10_BYTES, READ_CAPACITY_16_BYTES } = wire;
  const capacity =
    (await control.runIfSupported(
      (command) => buildReadCapacity16(command, READ_CAPACITY_16_BYTES),
      READ_CAPACITY_16_BYTES,
      decodeCapacity16,
    )) ?? (await control.run(buildReadCapacity10, READ_CAPACITY_10_BYTES, decodeCapacity10));
  if (capacity === MALFORMED) throw malformed(control, 'READ CAPACITY');
  if (capacity === TOO_LARGE) {
    throw new ScsiError(
      'scsi-no-capacity',
      `${name} has 2^32 blocks or more, but does not report its size: it does not support READ CAPACITY(16)`,
      { lun: name },
    );
  }
  const { blockBytes, lastLba } = capacity;
  const isPowerOfTwo = 2 ** Math.round(Math.log2(blockBytes)) === blockBytes;
  if (lastLba < 0 || blockBytes === 0) {
    throw new ScsiError('scsi-no-capacity', `${name} has no capacity`, { lun: name });
  }
  if (!isPowerOfTwo || blockBytes < BLOCK_BYTES_MIN || blockBytes > BLOCK_BYTES_MAX) {
    throw new ScsiError(
      'scsi-block-size',
      `${name} has blocks of ${blockBytes} bytes; only powers of two from ${BLOCK_BYTES_MIN} to ${BLOCK_BYTES_MAX} can be exported`,
      { lun: name, blockBytes },
    );
  }
  if ((lastLba + 1) * blockBytes > Number.MAX_SAFE_INTEGER) {
    throw new ScsiError('scsi-no-capacity', `${name} claims to be larger than 8 PiB`, {
      lun: name,
    });
  }
  return capacity;
}

const MALFORMED = 'malformed';
/** SBC-3 5.15.2: FFFFFFFFh means that only READ CAPACITY(16) can report the size. */
const TOO_LARGE = 'too large';

function decodeCapacity10(
  view: DataView,
  offset: number,
  length: number,
): ReadCapacity | typeof MALFORMED | typeof TOO_LARGE {
  if (length < wire.READ_CAPACITY_10_BYTES) return MALFORMED;
  const capacity = wire.decodeReadCapacity10(view, offset);
  return capacity.lastLba === 0xffff_ffff ? TOO_LARGE : capacity;
}

function decodeCapacity16(
  view: DataView,
  offset: number,
  length: number,
): ReadCapacity | typeof MALFORMED {
  // SBC-2 devices send 12 bytes. The memory after them is zero.
  if (length < 12) return MALFORMED;
  const capacity = wire.emptyReadCapacity();
  wire.decodeReadCapacity16(view, offset, capacity);
  return capacity;
}

/** Null when the device supports neither form of MODE SENSE. */
async function readMode(control: ControlChannel): Promise<ModeParameters | null> {
  const { ModePage } = wire;
  const lengthBytes = INQUIRY_ALLOCATION_BYTES;
  for (const [build, form, page] of [
    [buildModeSense10, 10, ModePage.caching],
    [buildModeSense10, 10, ModePage.all],
    [buildModeSense6, 6, ModePage.all],
  ] as const) {
    const mode = await control.runIfSupported(
      (command) => build(command, page, lengthBytes),
      lengthBytes,
      (view, offset, length) => wire.decodeModeParameters(view, offset, length, form),
    );
    if (mode !== null) return mode;
  }
  return null;
}

type Pages = Pick<
  InspectedUnit,
  'serial' | 'designators' | 'limits' | 'characteristics' | 'provisioning'
>;

async function readPages(control: ControlChannel): Promise<Pages> {
  const { VpdPage } = wire;
  const offered = await readPage(control, VpdPage.supportedPages, wire.decodeSupportedPages);
  const read = <T>(page: number, decode: ParameterDecoder<T>): Promise<T | null> =>
    offered?.includes(page) === true ? readPage(control, page, decode) : Promise.resolve(null);
  const serial = await read(VpdPage.unitSerialNumber, wire.decodeUnitSerialNumber);
  const designators = await read(VpdPage.deviceIdentification, wire.decodeDesignators);
  return {
    serial: serial ?? '',
    designators: (designators ?? []).map(designatorText),
    limits: await read(VpdPage.blockLimits, wire.decodeBlockLimits),
    characteristics: await read(
      VpdPage.blockDeviceCharacteristics,
      wire.decodeBlockCharacteristics,
    ),
    provisioning: await read(VpdPage.logicalBlockProvisioning, wire.decodeBlockProvisioning),
  };
}

function readPage<T>(
  control: ControlChannel,
  pageCode: number,
  decode: ParameterDecoder<T>,
): Promise<T | null> {
  return control.runIfSupported(
    (command) => buildInquiryVpd(command, pageCode, PARAMETER_BYTES),
    PARAMETER_BYTES,
    decode,
  );
}

async function readSupportedCommands(
  control: ControlChannel,
  deviceType: number,
): Promise<SupportedCommands> {
  const { OperationCode, ServiceAction } = wire;
  const unmap = await readSupport(control, OperationCode.unmap, 0);
  // A device that cannot report one command cannot report any.
  const ask = (opcode: number, action: number) =>
    unmap === null ? Promise.resolve(null) : readSupport(control, opcode, action);
  // RBC defines the 10-byte forms only.
  const forms16 = deviceType === wire.DeviceType.simplifiedBlock ? false : null;
  return {
    readWrite16: forms16,
    synchronizeCache16: forms16,
    compareAndWrite: await ask(OperationCode.compareAndWrite, 0),
    unmap,
    writeSame16: await ask(OperationCode.writeSame16, 0),
    preFetch16: await ask(OperationCode.preFetch16, 0),
    getLbaStatus: await ask(OperationCode.serviceActionIn16, ServiceAction.getLbaStatus),
  };
}

async function readSupport(
  control: ControlChannel,
  opcode: number,
  serviceAction: number,
): Promise<boolean | null> {
  const { CommandSupport, ReportingOptions, OperationCode } = wire;
  const { oneOpcode, oneServiceAction } = ReportingOptions;
  const hasAction = opcode === OperationCode.serviceActionIn16;
  const reportingOptions = hasAction ? oneServiceAction : oneOpcode;
  const support = await control.runIfSupported(
    (command) =>
      buildReportSupportedOperationCodes(
        command,
        { reportingOptions, opcode, serviceAction },
        PARAMETER_BYTES,
      ),
    PARAMETER_BYTES,
    wire.decodeCommandSupport,
  );
  if (support === null || support === CommandSupport.unknown) return null;
  return support === CommandSupport.yes || support === CommandSupport.vendorSpecific;
}

/** A direct access block device (SBC), or one with the reduced command set (RBC). */
function isDisk(deviceType: number): boolean {
  const { block, simplifiedBlock } = wire.DeviceType;
  return deviceType === block || deviceType === simplifiedBlock;
}

/** Runs `action`. Turns the device's answer that the logical unit does not exist into a clear error. */
async function unlessNoLun<T>(control: ControlChannel, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    if (
      error instanceof ScsiCheckCondition &&
      error.senseKey === SenseKey.illegalRequest &&
      error.asc === Asc.logicalUnitNotSupported
    ) {
      throw noSuchLun(control, error);
    }
    throw error;
  }
}

function noSuchLun({ port }: ControlChannel, cause?: unknown): ScsiError {
  const message = `${port.name} does not exist; check the LUN, and that the target maps it to this initiator`;
  return new ScsiError('scsi-no-such-lun', message, { lun: port.name }, cause);
}

function malformed({ port }: ControlChannel, command: string): ScsiError {
  const message = `${port.name} sent too little data in answer to ${command}`;
  return new ScsiError('scsi-malformed', message, { lun: port.name, command });
}
