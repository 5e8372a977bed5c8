/**
 * iSCSI PDU headers, RFC 7143 section 11: the fields that all PDUs share. The PDUs themselves are in request-wire.ts
 * (initiator to target) and response-wire.ts (target to initiator). All fields are big-endian.
 *
 *     Byte  0             1             2             3
 *        0  .I opcode(6)  F, flags      opcode-specific
 *        4  ahsLength     dataSegmentLength (24)
 *        8  LUN, or opcode-specific (64)
 *       16  initiatorTaskTag (32)
 *       20  opcode-specific (32)
 *       24  request: cmdSn (32)        response: statSn (32)
 *       28  request: expStatSn (32)    response: expCmdSn (32)
 *       32  opcode-specific            response: maxCmdSn (32)
 *       36  opcode-specific (96)
 *
 * Each PDU is a class of plain fields; its objects are made once and reused. A `decode` function fills the object
 * from a BHS. An `encode` function writes all 48 bytes of a BHS from the object. Neither allocates or checks lengths:
 * the caller guarantees 48 bytes. Reserved bits are written as zero and ignored on receipt (RFC 7143 section 11).
 *
 * A LUN is the two unsigned 32-bit halves of its 64-bit field. The SCSI layer interprets a LUN. 64-bit fields never
 * become a BigInt.
 */

import type { Brand } from '../common/brand.js';

/** A basic header segment. */
export const BHS_BYTES = 48;

export const OPCODE_MASK = 0x3f;
export const IMMEDIATE_FLAG = 0x40;
export const FINAL_FLAG = 0x80;
/** In login and text PDUs: the next PDU continues the text of the same step. */
export const CONTINUE_FLAG = 0x40;

/** An Initiator Task Tag (RFC 7143 11.2.1.8): not a target transfer tag, nor any sequence number. */
export type TaskTag = Brand<number, 'TaskTag'>;

/** RFC 7143 11.2.1.8 and 11.7.4: the tag that means no task. */
export const RESERVED_TAG = 0xffff_ffff;

export const AT_FLAGS = 1;
export const AT_AHS_LENGTH = 4;
export const AT_LUN = 8;
export const AT_TASK_TAG = 16;
export const AT_TRANSFER_TAG = 20;
export const AT_CMD_SN = 24;
export const AT_EXP_STAT_SN = 28;
export const AT_STAT_SN = 24;
export const AT_EXP_CMD_SN = 28;
export const AT_MAX_CMD_SN = 32;

export function opcodeAt(view: DataView, offset: number): number {
  return view.getUint8(offset) & OPCODE_MASK;
}

export function isImmediateAt(view: DataView, offset: number): boolean {
  return (view.getUint8(offset) & IMMEDIATE_FLAG) !== 0;
}

/** Additional header segments, in bytes (the field counts 4-byte words). */
export function ahsLengthAt(view: DataView, offset: number): number {
  return view.getUint8(offset + AT_AHS_LENGTH) * 4;
}

export function dataSegmentLengthAt(view: DataView, offset: number): number {
  return view.getUint32(offset + AT_AHS_LENGTH) & 0xff_ffff;
}

export function taskTagAt(view: DataView, offset: number): TaskTag {
  return view.getUint32(offset + AT_TASK_TAG) as TaskTag;
}

/** Bytes of a data segment with its padding (RFC 7143 11.2.3). */
export function paddedLength(dataLength: number): number {
  return (dataLength + 3) & ~3;
}

/** Clears the BHS and writes the fields that every PDU has. `firstByte` is the opcode, with the immediate flag. */
export function startBhs(
  view: DataView,
  offset: number,
  firstByte: number,
  flags: number,
  dataSegmentLength: number,
): void {
  for (let at = 8; at < BHS_BYTES; at += 4) view.setUint32(offset + at, 0);
  view.setUint32(offset, (firstByte << 24) | (flags << 16));
  view.setUint32(offset + AT_AHS_LENGTH, dataSegmentLength & 0xff_ffff);
}

/** The sequence numbers of every response. */
export class ResponseNumbers {
  statSn = 0;
  expCmdSn = 0;
  maxCmdSn = 0;
}

/** Reads StatSN, ExpCmdSN and MaxCmdSN. All responses have them at the same place. */
export function decodeResponseNumbers(view: DataView, offset: number, out: ResponseNumbers): void {
  out.statSn = view.getUint32(offset + AT_STAT_SN);
  out.expCmdSn = view.getUint32(offset + AT_EXP_CMD_SN);
  out.maxCmdSn = view.getUint32(offset + AT_MAX_CMD_SN);
}

export function encodeResponseNumbers(view: DataView, offset: number, pdu: ResponseNumbers): void {
  view.setUint32(offset + AT_STAT_SN, pdu.statSn);
  view.setUint32(offset + AT_EXP_CMD_SN, pdu.expCmdSn);
  view.setUint32(offset + AT_MAX_CMD_SN, pdu.maxCmdSn);
}

/** The LUN field as it stands in a PDU. */
export interface LunField {
  lunHigh: number;
  lunLow: number;
}

/** Writes the LUN field from its halves. */
export function encodeLunField(view: DataView, offset: number, pdu: LunField): void {
  view.setUint32(offset + AT_LUN, pdu.lunHigh);
  view.setUint32(offset + AT_LUN + 4, pdu.lunLow);
}

export function decodeLunField(view: DataView, offset: number, out: LunField): void {
  out.lunHigh = view.getUint32(offset + AT_LUN);
  out.lunLow = view.getUint32(offset + AT_LUN + 4);
}
