import { SENSE_BYTES_MAX } from '../scsi/port.js';
import type { ScsiCommand } from '../scsi/port.js';
import { IscsiProtocolError } from './errors.js';
import type { ScsiResponsePdu } from './response-wire.js';

const SENSE_LENGTH_BYTES = 2;

/**
 * Puts what a SCSI Response says into the command: status, residual and sense. The data segment, at
 * `view[offset .. offset + length)`, is a 16-bit sense length, the sense data, and response data that nobody
 * defines (RFC 7143 11.4.7). Throws {@link IscsiProtocolError} for a response that cannot be.
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
