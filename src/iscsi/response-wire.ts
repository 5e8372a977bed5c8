/**
 * PDUs from target to initiator, RFC 7143 11.4, 11.6, 11.9, 11.11, 11.13, 11.15, 11.17 and 11.19. wire.ts shows the
 * layout of the first 36 bytes. Each class below shows its own fields. `dataSegmentLength` is the length without
 * padding. Data-In and R2T do not exist on iSER.
 */
import { PduOpcode } from './codes.js';
import {
  AT_FLAGS,
  AT_TASK_TAG,
  AT_TRANSFER_TAG,
  CONTINUE_FLAG,
  FINAL_FLAG,
  RESERVED_TAG,
  ResponseNumbers,
  dataSegmentLengthAt,
  decodeLunField,
  decodeResponseNumbers,
  encodeLunField,
  encodeResponseNumbers,
  startBhs,
} from './wire.js';

/** The fields that every response has. */
class Response extends ResponseNumbers {
  dataSegmentLength = 0;
  initiatorTaskTag = 0;
}

/**
 * 11.4. Byte 1: 80, bidirectional overflow 10 and underflow 08, overflow 04, underflow 02; 2 response; 3 SCSI
 * status; 20 SNACK tag; 36 ExpDataSN; 40 bidirectional read residual; 44 residual count. The data segment is a
 * 16-bit sense length and the sense data.
 */
export class ScsiResponsePdu extends Response {
  bidirectionalOverflow = false;
  bidirectionalUnderflow = false;
  overflow = false;
  underflow = false;
  response = 0;
  status = 0;
  snackTag = 0;
  expDataSn = 0;
  bidirectionalResidual = 0;
  residual = 0;
}

const BIDIRECTIONAL_OVERFLOW_FLAG = 0x10;
const BIDIRECTIONAL_UNDERFLOW_FLAG = 0x08;
const OVERFLOW_FLAG = 0x04;
const UNDERFLOW_FLAG = 0x02;
const AT_RESPONSE = 2;
const AT_STATUS = 3;
const AT_EXP_DATA_SN = 36;
const AT_BIDIRECTIONAL_RESIDUAL = 40;
const AT_RESIDUAL = 44;

export function encodeScsiResponse(view: DataView, offset: number, pdu: ScsiResponsePdu): void {
  const flags =
    FINAL_FLAG |
    (pdu.bidirectionalOverflow ? BIDIRECTIONAL_OVERFLOW_FLAG : 0) |
    (pdu.bidirectionalUnderflow ? BIDIRECTIONAL_UNDERFLOW_FLAG : 0) |
    (pdu.overflow ? OVERFLOW_FLAG : 0) |
    (pdu.underflow ? UNDERFLOW_FLAG : 0);
  startResponse(view, offset, PduOpcode.scsiResponse, flags, pdu);
  view.setUint8(offset + AT_RESPONSE, pdu.response);
  view.setUint8(offset + AT_STATUS, pdu.status);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.snackTag);
  view.setUint32(offset + AT_EXP_DATA_SN, pdu.expDataSn);
  view.setUint32(offset + AT_BIDIRECTIONAL_RESIDUAL, pdu.bidirectionalResidual);
  view.setUint32(offset + AT_RESIDUAL, pdu.residual);
}

export function decodeScsiResponse(view: DataView, offset: number, out: ScsiResponsePdu): void {
  decodeResponse(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.bidirectionalOverflow = (flags & BIDIRECTIONAL_OVERFLOW_FLAG) !== 0;
  out.bidirectionalUnderflow = (flags & BIDIRECTIONAL_UNDERFLOW_FLAG) !== 0;
  out.overflow = (flags & OVERFLOW_FLAG) !== 0;
  out.underflow = (flags & UNDERFLOW_FLAG) !== 0;
  out.response = view.getUint8(offset + AT_RESPONSE);
  out.status = view.getUint8(offset + AT_STATUS);
  out.snackTag = view.getUint32(offset + AT_TRANSFER_TAG);
  out.expDataSn = view.getUint32(offset + AT_EXP_DATA_SN);
  out.bidirectionalResidual = view.getUint32(offset + AT_BIDIRECTIONAL_RESIDUAL);
  out.residual = view.getUint32(offset + AT_RESIDUAL);
}

/** 11.6. Byte 1: 80; 2 response. */
export class TaskManagementResponsePdu extends Response {
  response = 0;
}

export function encodeTaskManagementResponse(
  view: DataView,
  offset: number,
  pdu: TaskManagementResponsePdu,
): void {
  startResponse(view, offset, PduOpcode.taskManagementResponse, FINAL_FLAG, pdu);
  view.setUint8(offset + AT_RESPONSE, pdu.response);
}

export function decodeTaskManagementResponse(
  view: DataView,
  offset: number,
  out: TaskManagementResponsePdu,
): void {
  decodeResponse(view, offset, out);
  out.response = view.getUint8(offset + AT_RESPONSE);
}

/**
 * 11.9. Byte 1: 80; 8 LUN; 16 ffffffff; 36 event; 37 vendor code; 38, 40 and 42 parameters 1 to 3 (16 bits each).
 */
export class AsyncMessagePdu extends Response {
  override initiatorTaskTag = RESERVED_TAG;
  lunHigh = 0;
  lunLow = 0;
  event = 0;
  vendorCode = 0;
  parameter1 = 0;
  parameter2 = 0;
  parameter3 = 0;
}

const AT_EVENT = 36;
const AT_VENDOR_CODE = 37;
const AT_PARAMETER_1 = 38;
const AT_PARAMETER_2 = 40;
const AT_PARAMETER_3 = 42;

export function decodeAsyncMessage(view: DataView, offset: number, out: AsyncMessagePdu): void {
  decodeResponse(view, offset, out);
  decodeLunField(view, offset, out);
  out.event = view.getUint8(offset + AT_EVENT);
  out.vendorCode = view.getUint8(offset + AT_VENDOR_CODE);
  out.parameter1 = view.getUint16(offset + AT_PARAMETER_1);
  out.parameter2 = view.getUint16(offset + AT_PARAMETER_2);
  out.parameter3 = view.getUint16(offset + AT_PARAMETER_3);
}

/** 11.11. Byte 1: F 80, C 40; 8 LUN; 20 target transfer tag. */
export class TextResponsePdu extends Response {
  final = true;
  continues = false;
  lunHigh = 0;
  lunLow = 0;
  targetTransferTag = RESERVED_TAG;
}

export function encodeTextResponse(view: DataView, offset: number, pdu: TextResponsePdu): void {
  const flags = (pdu.final ? FINAL_FLAG : 0) | (pdu.continues ? CONTINUE_FLAG : 0);
  startResponse(view, offset, PduOpcode.textResponse, flags, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.targetTransferTag);
}

export function decodeTextResponse(view: DataView, offset: number, out: TextResponsePdu): void {
  decodeResponse(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.final = (flags & FINAL_FLAG) !== 0;
  out.continues = (flags & CONTINUE_FLAG) !== 0;
  decodeLunField(view, offset, out);
  out.targetTransferTag = view.getUint32(offset + AT_TRANSFER_TAG);
}

/**
 * 11.13. Byte 1: T 80, C 40, CSG 0C, NSG 03; 2 version-max; 3 version-active; 8 ISID (6); 14 TSIH (2);
 * 36 status class; 37 status detail.
 */
export class LoginResponsePdu extends Response {
  transit = false;
  continues = false;
  currentStage = 0;
  nextStage = 0;
  versionMax = 0;
  versionActive = 0;
  /** The first four and the last two bytes of the ISID. */
  isidHigh = 0;
  isidLow = 0;
  tsih = 0;
  statusClass = 0;
  statusDetail = 0;
}

const AT_VERSION_MAX = 2;
const AT_VERSION_ACTIVE = 3;
const AT_ISID = 8;
const AT_TSIH = 14;
const AT_STATUS_CLASS = 36;
const AT_STATUS_DETAIL = 37;

export function encodeLoginResponse(view: DataView, offset: number, pdu: LoginResponsePdu): void {
  const flags =
    (pdu.transit ? FINAL_FLAG : 0) |
    (pdu.continues ? CONTINUE_FLAG : 0) |
    (pdu.currentStage << 2) |
    pdu.nextStage;
  startResponse(view, offset, PduOpcode.loginResponse, flags, pdu);
  view.setUint8(offset + AT_VERSION_MAX, pdu.versionMax);
  view.setUint8(offset + AT_VERSION_ACTIVE, pdu.versionActive);
  view.setUint32(offset + AT_ISID, pdu.isidHigh);
  view.setUint16(offset + AT_ISID + 4, pdu.isidLow);
  view.setUint16(offset + AT_TSIH, pdu.tsih);
  view.setUint8(offset + AT_STATUS_CLASS, pdu.statusClass);
  view.setUint8(offset + AT_STATUS_DETAIL, pdu.statusDetail);
}

export function decodeLoginResponse(view: DataView, offset: number, out: LoginResponsePdu): void {
  decodeResponse(view, offset, out);
  const flags = view.getUint8(offset + AT_FLAGS);
  out.transit = (flags & FINAL_FLAG) !== 0;
  out.continues = (flags & CONTINUE_FLAG) !== 0;
  out.currentStage = (flags >>> 2) & 3;
  out.nextStage = flags & 3;
  out.versionMax = view.getUint8(offset + AT_VERSION_MAX);
  out.versionActive = view.getUint8(offset + AT_VERSION_ACTIVE);
  out.isidHigh = view.getUint32(offset + AT_ISID);
  out.isidLow = view.getUint16(offset + AT_ISID + 4);
  out.tsih = view.getUint16(offset + AT_TSIH);
  out.statusClass = view.getUint8(offset + AT_STATUS_CLASS);
  out.statusDetail = view.getUint8(offset + AT_STATUS_DETAIL);
}

/** 11.15. Byte 1: 80; 2 response; 40 Time2Wait (2); 42 Time2Retain (2), both in seconds. */
export class LogoutResponsePdu extends Response {
  response = 0;
  time2Wait = 0;
  time2Retain = 0;
}

const AT_TIME_2_WAIT = 40;
const AT_TIME_2_RETAIN = 42;

export function encodeLogoutResponse(view: DataView, offset: number, pdu: LogoutResponsePdu): void {
  startResponse(view, offset, PduOpcode.logoutResponse, FINAL_FLAG, pdu);
  view.setUint8(offset + AT_RESPONSE, pdu.response);
  view.setUint16(offset + AT_TIME_2_WAIT, pdu.time2Wait);
  view.setUint16(offset + AT_TIME_2_RETAIN, pdu.time2Retain);
}

export function decodeLogoutResponse(view: DataView, offset: number, out: LogoutResponsePdu): void {
  decodeResponse(view, offset, out);
  out.response = view.getUint8(offset + AT_RESPONSE);
  out.time2Wait = view.getUint16(offset + AT_TIME_2_WAIT);
  out.time2Retain = view.getUint16(offset + AT_TIME_2_RETAIN);
}

/** 11.17. Byte 1: 80; 2 reason; 16 ffffffff; 36 DataSN or R2TSN. The data segment is the rejected BHS. */
export class RejectPdu extends Response {
  override initiatorTaskTag = RESERVED_TAG;
  reason = 0;
  dataSn = 0;
}

const AT_REASON = 2;
const AT_DATA_SN = 36;

export function encodeReject(view: DataView, offset: number, pdu: RejectPdu): void {
  startResponse(view, offset, PduOpcode.reject, FINAL_FLAG, pdu);
  view.setUint8(offset + AT_REASON, pdu.reason);
  view.setUint32(offset + AT_DATA_SN, pdu.dataSn);
}

export function decodeReject(view: DataView, offset: number, out: RejectPdu): void {
  decodeResponse(view, offset, out);
  out.reason = view.getUint8(offset + AT_REASON);
  out.dataSn = view.getUint32(offset + AT_DATA_SN);
}

/** 11.19. Byte 1: 80; 8 LUN; 20 target transfer tag. */
export class NopInPdu extends Response {
  lunHigh = 0;
  lunLow = 0;
  targetTransferTag = RESERVED_TAG;
}

export function encodeNopIn(view: DataView, offset: number, pdu: NopInPdu): void {
  startResponse(view, offset, PduOpcode.nopIn, FINAL_FLAG, pdu);
  encodeLunField(view, offset, pdu);
  view.setUint32(offset + AT_TRANSFER_TAG, pdu.targetTransferTag);
}

export function decodeNopIn(view: DataView, offset: number, out: NopInPdu): void {
  decodeResponse(view, offset, out);
  decodeLunField(view, offset, out);
  out.targetTransferTag = view.getUint32(offset + AT_TRANSFER_TAG);
}

function startResponse(
  view: DataView,
  offset: number,
  opcode: number,
  flags: number,
  pdu: Response,
): void {
  startBhs(view, offset, opcode, flags, pdu.dataSegmentLength);
  view.setUint32(offset + AT_TASK_TAG, pdu.initiatorTaskTag);
  encodeResponseNumbers(view, offset, pdu);
}

function decodeResponse(view: DataView, offset: number, out: Response): void {
  out.dataSegmentLength = dataSegmentLengthAt(view, offset);
  out.initiatorTaskTag = view.getUint32(offset + AT_TASK_TAG);
  decodeResponseNumbers(view, offset, out);
}
