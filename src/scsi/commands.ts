/**
 * Fills {@link ScsiCommand}s: CDB, direction and data length. The caller names the memory with {@link setData}. A
 * command with an allocation length reads into that memory. Nothing here allocates.
 */
import type { Slab } from '../common/slab.js';
import { DataDirection } from '../common/data-direction.js';
import type { ScsiCommand } from './port.js';
import { CdbFlag, OperationCode, ServiceAction, encodeCdb10, encodeCdb16 } from './wire.js';

/** Names the command's data: `slab.bytes[slabOffset .. slabOffset + dataLength)`. */
export function setData(
  command: ScsiCommand,
  direction: DataDirection,
  slab: Slab | null,
  slabOffset: number,
  dataLength: number,
): void {
  command.direction = direction;
  command.slab = slab;
  command.slabOffset = slabOffset;
  command.dataLength = dataLength;
}

/** A command without data. */
export function setNoData(command: ScsiCommand): void {
  command.direction = DataDirection.none;
  command.slab = null;
  command.slabOffset = 0;
  command.dataLength = 0;
}

/** The flags byte of READ and WRITE. */
function fuaFlag(forceUnitAccess: boolean): number {
  return forceUnitAccess ? CdbFlag.fua : 0;
}

/** READ(16); its data is set with {@link setData}, `in`. */
export function buildRead16(command: ScsiCommand, lba: number, blocks: number): void {
  encodeCdb16(command.cdbView, OperationCode.read16, 0, lba, blocks);
}

/** WRITE(16); its data is set with {@link setData}, `out`. */
export function buildWrite16(
  command: ScsiCommand,
  lba: number,
  blocks: number,
  forceUnitAccess: boolean,
): void {
  encodeCdb16(command.cdbView, OperationCode.write16, fuaFlag(forceUnitAccess), lba, blocks);
}

/** READ(10); its data is set with {@link setData}, `in`. */
export function buildRead10(command: ScsiCommand, lba: number, blocks: number): void {
  encodeCdb10(command.cdbView, OperationCode.read10, 0, lba, blocks);
}

/** WRITE(10); its data is set with {@link setData}, `out`. */
export function buildWrite10(
  command: ScsiCommand,
  lba: number,
  blocks: number,
  forceUnitAccess: boolean,
): void {
  encodeCdb10(command.cdbView, OperationCode.write10, fuaFlag(forceUnitAccess), lba, blocks);
}

/** COMPARE AND WRITE; its data, `blocks` to compare with and `blocks` to write, is set with {@link setData}, `out`. */
export function buildCompareAndWrite(
  command: ScsiCommand,
  lba: number,
  blocks: number,
  forceUnitAccess: boolean,
): void {
  encodeCdb16(
    command.cdbView,
    OperationCode.compareAndWrite,
    fuaFlag(forceUnitAccess),
    lba,
    blocks,
  );
}

/** SYNCHRONIZE CACHE(10) of the whole unit, without IMMED. */
export function buildSynchronizeCache10(command: ScsiCommand): void {
  encodeCdb10(command.cdbView, OperationCode.synchronizeCache10, 0, 0, 0);
  setNoData(command);
}

/** SYNCHRONIZE CACHE(16) without IMMED; `lba` 0 and `blocks` 0 is the whole unit. */
export function buildSynchronizeCache16(command: ScsiCommand, lba: number, blocks: number): void {
  encodeCdb16(command.cdbView, OperationCode.synchronizeCache16, 0, lba, blocks);
  setNoData(command);
}

/** PRE-FETCH(16) with IMMED: the answer does not wait for the medium. */
export function buildPreFetch16(command: ScsiCommand, lba: number, blocks: number): void {
  encodeCdb16(command.cdbView, OperationCode.preFetch16, CdbFlag.immediate, lba, blocks);
  setNoData(command);
}

/** WRITE SAME(16); its data, one block, is set with {@link setData}, `out`. */
export function buildWriteSame16(
  command: ScsiCommand,
  lba: number,
  blocks: number,
  unmap: boolean,
): void {
  encodeCdb16(command.cdbView, OperationCode.writeSame16, unmap ? CdbFlag.unmap : 0, lba, blocks);
}

/** UNMAP; its parameter list of `listBytes` is set with {@link setData}, `out`. */
export function buildUnmap(command: ScsiCommand, listBytes: number): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.unmap);
  command.cdbView.setUint16(7, listBytes);
}

export function buildTestUnitReady(command: ScsiCommand): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.testUnitReady);
  setNoData(command);
}

/** INQUIRY for standard data. */
export function buildInquiry(command: ScsiCommand, allocationLength: number): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.inquiry);
  command.cdbView.setUint16(3, allocationLength);
}

/** INQUIRY for one vital product data page. */
export function buildInquiryVpd(
  command: ScsiCommand,
  pageCode: number,
  allocationLength: number,
): void {
  buildInquiry(command, allocationLength);
  command.cdbView.setUint8(1, 1);
  command.cdbView.setUint8(2, pageCode);
}

export function buildReadCapacity10(command: ScsiCommand): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.readCapacity10);
}

export function buildReadCapacity16(command: ScsiCommand, allocationLength: number): void {
  const { readCapacity16 } = ServiceAction;
  encodeCdb16(
    command.cdbView,
    OperationCode.serviceActionIn16,
    readCapacity16,
    0,
    allocationLength,
  );
}

/** GET LBA STATUS from `lba` on. */
export function buildGetLbaStatus(
  command: ScsiCommand,
  lba: number,
  allocationLength: number,
): void {
  const { getLbaStatus } = ServiceAction;
  encodeCdb16(
    command.cdbView,
    OperationCode.serviceActionIn16,
    getLbaStatus,
    lba,
    allocationLength,
  );
}

/** MODE SENSE(6), current values, without block descriptors. */
export function buildModeSense6(
  command: ScsiCommand,
  pageCode: number,
  allocationLength: number,
): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.modeSense6);
  command.cdbView.setUint8(1, CdbFlag.disableBlockDescriptors);
  command.cdbView.setUint8(2, pageCode);
  command.cdbView.setUint8(4, allocationLength);
}

/** MODE SENSE(10), current values, without block descriptors. */
export function buildModeSense10(
  command: ScsiCommand,
  pageCode: number,
  allocationLength: number,
): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.modeSense10);
  command.cdbView.setUint8(1, CdbFlag.disableBlockDescriptors);
  command.cdbView.setUint8(2, pageCode);
  command.cdbView.setUint16(7, allocationLength);
}

/** REPORT LUNS, select report 0: the logical units without the well-known ones. */
export function buildReportLuns(command: ScsiCommand, allocationLength: number): void {
  encodeZeroes(command);
  command.cdbView.setUint8(0, OperationCode.reportLuns);
  command.cdbView.setUint32(6, allocationLength);
}

/** REPORT SUPPORTED OPERATION CODES. With `reportingOptions` 0 the device ignores the other two fields. */
export function buildReportSupportedOperationCodes(
  command: ScsiCommand,
  request: { reportingOptions: number; opcode: number; serviceAction: number },
  allocationLength: number,
): void {
  encodeZeroes(command);
  const { cdbView } = command;
  cdbView.setUint8(0, OperationCode.maintenanceIn);
  cdbView.setUint8(1, ServiceAction.reportSupportedOperationCodes);
  cdbView.setUint8(2, request.reportingOptions);
  cdbView.setUint8(3, request.opcode);
  cdbView.setUint16(4, request.serviceAction);
  cdbView.setUint32(6, allocationLength);
}

function encodeZeroes(command: ScsiCommand): void {
  encodeCdb16(command.cdbView, 0, 0, 0, 0);
}
