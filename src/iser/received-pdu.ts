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
 * Checks that a received message of `byteLength` bytes at `offset` is exactly one iSCSI PDU with its iSER header.
 * Returns null, or a clause that says what is wrong. iSCSI checks the contents of the PDU.
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
    return 'it rejected a Hello, but we sent none';
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
  // Linux pads the data segment of sense data, but not the data segment of text, so both lengths are accepted.
  if (dataBytes !== dataLength && dataBytes !== paddedLength(dataLength)) {
    return `it sent ${dataBytes} data bytes with a DataSegmentLength of ${dataLength}`;
  }
  return null;
}

/** Checks that this PDU may be a Send with Invalidate. RFC 7145 7.3.2: only a SCSI response may invalidate an STag. */
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
