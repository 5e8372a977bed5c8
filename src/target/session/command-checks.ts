/** Compares the data lengths of a command's PDU with those of the command itself. */
import { Asc, SenseKey } from '../../scsi/sense.js';
import type { CommandTask } from './command-task.js';
import { DataDirection } from '../../common/data-direction.js';

/** SPC-4 annex E: the command's data lengths contradict each other. */
const INVALID_FIELD_IN_COMMAND_IU = 0x0e03;
/** SPC-4 annex E: unexpected unsolicited data. */
const UNEXPECTED_UNSOLICITED_DATA = 0x0c0c;

/** A protocol violation for which the connection must end, or null. */
export function violationOf(task: CommandTask, immediateBytesMax: number): string | null {
  const { immediateBytes, expectedBytes } = task;
  if (immediateBytes === 0) return null;
  if (!task.isWrite) return 'a command without the W flag carries data';
  if (immediateBytes > expectedBytes) {
    return `${immediateBytes} bytes of immediate data in a write of ${expectedBytes}`;
  }
  if (immediateBytes > immediateBytesMax) {
    return `${immediateBytes} bytes of immediate data, but ${immediateBytesMax} were negotiated`;
  }
  return null;
}

/**
 * Checks the lengths. False when the task has failed with sense data. `readDepth`: the RDMA Reads that may be
 * outstanding.
 */
export function checkLengths(task: CommandTask, isFinal: boolean, readDepth: number): boolean {
  const { command } = task;
  if (!isFinal) return command.check(SenseKey.abortedCommand, UNEXPECTED_UNSOLICITED_DATA);
  if (task.isRead && task.isWrite) return command.refuse(INVALID_FIELD_IN_COMMAND_IU);
  if (command.direction !== DataDirection.out) {
    task.immediateBytes = 0;
    return true;
  }
  const expected = task.isWrite ? task.expectedBytes : 0;
  if (expected < command.transferBytes) return command.refuse(INVALID_FIELD_IN_COMMAND_IU);
  task.immediateBytes = Math.min(task.immediateBytes, command.transferBytes);
  const needsRead = task.immediateBytes < command.transferBytes;
  if (needsRead && readDepth === 0) {
    return command.check(SenseKey.abortedCommand, Asc.dataPhaseError);
  }
  return true;
}

/** The initiator must have advertised the memory for its command. Returns what is missing, or null. */
export function missingKeyOf(task: CommandTask): string | null {
  const { command, header } = task;
  if (command.direction === DataDirection.out) {
    const needsRead = task.immediateBytes < command.transferBytes;
    if (needsRead && !header.isWriteStagValid) {
      return 'a write without a write STag and with too little immediate data';
    }
  } else if (command.direction === DataDirection.in) {
    const wantsData = task.isRead && Math.min(task.expectedBytes, command.transferBytes) > 0;
    if (wantsData && !header.isReadStagValid) return 'a read without a read STag';
  }
  return null;
}
