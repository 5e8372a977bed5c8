/** Checks the CDBs of commands that transfer no blocks. Each function prepares or refuses its command. */
import { Asc } from '../../scsi/sense.js';
import { DataDirection } from '../../common/data-direction.js';
import type { DiskCommand } from './disk-command.js';
import { MODE_SELECT_BYTES_MAX } from './limits.js';

/** SEND DIAGNOSTIC: foreground self-tests. */
const SELF_TEST_SHORT = 5;
const SELF_TEST_EXTENDED = 6;

/** Start has no effect. Stop is refused, because it would stop the disk for every other initiator. */
export function prepareStartStop(command: DiskCommand): boolean {
  const { start, loadEject, powerCondition } = command.decoded;
  if (powerCondition !== 0 || loadEject || !start) return command.refuse(Asc.invalidFieldInCdb);
  return true;
}

/** A parameter list: received completely, or refused before any byte arrives. */
export function prepareParameterList(command: DiskCommand, bytesMax: number): boolean {
  const { allocationLength } = command.decoded;
  if (allocationLength > bytesMax) return command.refuse(Asc.parameterListLengthError);
  if (allocationLength === 0) return true;
  command.direction = DataDirection.out;
  command.transferBytes = allocationLength;
  return true;
}

/**
 * SP is refused, because no page can be saved. A list without PF is refused, because no standard defines its format.
 */
export function prepareModeSelect(command: DiskCommand): boolean {
  const { savePages, pageFormat, allocationLength } = command.decoded;
  if (savePages || (!pageFormat && allocationLength > 0)) {
    return command.refuse(Asc.invalidFieldInCdb);
  }
  return prepareParameterList(command, MODE_SELECT_BYTES_MAX);
}

/**
 * SPC-4 6.42: allows the default self-test and the two foreground self-tests, which do the same. Diagnostic pages are
 * refused.
 */
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
