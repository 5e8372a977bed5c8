import {
  OperationCode,
  PersistentReserveIn,
  PersistentReserveOut,
  ServiceAction,
} from './opcodes.js';

/** SPC-4 4.3.4.1 and SBC-3: one command that this project knows. */
export interface CommandFormat {
  readonly name: string;
  readonly opcode: number;
  /** -1 where the opcode is the whole command. */
  readonly serviceAction: number;
  /** For REPORT SUPPORTED OPERATION CODES: the opcode, then a one for each bit that the target evaluates. */
  readonly usage: readonly number[];
}

const FF4 = [0xff, 0xff, 0xff, 0xff] as const;

function format(
  name: string,
  opcode: number,
  usage: readonly number[],
  serviceAction = -1,
): CommandFormat {
  return { name, opcode, serviceAction, usage: [opcode, ...usage, 0] };
}

/** The bytes after the opcode, without the control byte; `format` adds the control byte. */
const body10 = (flags: number) => [flags, ...FF4, 0, 0xff, 0xff];
const body12 = (flags: number) => [flags, ...FF4, ...FF4, 0];
const body16 = (flags: number) => [flags, ...FF4, ...FF4, ...FF4, 0];
const bodyReserveIn = [0x1f, 0, 0, 0, 0, 0, 0xff, 0xff];
const bodyReserveOut = [0x1f, 0xff, 0, 0, ...FF4];
const bodyAllocation12 = (flags: number, select: number) => [flags, select, 0, 0, 0, ...FF4, 0];

/** Every command with its usage map. Names for logs come from here. */
export const COMMAND_FORMATS: readonly CommandFormat[] = [
  format('TEST UNIT READY', OperationCode.testUnitReady, [0, 0, 0, 0]),
  format('REQUEST SENSE', OperationCode.requestSense, [0x01, 0, 0, 0xff]),
  format('READ(6)', OperationCode.read6, [0x1f, 0xff, 0xff, 0xff]),
  format('WRITE(6)', OperationCode.write6, [0x1f, 0xff, 0xff, 0xff]),
  format('INQUIRY', OperationCode.inquiry, [0x01, 0xff, 0xff, 0xff]),
  format('MODE SELECT(6)', OperationCode.modeSelect6, [0x11, 0, 0, 0xff]),
  format('RESERVE(6)', OperationCode.reserve6, [0x11, 0, 0, 0]),
  format('RELEASE(6)', OperationCode.release6, [0x11, 0, 0, 0]),
  format('MODE SENSE(6)', OperationCode.modeSense6, [0x08, 0xff, 0xff, 0xff]),
  format('START STOP UNIT', OperationCode.startStopUnit, [0x01, 0, 0, 0xf7]),
  format('SEND DIAGNOSTIC', OperationCode.sendDiagnostic, [0xf4, 0, 0xff, 0xff]),
  format('READ CAPACITY(10)', OperationCode.readCapacity10, [0, ...FF4, 0, 0, 0x01]),
  format('READ(10)', OperationCode.read10, body10(0xf8)),
  format('WRITE(10)', OperationCode.write10, body10(0xf8)),
  format('VERIFY(10)', OperationCode.verify10, body10(0xf6)),
  format('PRE-FETCH(10)', OperationCode.preFetch10, body10(0x02)),
  format('SYNCHRONIZE CACHE(10)', OperationCode.synchronizeCache10, body10(0x02)),
  format('WRITE SAME(10)', OperationCode.writeSame10, body10(0xf8)),
  format('UNMAP', OperationCode.unmap, [0x01, 0, 0, 0, 0, 0, 0xff, 0xff]),
  format('LOG SENSE', OperationCode.logSense, [0x01, 0xff, 0xff, 0, 0xff, 0xff, 0xff, 0xff]),
  format('MODE SELECT(10)', OperationCode.modeSelect10, [0x11, 0, 0, 0, 0, 0, 0xff, 0xff]),
  format('RESERVE(10)', OperationCode.reserve10, [0x13, 0, 0, 0, 0, 0, 0, 0]),
  format('RELEASE(10)', OperationCode.release10, [0x13, 0, 0, 0, 0, 0, 0, 0]),
  format('MODE SENSE(10)', OperationCode.modeSense10, [0x18, 0xff, 0xff, 0, 0, 0, 0xff, 0xff]),
  ...persistentReserve(),
  format('READ(16)', OperationCode.read16, body16(0xf8)),
  format('COMPARE AND WRITE', OperationCode.compareAndWrite, [
    0xf8,
    ...FF4,
    ...FF4,
    0,
    0,
    0,
    0xff,
    0,
  ]),
  format('WRITE(16)', OperationCode.write16, body16(0xf8)),
  format('VERIFY(16)', OperationCode.verify16, body16(0xf6)),
  format('PRE-FETCH(16)', OperationCode.preFetch16, body16(0x02)),
  format('SYNCHRONIZE CACHE(16)', OperationCode.synchronizeCache16, body16(0x02)),
  format('WRITE SAME(16)', OperationCode.writeSame16, body16(0xf9)),
  format(
    'READ CAPACITY(16)',
    OperationCode.serviceActionIn16,
    [0x1f, 0, 0, 0, 0, 0, 0, 0, 0, ...FF4, 0],
    ServiceAction.readCapacity16,
  ),
  format(
    'GET LBA STATUS',
    OperationCode.serviceActionIn16,
    [0x1f, ...FF4, ...FF4, ...FF4, 0],
    ServiceAction.getLbaStatus,
  ),
  format('REPORT LUNS', OperationCode.reportLuns, bodyAllocation12(0, 0xff)),
  format(
    'REPORT TARGET PORT GROUPS',
    OperationCode.maintenanceIn,
    [0xff, 0, 0, 0, 0, ...FF4, 0],
    ServiceAction.reportTargetPortGroups,
  ),
  format(
    'REPORT SUPPORTED OPERATION CODES',
    OperationCode.maintenanceIn,
    [0x1f, 0x87, 0xff, 0xff, 0xff, ...FF4, 0],
    ServiceAction.reportSupportedOperationCodes,
  ),
  format(
    'REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS',
    OperationCode.maintenanceIn,
    [0x1f, 0x80, 0, 0, 0, ...FF4, 0],
    ServiceAction.reportSupportedTaskManagementFunctions,
  ),
  format('READ(12)', OperationCode.read12, body12(0xf8)),
  format('WRITE(12)', OperationCode.write12, body12(0xf8)),
];

/** All service actions of the two commands. */
function persistentReserve(): CommandFormat[] {
  const { persistentReserveIn, persistentReserveOut } = OperationCode;
  const { readKeys, readReservation, reportCapabilities, readFullStatus } = PersistentReserveIn;
  const ins: [string, number][] = [
    ['READ KEYS', readKeys],
    ['READ RESERVATION', readReservation],
    ['REPORT CAPABILITIES', reportCapabilities],
    ['READ FULL STATUS', readFullStatus],
  ];
  const outs: [string, number][] = [
    ['REGISTER', PersistentReserveOut.register],
    ['RESERVE', PersistentReserveOut.reserve],
    ['RELEASE', PersistentReserveOut.release],
    ['CLEAR', PersistentReserveOut.clear],
    ['PREEMPT', PersistentReserveOut.preempt],
    ['PREEMPT AND ABORT', PersistentReserveOut.preemptAndAbort],
    ['REGISTER AND IGNORE EXISTING KEY', PersistentReserveOut.registerAndIgnoreExistingKey],
  ];
  return [
    ...ins.map(([action, code]) =>
      format(`PERSISTENT RESERVE IN: ${action}`, persistentReserveIn, bodyReserveIn, code),
    ),
    ...outs.map(([action, code]) =>
      format(`PERSISTENT RESERVE OUT: ${action}`, persistentReserveOut, bodyReserveOut, code),
    ),
  ];
}

/** The format of a command, or undefined for one that this project does not know. */
export function commandFormatOf(opcode: number, serviceAction: number): CommandFormat | undefined {
  return COMMAND_FORMATS.find(
    (entry) =>
      entry.opcode === opcode &&
      (entry.serviceAction === -1 || entry.serviceAction === serviceAction),
  );
}

/** The project knows the operation code. The service action may still be unknown. */
export function isKnownOpcode(opcode: number): boolean {
  return COMMAND_FORMATS.some((entry) => entry.opcode === opcode);
}

/** `READ(16)`, or `command 0xc1` for an opcode without a name here. `offset` is the CDB's first byte. */
export function commandNameAt(cdb: DataView, offset: number): string {
  const opcode = cdb.getUint8(offset);
  const known = commandFormatOf(opcode, cdb.getUint8(offset + 1) & 0x1f);
  return known?.name ?? `command 0x${opcode.toString(16).padStart(2, '0')}`;
}
