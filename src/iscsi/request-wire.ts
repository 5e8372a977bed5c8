/**
 * PDUs from initiator to target, RFC 7143 11.3, 11.5, 11.10, 11.12, 11.14 and 11.18. wire.ts shows the layout of the
 * first 32 bytes. Each class below shows its own fields. `dataSegmentLength` is the length without padding. We send
 * neither Data-Out (11.7), as all immediate data is in the command, nor SNACK (11.16), as iSER loses nothing.
 */
import { PduOpcode } from './codes.js';
import {
  AT_CMD_SN,
  AT_EXP_STAT_SN,
  AT_FLAGS,
  AT_TASK_TAG,
  AT_TRANSFER_TAG,
  CONTINUE_FLAG,
  FINAL_FLAG,
  IMMEDIATE_FLAG,
  RESERVED_TAG,
  dataSegmentLengthAt,
  decodeLunField,
  encodeLunField,
  isImmediateAt,
  startBhs,
} from './wire.js';

/** The fields that every request has. */
class Request {
  immediate = false;
  dataSegmentLength = 0;
  initiatorTaskTag = 0;
  cmdSn = 0;
  expStatSn = 0;
}

/** 11.3. Byte 1: F 80, R 40, W 20, ATTR 07; 8 LUN; 20 expected data transfer length; 32 CDB (16). */
export class ScsiCommandPdu extends Request {
  final = true;
  read = false;
  write = false;
  attribute = 0;
  lunHigh = 0;
  lunLow = 0;
  expectedDataTransferLength = 0;
  /** 16 bytes. */
  cdb: Uint8Array = new Uint8Array(16);
}

const READ_FLAG = 0x40;
const WRITE_FLAG = 0x20;
const ATTRIBUTE_MASK = 0x07;
const AT_CDB = 32;
const CDB_BYTES = 16;

/** Encodes `cdb`, 16 bytes, instead of the PDU's own CDB if it is given. */
export function encodeScsiCommand(
  view: DataView,
  offset: number,
  pdu: ScsiCommandPdu,
  cdb: DataView | null = null,
): void {
  const flags =
    (pdu.final ? FINAL_FLAG : 0) |
    (pdu.read ? READ_FLAG : 0) |
    (pdu.write ? WRITE_FLAG : 0) |
    pdu.attribute;
  startRequest(view, offset, PduOpcode.scsiCommand, flags, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.expectedDataTransferLength);
  if (cdb !== null) {
    copyCdb(cdb, 0, view, offset + AT_CDB);
    return;
  }
  for (let index = 0; index < CDB_BYTES; index++) {
    view.setUint8(offset + AT_CDB + index, pdu.cdb[index] ?? 0);
  }
}

/** Copies only the CDB of the PDU at `offset`, into the first 16 bytes of `out`. */
export function decodeCdbOf(view: DataView, offset: number, out: DataView): void {
  copyCdb(view, offset + AT_CDB, out, 0);
}

export function decodeScsiCommand(view: DataView, offset: number, out: ScsiCommandPdu): void {
  decodeRequest(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.final = (flags & FINAL_FLAG) !== 0;
  out.read = (flags & READ_FLAG) !== 0;
  out.write = (flags & WRITE_FLAG) !== 0;
  out.attribute = flags & ATTRIBUTE_MASK;
  decodeLunField(view, offset, out);
  out.expectedDataTransferLength = view.getUint32(offset + AT_TRANSFER_TAG);
  for (let index = 0; index < CDB_BYTES; index++) {
    out.cdb[index] = view.getUint8(offset + AT_CDB + index);
  }
}

/** Copies 32-bit words: a loop over bytes takes four times as long. */
function copyCdb(from: DataView, fromOffset: number, to: DataView, toOffset: number): void {
  for (let at = 0; at < CDB_BYTES; at += 4) {
    to.setInt32(toOffset + at, from.getInt32(fromOffset + at));
  }
}

/** 11.5. Byte 1: 80 | function; 8 LUN; 20 referenced task tag; 32 RefCmdSN; 36 ExpDataSN. */
export class TaskManagementRequestPdu extends Request {
  function = 0;
  lunHigh = 0;
  lunLow = 0;
  referencedTaskTag = RESERVED_TAG;
  refCmdSn = 0;
  expDataSn = 0;
}

const AT_REF_CMD_SN = 32;
const AT_EXP_DATA_SN = 36;

export function encodeTaskManagementRequest(
  view: DataView,
  offset: number,
  pdu: TaskManagementRequestPdu,
): void {
  startRequest(view, offset, PduOpcode.taskManagementRequest, FINAL_FLAG | pdu.function, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.referencedTaskTag);
  view.setUint32(offset + AT_REF_CMD_SN, pdu.refCmdSn);
  view.setUint32(offset + AT_EXP_DATA_SN, pdu.expDataSn);
}

export function decodeTaskManagementRequest(
  view: DataView,
  offset: number,
  out: TaskManagementRequestPdu,
): void {
  decodeRequest(view, offset, out);
  out.function = view.getUint8(offset + AT_FLAGS) & ~FINAL_FLAG;
  decodeLunField(view, offset, out);
  out.referencedTaskTag = view.getUint32(offset + AT_TRANSFER_TAG);
  out.refCmdSn = view.getUint32(offset + AT_REF_CMD_SN);
  out.expDataSn = view.getUint32(offset + AT_EXP_DATA_SN);
}

/** 11.10. Byte 1: F 80, C 40; 8 LUN; 20 target transfer tag. */
export class TextRequestPdu extends Request {
  final = true;
  continues = false;
  lunHigh = 0;
  lunLow = 0;
  targetTransferTag = RESERVED_TAG;
}

export function encodeTextRequest(view: DataView, offset: number, pdu: TextRequestPdu): void {
  const flags = (pdu.final ? FINAL_FLAG : 0) | (pdu.continues ? CONTINUE_FLAG : 0);
  startRequest(view, offset, PduOpcode.textRequest, flags, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.targetTransferTag);
}

export function decodeTextRequest(view: DataView, offset: number, out: TextRequestPdu): void {
  decodeRequest(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.final = (flags & FINAL_FLAG) !== 0;
  out.continues = (flags & CONTINUE_FLAG) !== 0;
  decodeLunField(view, offset, out);
  out.targetTransferTag = view.getUint32(offset + AT_TRANSFER_TAG);
}

/**
 * 11.12. Byte 1: T 80, C 40, CSG 0C, NSG 03; 2 version-max; 3 version-min; 8 ISID (6); 14 TSIH (2); 20 CID (2).
 * Always immediate.
 */
export class LoginRequestPdu extends Request {
  transit = false;
  continues = false;
  currentStage = 0;
  nextStage = 0;
  versionMax = 0;
  versionMin = 0;
  /** The first four and the last two bytes of the ISID. */
  isidHigh = 0;
  isidLow = 0;
  tsih = 0;
  cid = 0;
}

const AT_VERSION_MAX = 2;
const AT_VERSION_MIN = 3;
const AT_ISID = 8;
const AT_TSIH = 14;
const AT_CID = 20;

export function encodeLoginRequest(view: DataView, offset: number, pdu: LoginRequestPdu): void {
  const flags =
    (pdu.transit ? FINAL_FLAG : 0) |
    (pdu.continues ? CONTINUE_FLAG : 0) |
    (pdu.currentStage << 2) |
    pdu.nextStage;
  startRequest(view, offset, PduOpcode.loginRequest, flags, pdu);
  view.setUint8(offset + AT_VERSION_MAX, pdu.versionMax);
  view.setUint8(offset + AT_VERSION_MIN, pdu.versionMin);
  view.setUint32(offset + AT_ISID, pdu.isidHigh);
  view.setUint16(offset + AT_ISID + 4, pdu.isidLow);
  view.setUint16(offset + AT_TSIH, pdu.tsih);
  view.setUint16(offset + AT_CID, pdu.cid);
}

export function decodeLoginRequest(view: DataView, offset: number, out: LoginRequestPdu): void {
  decodeRequest(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.transit = (flags & FINAL_FLAG) !== 0;
  out.continues = (flags & CONTINUE_FLAG) !== 0;
  out.currentStage = (flags >>> 2) & 3;
  out.nextStage = flags & 3;
  out.versionMax = view.getUint8(offset + AT_VERSION_MAX);
  out.versionMin = view.getUint8(offset + AT_VERSION_MIN);
  out.isidHigh = view.getUint32(offset + AT_ISID);
  out.isidLow = view.getUint16(offset + AT_ISID + 4);
  out.tsih = view.getUint16(offset + AT_TSIH);
  out.cid = view.getUint16(offset + AT_CID);
}

/** 11.14. Byte 1: 80 | reason; 20 CID (2). */
export class LogoutRequestPdu extends Request {
  reason = 0;
  cid = 0;
}

export function encodeLogoutRequest(view: DataView, offset: number, pdu: LogoutRequestPdu): void {
  startRequest(view, offset, PduOpcode.logoutRequest, FINAL_FLAG | pdu.reason, pdu);
  view.setUint16(offset + AT_CID, pdu.cid);
}

export function decodeLogoutRequest(view: DataView, offset: number, out: LogoutRequestPdu): void {
  decodeRequest(view, offset, out);
  out.reason = view.getUint8(offset + AT_FLAGS) & ~FINAL_FLAG;
  out.cid = view.getUint16(offset + AT_CID);
}

/** 11.18. Byte 1: 80; 8 LUN; 20 target transfer tag. */
export class NopOutPdu extends Request {
  lunHigh = 0;
  lunLow = 0;
  targetTransferTag = RESERVED_TAG;
}

export function encodeNopOut(view: DataView, offset: number, pdu: NopOutPdu): void {
  startRequest(view, offset, PduOpcode.nopOut, FINAL_FLAG, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.targetTransferTag);
}

export function decodeNopOut(view: DataView, offset: number, out: NopOutPdu): void {
  decodeRequest(view, offset, out);
  decodeLunField(view, offset, out);
  out.targetTransferTag = view.getUint32(offset + AT_TRANSFER_TAG);
}

function startRequest(
  view: DataView,
  offset: number,
  opcode: number,
  flags: number,
  pdu: Request,
): void {
  startBhs(
    view,
    offset,
    opcode | (pdu.immediate ? IMMEDIATE_FLAG : 0),
    flags,
    pdu.dataSegmentLength,
  );
  view.setUint32(offset + AT_TASK_TAG, pdu.initiatorTaskTag);
  view.setUint32(offset + AT_CMD_SN, pdu.cmdSn);
  view.setUint32(offset + AT_EXP_STAT_SN, pdu.expStatSn);
}

function decodeRequest(view: DataView, offset: number, out: Request): void {
  out.immediate = isImmediateAt(view, offset);
  out.dataSegmentLength = dataSegmentLengthAt(view, offset);
  out.initiatorTaskTag = view.getUint32(offset + AT_TASK_TAG);
  out.cmdSn = view.getUint32(offset + AT_CMD_SN);
  out.expStatSn = view.getUint32(offset + AT_EXP_STAT_SN);
}
