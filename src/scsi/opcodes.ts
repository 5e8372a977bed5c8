/** Operation codes and service actions (SPC-4 annex E, SBC-3 5.1), and the status codes of commands. */

/** Operation codes. */
export const OperationCode = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  read6: 0x08,
  write6: 0x0a,
  inquiry: 0x12,
  modeSelect6: 0x15,
  reserve6: 0x16,
  release6: 0x17,
  modeSense6: 0x1a,
  startStopUnit: 0x1b,
  sendDiagnostic: 0x1d,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  verify10: 0x2f,
  preFetch10: 0x34,
  synchronizeCache10: 0x35,
  writeSame10: 0x41,
  unmap: 0x42,
  logSense: 0x4d,
  modeSelect10: 0x55,
  reserve10: 0x56,
  release10: 0x57,
  modeSense10: 0x5a,
  persistentReserveIn: 0x5e,
  persistentReserveOut: 0x5f,
  read16: 0x88,
  compareAndWrite: 0x89,
  write16: 0x8a,
  verify16: 0x8f,
  preFetch16: 0x90,
  synchronizeCache16: 0x91,
  writeSame16: 0x93,
  serviceActionIn16: 0x9e,
  reportLuns: 0xa0,
  maintenanceIn: 0xa3,
  read12: 0xa8,
  write12: 0xaa,
} as const;
export type OperationCode = (typeof OperationCode)[keyof typeof OperationCode];

/** Service actions of SERVICE ACTION IN(16) and of MAINTENANCE IN. */
export const ServiceAction = {
  readCapacity16: 0x10,
  getLbaStatus: 0x12,
  reportTargetPortGroups: 0x0a,
  reportSupportedOperationCodes: 0x0c,
  reportSupportedTaskManagementFunctions: 0x0d,
} as const;

/** Service actions of PERSISTENT RESERVE IN (SPC-4 table 210). */
export const PersistentReserveIn = {
  readKeys: 0x00,
  readReservation: 0x01,
  reportCapabilities: 0x02,
  readFullStatus: 0x03,
} as const;

/** Service actions of PERSISTENT RESERVE OUT (SPC-4 table 221). */
export const PersistentReserveOut = {
  register: 0x00,
  reserve: 0x01,
  release: 0x02,
  clear: 0x03,
  preempt: 0x04,
  preemptAndAbort: 0x05,
  registerAndIgnoreExistingKey: 0x06,
} as const;
export type PersistentReserveOut = (typeof PersistentReserveOut)[keyof typeof PersistentReserveOut];

/** SAM-5 5.3.1. */
export const ScsiStatus = {
  good: 0x00,
  checkCondition: 0x02,
  conditionMet: 0x04,
  busy: 0x08,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
  acaActive: 0x30,
  taskAborted: 0x40,
} as const;

const STATUS_NAMES: Readonly<Record<number, string>> = {
  [ScsiStatus.good]: 'GOOD',
  [ScsiStatus.checkCondition]: 'CHECK CONDITION',
  [ScsiStatus.conditionMet]: 'CONDITION MET',
  [ScsiStatus.busy]: 'BUSY',
  [ScsiStatus.reservationConflict]: 'RESERVATION CONFLICT',
  [ScsiStatus.taskSetFull]: 'TASK SET FULL',
  [ScsiStatus.acaActive]: 'ACA ACTIVE',
  [ScsiStatus.taskAborted]: 'TASK ABORTED',
};

export function scsiStatusName(status: number): string {
  return STATUS_NAMES[status] ?? `status 0x${status.toString(16)}`;
}
