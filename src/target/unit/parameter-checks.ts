/** What is right and wrong with the CDBs of commands that move no blocks. Each prepares the command, or refuses it. */
import { Asc } from '../../scsi/sense.js';
import { DataDirection } from '../../common/data-direction.js';
import type { DiskCommand } from './disk-command.js';
import { MODE_SELECT_BYTES_MAX } from './limits.js';

/** SEND DIAGNOSTIC: foreground self-tests. */
const SELF_TEST_SHORT = 5;
const SELF_TEST_EXTENDED = 6;

/** Starting is done already; stopping would take the disk away from every other initiator. */
export function prepareStartStop(command: DiskCommand): boolean {
  const { start, loadEject, powerCondition } = command.decoded;
  if (powerCondition !== 0 || loadEject || !start) return command.refuse(Asc.invalidFieldInCdb);
  return true;
}

/** Data-out that is not blocks: taken whole, or refused before any of it comes. */
export function prepareParameterList(command: DiskCommand, bytesMax: number): boolean {
  const { allocationLength } = command.decoded;
  if (allocationLength > bytesMax) return command.refuse(Asc.parameterListLengthError);
  if (allocationLength === 0) return true;
  command.direction = DataDirection.out;
  command.transferBytes = allocationLength;
  return true;
}

/** Nothing is saved, and without PF the list would be of a form that no standard gives. */
export function prepareModeSelect(command: DiskCommand): boolean {
  const { savePages, pageFormat, allocationLength } = command.decoded;
  if (savePages || (!pageFormat && allocationLength > 0)) {
    return command.refuse(Asc.invalidFieldInCdb);
  }
  return prepareParameterList(command, MODE_SELECT_BYTES_MAX);
}

/** SPC-4 6.42: the default self-test, or one of the two in the foreground, which are the same; no diagnostic pages. */
export function prepareSelfTest(command: DiskCommand): boolean {
  const { decoded } = command;
  const { selfTest, selfTestCode, allocationLength } = decoded;
  const isForeground = selfTestCode === SELF_TEST_SHORT || selfTestCode === SELF_TEST_EXTENDED;
  const isSound = selfTest ? selfTestCode === 0 : selfTestCode === 0 || isForeground;
  if (!isSound || allocationLength !== 0) return command.refuse(Asc.invalidFieldInCdb);
  decoded.selfTest = selfTest || isForeground;
  command.isExclusive = true;
  return true;
}
