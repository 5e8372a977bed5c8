/** What a command's PDU says of its data, held against what the command itself says. */
import { Asc, SenseKey } from '../../scsi/sense.js';
import type { CommandTask } from './command-task.js';
import { DataDirection } from '../../common/data-direction.js';

/** SPC-4 annex E: the command's data lengths contradict each other. */
const INVALID_FIELD_IN_COMMAND_IU = 0x0e03;
/** SPC-4 annex E: data came that was not asked for. */
const UNEXPECTED_UNSOLICITED_DATA = 0x0c0c;

/** What no initiator in its right mind does, and the connection has to end for; null for none. */
export function violationOf(task: CommandTask, immediateBytesMax: number): string | null {
  const { immediateBytes, expectedBytes } = task;
  if (immediateBytes === 0) return null;
  if (!task.isWrite) return 'a command without W flag carries data';
  if (immediateBytes > expectedBytes) {
    return `${immediateBytes} bytes of immediate data in a write of ${expectedBytes}`;
  }
  if (immediateBytes > immediateBytesMax) {
    return `${immediateBytes} bytes of immediate data, agreed are ${immediateBytesMax}`;
  }
  return null;
}

/** What is answered with sense; false when it was. `readDepth`: RDMA Reads that may be outstanding. */
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

/** The initiator must have advertised the memory that its command needs: what is missing, or null. */
export function missingKeyOf(task: CommandTask): string | null {
  const { command, header } = task;
  if (command.direction === DataDirection.out) {
    const needsRead = task.immediateBytes < command.transferBytes;
    if (needsRead && !header.isWriteStagValid) {
      return 'a write without write STag and with too little immediate data';
    }
  } else if (command.direction === DataDirection.in) {
    const wantsData = task.isRead && Math.min(task.expectedBytes, command.transferBytes) > 0;
    if (wantsData && !header.isReadStagValid) return 'a read without read STag';
  }
  return null;
}
