/**
 * The code points of RFC 7143 section 11 and RFC 7144, with their names for logs and errors. Every name stands only
 * here.
 */

/** RFC 7143 11.2.1.2. */
export const PduOpcode = {
  nopOut: 0x00,
  scsiCommand: 0x01,
  taskManagementRequest: 0x02,
  loginRequest: 0x03,
  textRequest: 0x04,
  /** On iSER for unsolicited data only (RFC 7145 7.3.4). */
  dataOut: 0x05,
  logoutRequest: 0x06,
  snackRequest: 0x10,
  nopIn: 0x20,
  scsiResponse: 0x21,
  taskManagementResponse: 0x22,
  loginResponse: 0x23,
  textResponse: 0x24,
  /** Never on iSER: an RDMA Write replaces it (RFC 7145 7.3.5). */
  dataIn: 0x25,
  logoutResponse: 0x26,
  /** Never on iSER: an RDMA Read replaces it (RFC 7145 7.3.6). */
  readyToTransfer: 0x31,
  asyncMessage: 0x32,
  reject: 0x3f,
} as const;
export type PduOpcode = (typeof PduOpcode)[keyof typeof PduOpcode];

const opcodeNames = namesOf({
  [PduOpcode.nopOut]: 'NOP-Out',
  [PduOpcode.scsiCommand]: 'SCSI Command',
  [PduOpcode.taskManagementRequest]: 'Task Management Function Request',
  [PduOpcode.loginRequest]: 'Login Request',
  [PduOpcode.textRequest]: 'Text Request',
  [PduOpcode.dataOut]: 'SCSI Data-Out',
  [PduOpcode.logoutRequest]: 'Logout Request',
  [PduOpcode.snackRequest]: 'SNACK Request',
  [PduOpcode.nopIn]: 'NOP-In',
  [PduOpcode.scsiResponse]: 'SCSI Response',
  [PduOpcode.taskManagementResponse]: 'Task Management Function Response',
  [PduOpcode.loginResponse]: 'Login Response',
  [PduOpcode.textResponse]: 'Text Response',
  [PduOpcode.dataIn]: 'SCSI Data-In',
  [PduOpcode.logoutResponse]: 'Logout Response',
  [PduOpcode.readyToTransfer]: 'Ready To Transfer',
  [PduOpcode.asyncMessage]: 'Asynchronous Message',
  [PduOpcode.reject]: 'Reject',
} satisfies Record<PduOpcode, string>);

export function opcodeName(opcode: number): string {
  return nameIn(opcodeNames, opcode, 'opcode');
}

/** RFC 7143 11.3.1: the order in which the device executes the command (SAM-5 task attribute). */
export const TaskAttribute = {
  untagged: 0,
  simple: 1,
  ordered: 2,
  headOfQueue: 3,
  aca: 4,
} as const;

/** RFC 7143 11.4.3. 0x80 to 0xff are vendor specific, and the rest is reserved. */
export const ScsiServiceResponse = { commandCompleted: 0x00, targetFailure: 0x01 } as const;

/** RFC 7143 11.5.1 and RFC 7144 4. */
export const TaskManagementFunction = {
  abortTask: 1,
  abortTaskSet: 2,
  clearAca: 3,
  clearTaskSet: 4,
  logicalUnitReset: 5,
  targetWarmReset: 6,
  targetColdReset: 7,
  taskReassign: 8,
  queryTask: 9,
  queryTaskSet: 10,
  nexusReset: 11,
  queryAsyncEvent: 12,
} as const;
export type TaskManagementFunction =
  (typeof TaskManagementFunction)[keyof typeof TaskManagementFunction];

const functionNames = namesOf({
  [TaskManagementFunction.abortTask]: 'ABORT TASK',
  [TaskManagementFunction.abortTaskSet]: 'ABORT TASK SET',
  [TaskManagementFunction.clearAca]: 'CLEAR ACA',
  [TaskManagementFunction.clearTaskSet]: 'CLEAR TASK SET',
  [TaskManagementFunction.logicalUnitReset]: 'LOGICAL UNIT RESET',
  [TaskManagementFunction.targetWarmReset]: 'TARGET WARM RESET',
  [TaskManagementFunction.targetColdReset]: 'TARGET COLD RESET',
  [TaskManagementFunction.taskReassign]: 'TASK REASSIGN',
  [TaskManagementFunction.queryTask]: 'QUERY TASK',
  [TaskManagementFunction.queryTaskSet]: 'QUERY TASK SET',
  [TaskManagementFunction.nexusReset]: 'I_T NEXUS RESET',
  [TaskManagementFunction.queryAsyncEvent]: 'QUERY ASYNCHRONOUS EVENT',
} satisfies Record<TaskManagementFunction, string>);

export function taskManagementFunctionName(code: number): string {
  return nameIn(functionNames, code, 'function');
}

/** RFC 7143 11.6.1 and RFC 7144 4.2. */
export const TaskManagementStatus = {
  complete: 0,
  noSuchTask: 1,
  noSuchLun: 2,
  taskStillAllegiant: 3,
  reassignNotSupported: 4,
  notSupported: 5,
  authorizationFailed: 6,
  succeeded: 7,
  rejected: 255,
} as const;

const taskManagementStatusNames = namesOf({
  [TaskManagementStatus.complete]: 'function complete',
  [TaskManagementStatus.noSuchTask]: 'task does not exist',
  [TaskManagementStatus.noSuchLun]: 'LUN does not exist',
  [TaskManagementStatus.taskStillAllegiant]: 'task still allegiant',
  [TaskManagementStatus.reassignNotSupported]: 'task allegiance reassignment not supported',
  [TaskManagementStatus.notSupported]: 'function not supported',
  [TaskManagementStatus.authorizationFailed]: 'function authorization failed',
  [TaskManagementStatus.succeeded]: 'function succeeded',
  [TaskManagementStatus.rejected]: 'function rejected',
});

export function taskManagementStatusText(code: number): string {
  return nameIn(taskManagementStatusNames, code, 'response');
}

/** RFC 7143 11.12.3: the stages of a login. 2 is not used. */
export const LoginStage = { security: 0, operational: 1, fullFeature: 3 } as const;
export type LoginStage = (typeof LoginStage)[keyof typeof LoginStage];

/** RFC 7143 11.13.5, class and detail as one 16-bit number. */
export const LoginStatus = {
  success: 0x0000,
  movedTemporarily: 0x0101,
  movedPermanently: 0x0102,
  initiatorError: 0x0200,
  authenticationFailed: 0x0201,
  authorizationFailed: 0x0202,
  targetNotFound: 0x0203,
  targetRemoved: 0x0204,
  unsupportedVersion: 0x0205,
  tooManyConnections: 0x0206,
  missingParameter: 0x0207,
  cannotIncludeInSession: 0x0208,
  sessionTypeNotSupported: 0x0209,
  sessionDoesNotExist: 0x020a,
  invalidDuringLogin: 0x020b,
  targetError: 0x0300,
  serviceUnavailable: 0x0301,
  outOfResources: 0x0302,
} as const;
export type LoginStatus = (typeof LoginStatus)[keyof typeof LoginStatus];

const loginStatusTexts = namesOf({
  [LoginStatus.success]: 'success',
  [LoginStatus.movedTemporarily]: 'the target has moved temporarily',
  [LoginStatus.movedPermanently]: 'the target has moved permanently',
  [LoginStatus.initiatorError]: 'initiator error; the target does not accept what was offered',
  [LoginStatus.authenticationFailed]:
    'authentication failed; check the CHAP user and secret, and that the target expects this initiator',
  [LoginStatus.authorizationFailed]:
    'this initiator may not use this target; check its access list for the initiator name',
  [LoginStatus.targetNotFound]: 'no such target; check the name with "discover"',
  [LoginStatus.targetRemoved]: 'the target was removed and no other address is known',
  [LoginStatus.unsupportedVersion]: 'the iSCSI version is not supported',
  [LoginStatus.tooManyConnections]: 'too many connections on this session',
  [LoginStatus.missingParameter]: 'a parameter is missing, such as the initiator or target name',
  [LoginStatus.cannotIncludeInSession]: 'the target does not support this session on this portal',
  [LoginStatus.sessionTypeNotSupported]: 'the session type is not supported',
  [LoginStatus.sessionDoesNotExist]: 'the session does not exist',
  [LoginStatus.invalidDuringLogin]: 'a request was not valid during login',
  [LoginStatus.targetError]: 'target error; see the log of the target',
  [LoginStatus.serviceUnavailable]: 'the target is not in service; try again later',
  [LoginStatus.outOfResources]: 'the target is out of resources; it may hold too many sessions',
} satisfies Record<LoginStatus, string>);

const loginClassTexts = namesOf({
  1: 'the target has moved',
  2: 'initiator error',
  3: 'target error',
});

/** A status class and detail in words. An unknown detail gets the words of its class (RFC 7143 11.13.5). */
export function loginStatusText(statusClass: number, statusDetail: number): string {
  return (
    loginStatusTexts.get((statusClass << 8) | statusDetail) ??
    nameIn(loginClassTexts, statusClass, 'status class')
  );
}

/** RFC 7143 11.14.1. */
export const LogoutReason = { closeSession: 0, closeConnection: 1, removeForRecovery: 2 } as const;

/** RFC 7143 11.15.1. */
export const LogoutStatus = {
  closed: 0,
  connectionNotFound: 1,
  recoveryNotSupported: 2,
  cleanupFailed: 3,
} as const;

/** RFC 7143 11.9.1 and RFC 7144 6. */
export const AsyncEvent = {
  /** Sense data follows as in a SCSI Response. */
  scsiEvent: 0,
  /** Parameter 3 is the time in seconds that the initiator has to log out. */
  logoutRequest: 1,
  /** Parameter 1 is the CID, 2 and 3 are Time2Wait and Time2Retain. */
  dropConnection: 2,
  dropAllConnections: 3,
  /** Parameter 3 is the time in seconds that the initiator has to start a negotiation. */
  negotiationRequest: 4,
  /** All active tasks of the LUN in the BHS are terminated. */
  tasksTerminated: 5,
  vendorSpecific: 255,
} as const;

const asyncEventNames = namesOf({
  [AsyncEvent.scsiEvent]: 'SCSI asynchronous event',
  [AsyncEvent.logoutRequest]: 'logout request',
  [AsyncEvent.dropConnection]: 'connection will be dropped',
  [AsyncEvent.dropAllConnections]: 'all connections will be dropped',
  [AsyncEvent.negotiationRequest]: 'negotiation request',
  [AsyncEvent.tasksTerminated]: 'all active tasks of the LUN were terminated',
  [AsyncEvent.vendorSpecific]: 'vendor-specific event',
});

export function asyncEventName(code: number): string {
  return nameIn(asyncEventNames, code, 'event');
}

/** RFC 7143 11.17.1. */
export const RejectReason = {
  dataDigestError: 0x02,
  snackReject: 0x03,
  protocolError: 0x04,
  commandNotSupported: 0x05,
  tooManyImmediateCommands: 0x06,
  taskInProgress: 0x07,
  invalidDataAck: 0x08,
  invalidPduField: 0x09,
  outOfResources: 0x0a,
  waitingForLogout: 0x0c,
} as const;

const rejectReasonNames = namesOf({
  [RejectReason.dataDigestError]: 'data digest error',
  [RejectReason.snackReject]: 'SNACK reject',
  [RejectReason.protocolError]: 'protocol error',
  [RejectReason.commandNotSupported]: 'command not supported',
  [RejectReason.tooManyImmediateCommands]: 'too many immediate commands',
  [RejectReason.taskInProgress]: 'task in progress',
  [RejectReason.invalidDataAck]: 'invalid data acknowledgement',
  [RejectReason.invalidPduField]: 'invalid PDU field',
  [RejectReason.outOfResources]: 'out of resources',
  [RejectReason.waitingForLogout]: 'waiting for logout',
});

export function rejectReasonName(code: number): string {
  return nameIn(rejectReasonNames, code, 'reason');
}

function namesOf(names: Readonly<Record<number, string>>): ReadonlyMap<number, string> {
  return new Map(Object.entries(names).map(([code, name]) => [Number(code), name]));
}

function nameIn(names: ReadonlyMap<number, string>, code: number, kind: string): string {
  return names.get(code) ?? `${kind} 0x${code.toString(16).padStart(2, '0')}`;
}
