import { ahsLengthAt, dataSegmentLengthAt, opcodeAt, paddedLength } from '../iscsi/wire.js';
import { PduOpcode, opcodeName } from '../iscsi/codes.js';
import {
  ISER_HEADER_BYTES,
  ISER_HEADERS_BYTES,
  IserHeaderType,
  iserHeaderTypeName,
  isHelloReject,
  readIserHeaderType,
} from '../iscsi/iser-header.js';

/**
 * Is a received message of `byteLength` bytes at `offset` an iSCSI PDU as iSER carries it? Null if so, else a clause
 * that says what is wrong. What the PDU says is iSCSI's business; that it is all there, and no more, is ours.
 */
export function problemWithReceived(
  view: DataView,
  offset: number,
  byteLength: number,
): string | null {
  if (byteLength < ISER_HEADER_BYTES) {
    return `it sent a message of ${byteLength} bytes, which is shorter than an iSER header`;
  }
  const type = readIserHeaderType(view, offset);
  if (type === IserHeaderType.helloReply && isHelloReject(view, offset)) {
    return 'it rejected a Hello that it was not sent';
  }
  if (type !== IserHeaderType.control) {
    return `it sent an iSER header of ${iserHeaderTypeName(type)}, where only control is expected`;
  }
  if (byteLength < ISER_HEADERS_BYTES) {
    return `it sent a message of ${byteLength} bytes, which is shorter than its headers`;
  }
  const bhsOffset = offset + ISER_HEADER_BYTES;
  const ahsLength = ahsLengthAt(view, bhsOffset);
  if (ahsLength !== 0) return `it sent ${ahsLength} bytes of additional header segments`;
  const dataLength = dataSegmentLengthAt(view, bhsOffset);
  const dataBytes = byteLength - ISER_HEADERS_BYTES;
  // Linux pads the sense data's segment and not that of text, so both are right.
  if (dataBytes !== dataLength && dataBytes !== paddedLength(dataLength)) {
    return `it sent ${dataBytes} data bytes with a DataSegmentLength of ${dataLength}`;
  }
  return null;
}

/** Is a Send with Invalidate allowed for this PDU? RFC 7145 7.3.2: it is how a SCSI response ends its STag. */
export function problemWithInvalidate(
  view: DataView,
  offset: number,
  isNegotiated: boolean,
): string | null {
  if (!isNegotiated) return 'it sent a Send with Invalidate, which was not agreed on';
  const opcode = opcodeAt(view, offset + ISER_HEADER_BYTES);
  if (opcode === PduOpcode.scsiResponse) return null;
  return `it sent a Send with Invalidate for a ${opcodeName(opcode)}`;
}
