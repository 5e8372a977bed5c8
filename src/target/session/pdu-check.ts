import { ahsLengthAt, dataSegmentLengthAt } from '../../iscsi/wire.js';
import {
  ISER_HEADERS_BYTES,
  IserHeaderType,
  iserHeaderTypeName,
  readIserHeaderType,
} from '../../iscsi/iser-header.js';
import type { TargetRxDescriptor } from './descriptors.js';

/**
 * Checks the lengths in a message against its received bytes, and sets the descriptor's `dataLength`. Returns the
 * fault, or null. Padding may be missing, because not every initiator sends it.
 */
export function checkPdu(rx: TargetRxDescriptor, receivedBytes: number): string | null {
  const { view, offset, bhsOffset } = rx;
  if (receivedBytes < ISER_HEADERS_BYTES) {
    return `a message of ${receivedBytes} bytes is shorter than its headers`;
  }
  const type = readIserHeaderType(view, offset);
  if (type !== IserHeaderType.control) {
    return `an iSER message of type ${iserHeaderTypeName(type)}`;
  }
  // Linux targets expect the data directly after the BHS, so initiators send no additional header segments.
  const ahsBytes = ahsLengthAt(view, bhsOffset);
  if (ahsBytes > 0) return `a PDU with ${ahsBytes} bytes of additional header`;
  const dataLength = dataSegmentLengthAt(view, bhsOffset);
  if (ISER_HEADERS_BYTES + dataLength > receivedBytes) {
    const present = receivedBytes - ISER_HEADERS_BYTES;
    return `a PDU claims ${dataLength} bytes of data, but has ${present}`;
  }
  rx.dataLength = dataLength;
  return null;
}
