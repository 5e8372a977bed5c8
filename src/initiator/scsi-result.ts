import { SENSE_BYTES_MAX } from '../scsi/port.js';
import { DataDirection } from '../common/data-direction.js';
import type { ScsiCommand } from '../scsi/port.js';
import type { DatamoverTask } from '../iscsi/datamover.js';
import { IscsiProtocolError } from '../iscsi/errors.js';
import type { ScsiResponsePdu } from '../iscsi/response-wire.js';

const SENSE_LENGTH_BYTES = 2;

/** SAM-5 5.3.1. Only GOOD promises that the data is complete. */
const STATUS_GOOD = 0;

/**
 * Copies status, residual and sense of a SCSI Response into the command. The data segment, at `view[offset .. offset
 * + length)`, is a 16-bit sense length, the sense data, and response data without a definition (RFC 7143 11.4.7).
 * @throws IscsiProtocolError for an inconsistent response
 */
export function readScsiResult(
  command: ScsiCommand,
  response: ScsiResponsePdu,
  view: DataView,
  offset: number,
  length: number,
): void {
  command.status = response.status;
  command.residual = residualOf(command, response);
  command.senseLength = 0;
  if (length === 0) return;
  const senseLength = length < SENSE_LENGTH_BYTES ? length : view.getUint16(offset);
  if (senseLength > length - SENSE_LENGTH_BYTES) {
    throw new IscsiProtocolError(
      `a SCSI Response says it has ${senseLength} bytes of sense in a data segment of ${length}`,
    );
  }
  const kept = Math.min(senseLength, SENSE_BYTES_MAX);
  const start = view.byteOffset + offset + SENSE_LENGTH_BYTES;
  command.sense.set(new Uint8Array(view.buffer, start, kept));
  command.senseLength = kept;
}

/**
 * Compares the data that the response reports with the data that arrived, and sets the command's residual to the
 * bytes that are really missing. True when bytes are missing and the status is GOOD: the owner would take old bytes
 * of its buffer for the device's data.
 */
export function isDataMissing(command: ScsiCommand, { placedBytes }: DatamoverTask): boolean {
  if (command.direction !== DataDirection.in) return false;
  const claimedBytes = command.dataLength - Math.max(0, command.residual);
  if (placedBytes >= claimedBytes) return false;
  command.residual = command.dataLength - placedBytes;
  return command.status === STATUS_GOOD;
}

function residualOf(command: ScsiCommand, response: ScsiResponsePdu): number {
  const { overflow, underflow, residual } = response;
  if (overflow && underflow) {
    throw new IscsiProtocolError('a SCSI Response reports both overflow and underflow');
  }
  if (overflow) return -residual;
  if (!underflow) return 0;
  if (residual > command.dataLength) {
    throw new IscsiProtocolError(
      `a SCSI Response leaves ${residual} bytes of a transfer of ${command.dataLength}`,
    );
  }
  return residual;
}
