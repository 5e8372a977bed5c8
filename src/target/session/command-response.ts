import { ScsiResponsePdu, encodeScsiResponse } from '../../iscsi/response-wire.js';
import { encodePlainHeader } from '../../iscsi/iser-header.js';
import { encodeFixedSense } from '../../scsi/sense.js';
import { ScsiStatus } from '../../scsi/wire.js';
import type { CommandTask } from './command-task.js';
import { DataDirection } from '../../common/data-direction.js';
import type { TargetWindow } from './target-window.js';

/** RFC 7143 11.4.7.2: the sense data follows a 16-bit length. */
const SENSE_LENGTH_BYTES = 2;

const pdu = new ScsiResponsePdu();

/**
 * Writes the SCSI Response of a task into its descriptor and prepares the Send. `invalidateKey` is the initiator's
 * key that the Send revokes, 0 for none. Returns the bytes of data-in to write before the Send.
 */
export function prepareResponse(
  task: CommandTask,
  window: TargetWindow,
  invalidateKey: number,
): number {
  const { command, tx } = task;
  const isGood = command.status === ScsiStatus.good || command.status === ScsiStatus.conditionMet;
  const dataInBytes = isGood ? Math.min(command.dataInBytes, expectedOf(task, true)) : 0;
  pdu.initiatorTaskTag = task.initiatorTaskTag;
  pdu.status = command.status;
  setResidual(task, isGood);
  window.stamp(pdu);
  const senseBytes = command.status === ScsiStatus.checkCondition ? writeSense(task) : 0;
  pdu.dataSegmentLength = senseBytes;
  encodePlainHeader(tx.view, tx.offset);
  encodeScsiResponse(tx.view, tx.bhsOffset, pdu);
  tx.prepare(senseBytes, invalidateKey);
  return dataInBytes;
}

/** The bytes that the initiator expects in this direction. */
function expectedOf(task: CommandTask, isRead: boolean): number {
  return (isRead ? task.isRead : task.isWrite) ? task.expectedBytes : 0;
}

/** RFC 7143 11.4.5: the difference between the command's data and the data that the initiator expected. */
function setResidual(task: CommandTask, isGood: boolean): void {
  const { command } = task;
  const isOut = command.direction === DataDirection.out;
  const hadBytes = isOut ? command.transferBytes : command.dataInBytes;
  // After a failure no byte counts as transferred, but data that exceeds the expected length is still an overflow.
  const actual = isGood || hadBytes > task.expectedBytes ? hadBytes : 0;
  const expected = command.direction === DataDirection.none ? 0 : expectedOf(task, !isOut);
  const wanted = Math.max(expected, task.expectedBytes);
  pdu.overflow = actual > expected;
  pdu.underflow = !pdu.overflow && actual < wanted;
  pdu.residual = pdu.overflow ? actual - expected : wanted - actual;
}

function writeSense(task: CommandTask): number {
  const { command, tx } = task;
  const { senseKey, asc, information } = command;
  const at = tx.dataOffset + SENSE_LENGTH_BYTES;
  const length = encodeFixedSense(tx.view, at, senseKey, asc, information);
  tx.view.setUint16(tx.dataOffset, length);
  return SENSE_LENGTH_BYTES + length;
}
