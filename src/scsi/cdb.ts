/**
 * CDBs (SPC-4 clause 6, SBC-3 clause 5). Everything is big-endian. Bit numbers count from the least significant.
 *
 *   6-byte CDB     0       1          2       3       4       5
 *                  opcode  flags|lba  lba     lba     length  control        INQUIRY: 2 page, 3-4 length
 *
 *   10-byte CDB    0       1          2-5     6       7-8     9
 *                  opcode  flags      lba     group   length  control
 *
 *   12-byte CDB    0       1          2-5     6-9     10      11
 *                  opcode  flags      lba     length  group   control        MAINTENANCE IN, REPORT LUNS: 6-9
 *
 *   16-byte CDB    0       1          2-9     10-13   14      15
 *                  opcode  flags      lba     length  group   control        COMPARE AND WRITE: length in 13
 *
 *   flags          7 6 5      4             3            2-1             0
 *   READ, WRITE    protect    DPO           FUA          .               .
 *   VERIFY         protect    DPO           .            BYTCHK          .
 *   WRITE SAME     protect    ANCHOR        UNMAP        PBDATA, LBDATA  NDOB (16 only)
 *   SYNC CACHE, PRE-FETCH                                IMMED is bit 1
 *   UNMAP                                                                ANCHOR
 *   10-byte block commands: RELADR, obsolete, in bit 0. READ, WRITE: FUA_NV, obsolete, in bit 1
 *   MODE SELECT: PF 4, SP 0. LOG SENSE: SP 0. SEND DIAGNOSTIC: self-test code 7-5, PF 4, SELFTEST 2
 *   RESERVE, RELEASE: third party 4, LONGID 1 (10 only), EXTENT 0
 *   SERVICE ACTION IN, MAINTENANCE IN, PERSISTENT RESERVE IN and OUT: service action in bits 4-0
 */
import { readSafeU64, writeSafeU64 } from '../common/u64.js';
import { commandFormatOf } from './command-formats.js';
import { OperationCode } from './opcodes.js';

/** Bits of byte 1, as drawn above. */
export const CdbFlag = {
  dpo: 0x10,
  fua: 0x08,
  /** WRITE SAME. */
  unmap: 0x08,
  /** WRITE SAME. The ANCHOR bit of UNMAP is bit 0. */
  anchor: 0x10,
  /** WRITE SAME(16): there is no data-out buffer; the device writes zeroes. */
  noDataOut: 0x01,
  /** WRITE SAME: the device puts each block's address into the data of that block. Obsolete since SBC-3. */
  blockData: 0x06,
  /** SYNCHRONIZE CACHE and PRE-FETCH. */
  immediate: 0x02,
  /** READ and WRITE: data in non-volatile memory is safe enough. Obsolete since SBC-3. */
  fuaNonVolatile: 0x02,
  /** The 10-byte block commands: the address is relative to the address of the last command. Obsolete since SBC-2. */
  relativeAddress: 0x01,
  /** MODE SENSE: the device returns no block descriptors. */
  disableBlockDescriptors: 0x08,
} as const;

/** Any CDB of {@link COMMAND_FORMATS}, in one shape. Fields that a command does not have are zero or false. */
export class DecodedCdb {
  opcode = 0;
  /** 0 for commands without one. */
  serviceAction = 0;
  /** First logical block; -1 when above 2^53 - 1, which no device has. */
  lba = 0;
  /** Logical blocks: transfer length, number of blocks, verification length. 256 where READ(6) or WRITE(6) has 0. */
  blocks = 0;
  /** Bytes: the allocation length of data-in parameter data, or the parameter list length of data-out. */
  allocationLength = 0;
  /** RDPROTECT, WRPROTECT or VRPROTECT. */
  protect = 0;
  dpo = false;
  fua = false;
  unmap = false;
  anchor = false;
  noDataOut = false;
  /** Byte 1 has a bit that changes what the command does, and this project does not support that bit. */
  isUnusual = false;
  immediate = false;
  byteCheck = 0;
  /** INQUIRY: `pageCode` names a VPD page. */
  evpd = false;
  pageCode = 0;
  subpageCode = 0;
  /** MODE SENSE PC: 0 current, 1 changeable, 2 default, 3 saved. */
  pageControl = 0;
  disableBlockDescriptors = false;
  longLba = false;
  selectReport = 0;
  /** REPORT SUPPORTED OPERATION CODES. */
  reportingOptions = 0;
  returnTimeouts = false;
  requestedOpcode = 0;
  requestedServiceAction = 0;
  /** REQUEST SENSE: the initiator wants descriptor format. */
  descriptorSense = false;
  /** START STOP UNIT. */
  start = false;
  loadEject = false;
  powerCondition = 0;
  /** READ CAPACITY(10) PMI. */
  partialMedium = false;
  /** MODE SELECT and LOG SENSE SP, MODE SELECT PF. */
  savePages = false;
  pageFormat = false;
  /** LOG SENSE. */
  parameterPointer = 0;
  /** SEND DIAGNOSTIC. */
  selfTest = false;
  selfTestCode = 0;
  /** PERSISTENT RESERVE OUT. */
  reservationScope = 0;
  reservationType = 0;
  /** REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS: REPD. */
  extended = false;
  control = 0;

  /** Sets every field to zero or false. This runs once per command, and it is cheaper than a copy. */
  reset(): void {
    this.opcode = 0;
    this.serviceAction = 0;
    this.lba = 0;
    this.blocks = 0;
    this.allocationLength = 0;
    this.protect = 0;
    this.dpo = false;
    this.fua = false;
    this.unmap = false;
    this.anchor = false;
    this.noDataOut = false;
    this.isUnusual = false;
    this.immediate = false;
    this.byteCheck = 0;
    this.evpd = false;
    this.pageCode = 0;
    this.subpageCode = 0;
    this.pageControl = 0;
    this.disableBlockDescriptors = false;
    this.longLba = false;
    this.selectReport = 0;
    this.reportingOptions = 0;
    this.returnTimeouts = false;
    this.requestedOpcode = 0;
    this.requestedServiceAction = 0;
    this.descriptorSense = false;
    this.start = false;
    this.loadEject = false;
    this.powerCondition = 0;
    this.partialMedium = false;
    this.savePages = false;
    this.pageFormat = false;
    this.parameterPointer = 0;
    this.selfTest = false;
    this.selfTestCode = 0;
    this.reservationScope = 0;
    this.reservationType = 0;
    this.extended = false;
    this.control = 0;
  }
}

/**
 * Reads the CDB at `offset`; the caller guarantees 16 bytes. Returns false for a command that is not in
 * {@link COMMAND_FORMATS}; `out.opcode` and `out.serviceAction` are set even then.
 */
export function decodeCdb(view: DataView, offset: number, out: DecodedCdb): boolean {
  out.reset();
  const opcode = view.getUint8(offset);
  out.opcode = opcode;
  switch (opcode >> 5) {
    case 0:
      out.control = view.getUint8(offset + 5);
      return decodeCdb6(view, offset, out);
    case 1:
    case 2:
      out.control = view.getUint8(offset + 9);
      return decodeCdb10(view, offset, out);
    case 4:
      out.control = view.getUint8(offset + 15);
      return decodeCdb16(view, offset, out);
    case 5:
      out.control = view.getUint8(offset + 11);
      return decodeCdb12(view, offset, out);
    default:
      return false;
  }
}

function decodeCdb6(view: DataView, offset: number, out: DecodedCdb): boolean {
  const flags = view.getUint8(offset + 1);
  switch (out.opcode) {
    case OperationCode.testUnitReady:
      return true;
    case OperationCode.requestSense:
      out.descriptorSense = (flags & 1) !== 0;
      out.allocationLength = view.getUint8(offset + 4);
      return true;
    case OperationCode.read6:
    case OperationCode.write6: {
      const blocks = view.getUint8(offset + 4);
      out.lba = ((flags & 0x1f) << 16) | view.getUint16(offset + 2);
      out.blocks = blocks === 0 ? 256 : blocks;
      return true;
    }
    case OperationCode.inquiry:
      out.evpd = (flags & 1) !== 0;
      out.pageCode = view.getUint8(offset + 2);
      out.allocationLength = view.getUint16(offset + 3);
      return true;
    case OperationCode.modeSelect6:
      out.pageFormat = (flags & 0x10) !== 0;
      out.savePages = (flags & 1) !== 0;
      out.allocationLength = view.getUint8(offset + 4);
      return true;
    case OperationCode.reserve6:
    case OperationCode.release6:
      out.isUnusual = (flags & 0x11) !== 0;
      return true;
    case OperationCode.sendDiagnostic:
      out.selfTestCode = flags >> 5;
      out.selfTest = (flags & 0x04) !== 0;
      out.allocationLength = view.getUint16(offset + 3);
      return true;
    case OperationCode.modeSense6:
      decodeModePage(view, offset, out);
      out.allocationLength = view.getUint8(offset + 4);
      return true;
    case OperationCode.startStopUnit: {
      const action = view.getUint8(offset + 4);
      out.immediate = (flags & 1) !== 0;
      out.powerCondition = action >> 4;
      out.loadEject = (action & 2) !== 0;
      out.start = (action & 1) !== 0;
      return true;
    }
    default:
      return false;
  }
}

function decodeModePage(view: DataView, offset: number, out: DecodedCdb): void {
  const flags = view.getUint8(offset + 1);
  const page = view.getUint8(offset + 2);
  out.longLba = (flags & 0x10) !== 0;
  out.disableBlockDescriptors = (flags & CdbFlag.disableBlockDescriptors) !== 0;
  out.pageControl = page >> 6;
  out.pageCode = page & 0x3f;
  out.subpageCode = view.getUint8(offset + 3);
}

function decodeCdb10(view: DataView, offset: number, out: DecodedCdb): boolean {
  const flags = view.getUint8(offset + 1);
  switch (out.opcode) {
    case OperationCode.modeSense10:
      decodeModePage(view, offset, out);
      out.allocationLength = view.getUint16(offset + 7);
      return true;
    case OperationCode.modeSelect10:
      out.pageFormat = (flags & 0x10) !== 0;
      out.savePages = (flags & 1) !== 0;
      out.allocationLength = view.getUint16(offset + 7);
      return true;
    case OperationCode.logSense:
      decodeModePage(view, offset, out);
      out.savePages = (flags & 1) !== 0;
      out.parameterPointer = view.getUint16(offset + 5);
      out.allocationLength = view.getUint16(offset + 7);
      return true;
    case OperationCode.reserve10:
    case OperationCode.release10:
      out.isUnusual = (flags & 0x13) !== 0;
      return true;
    case OperationCode.persistentReserveIn:
      out.serviceAction = flags & 0x1f;
      out.allocationLength = view.getUint16(offset + 7);
      return commandFormatOf(out.opcode, out.serviceAction) !== undefined;
    case OperationCode.persistentReserveOut:
      out.serviceAction = flags & 0x1f;
      out.reservationScope = view.getUint8(offset + 2) >> 4;
      out.reservationType = view.getUint8(offset + 2) & 0x0f;
      out.allocationLength = view.getUint32(offset + 5);
      return commandFormatOf(out.opcode, out.serviceAction) !== undefined;
    case OperationCode.unmap:
      out.anchor = (flags & 1) !== 0;
      out.allocationLength = view.getUint16(offset + 7);
      return true;
    case OperationCode.readCapacity10:
      out.lba = view.getUint32(offset + 2);
      out.partialMedium = (view.getUint8(offset + 8) & 1) !== 0;
      return true;
    case OperationCode.read10:
    case OperationCode.write10:
    case OperationCode.verify10:
    case OperationCode.preFetch10:
    case OperationCode.synchronizeCache10:
    case OperationCode.writeSame10:
      decodeBlockFlags(out, flags);
      if ((flags & CdbFlag.relativeAddress) !== 0) out.isUnusual = true;
      out.lba = view.getUint32(offset + 2);
      out.blocks = view.getUint16(offset + 7);
      return true;
    default:
      return false;
  }
}

function decodeCdb12(view: DataView, offset: number, out: DecodedCdb): boolean {
  const flags = view.getUint8(offset + 1);
  switch (out.opcode) {
    case OperationCode.reportLuns:
      out.selectReport = view.getUint8(offset + 2);
      out.allocationLength = view.getUint32(offset + 6);
      return true;
    case OperationCode.read12:
    case OperationCode.write12:
      decodeBlockFlags(out, flags);
      out.lba = view.getUint32(offset + 2);
      out.blocks = view.getUint32(offset + 6);
      return true;
    case OperationCode.maintenanceIn: {
      const options = view.getUint8(offset + 2);
      out.serviceAction = flags & 0x1f;
      // The same bit has another name in REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS.
      out.returnTimeouts = (options & 0x80) !== 0;
      out.extended = (options & 0x80) !== 0;
      out.reportingOptions = options & 7;
      out.requestedOpcode = view.getUint8(offset + 3);
      out.requestedServiceAction = view.getUint16(offset + 4);
      out.allocationLength = view.getUint32(offset + 6);
      return commandFormatOf(out.opcode, out.serviceAction) !== undefined;
    }
    default:
      return false;
  }
}

function decodeCdb16(view: DataView, offset: number, out: DecodedCdb): boolean {
  const flags = view.getUint8(offset + 1);
  switch (out.opcode) {
    case OperationCode.read16:
    case OperationCode.write16:
    case OperationCode.verify16:
    case OperationCode.preFetch16:
    case OperationCode.synchronizeCache16:
    case OperationCode.writeSame16:
      decodeBlockFlags(out, flags);
      out.lba = readSafeU64(view, offset + 2);
      out.blocks = view.getUint32(offset + 10);
      return true;
    case OperationCode.compareAndWrite:
      decodeBlockFlags(out, flags);
      out.lba = readSafeU64(view, offset + 2);
      out.blocks = view.getUint8(offset + 13);
      return true;
    case OperationCode.serviceActionIn16:
      out.serviceAction = flags & 0x1f;
      out.lba = readSafeU64(view, offset + 2);
      out.allocationLength = view.getUint32(offset + 10);
      return commandFormatOf(out.opcode, out.serviceAction) !== undefined;
    default:
      return false;
  }
}

/** Byte 1 of the commands that address blocks. The meaning of a bit depends on the command. */
function decodeBlockFlags(out: DecodedCdb, flags: number): void {
  out.protect = flags >> 5;
  switch (out.opcode) {
    case OperationCode.writeSame10:
    case OperationCode.writeSame16:
      out.anchor = (flags & CdbFlag.anchor) !== 0;
      out.unmap = (flags & CdbFlag.unmap) !== 0;
      out.isUnusual = (flags & CdbFlag.blockData) !== 0;
      out.noDataOut = out.opcode === OperationCode.writeSame16 && (flags & CdbFlag.noDataOut) !== 0;
      return;
    case OperationCode.preFetch10:
    case OperationCode.preFetch16:
    case OperationCode.synchronizeCache10:
    case OperationCode.synchronizeCache16:
      out.protect = 0;
      out.immediate = (flags & CdbFlag.immediate) !== 0;
      return;
    case OperationCode.verify10:
    case OperationCode.verify16:
      out.dpo = (flags & CdbFlag.dpo) !== 0;
      out.byteCheck = (flags >> 1) & 3;
      return;
    default:
      out.dpo = (flags & CdbFlag.dpo) !== 0;
      // FUA also satisfies FUA_NV: data on the medium is in non-volatile memory.
      out.fua = (flags & (CdbFlag.fua | CdbFlag.fuaNonVolatile)) !== 0;
  }
}

/**
 * Writes a CDB of the 16-byte block form. GET LBA STATUS and READ CAPACITY(16) have this form with `length` in bytes.
 */
export function encodeCdb16(
  cdb: DataView,
  opcode: number,
  flags: number,
  lba: number,
  length: number,
): void {
  cdb.setUint16(0, (opcode << 8) | flags);
  writeSafeU64(cdb, 2, lba);
  cdb.setUint32(10, length);
  cdb.setUint16(14, 0);
}

/** Writes a CDB of the 10-byte block form. `lba` is below 2^32, `length` below 2^16. */
export function encodeCdb10(
  cdb: DataView,
  opcode: number,
  flags: number,
  lba: number,
  length: number,
): void {
  cdb.setUint16(0, (opcode << 8) | flags);
  cdb.setUint32(2, lba);
  cdb.setUint8(6, 0);
  cdb.setUint16(7, length);
  cdb.setUint8(9, 0);
  cdb.setUint32(10, 0);
  cdb.setUint16(14, 0);
}
