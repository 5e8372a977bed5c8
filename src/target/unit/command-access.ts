import { OperationCode, ServiceAction } from '../../scsi/wire.js';
import type { DecodedCdb } from '../../scsi/wire.js';
import { NexusAccess } from './nexus.js';

/**
 * The access that a command needs and that a reservation may deny (SPC-4 table 65, SBC-3 table 13; SPC-2 table 10 for
 * the reservations of RESERVE). RESERVE, RELEASE and PERSISTENT RESERVE have other rules and are not handled here.
 */
export function accessNeeded({
  opcode,
  serviceAction,
  start,
  powerCondition,
}: DecodedCdb): NexusAccess {
  switch (opcode) {
    case OperationCode.inquiry:
    case OperationCode.requestSense:
    case OperationCode.logSense:
    case OperationCode.readCapacity10:
      return NexusAccess.inquiry;
    case OperationCode.testUnitReady:
      return NexusAccess.status;
    case OperationCode.startStopUnit:
      return start && powerCondition === 0 ? NexusAccess.status : NexusAccess.everything;
    case OperationCode.serviceActionIn16:
      return serviceAction === ServiceAction.readCapacity16
        ? NexusAccess.inquiry
        : NexusAccess.reading;
    case OperationCode.maintenanceIn:
      return serviceAction === ServiceAction.reportTargetPortGroups
        ? NexusAccess.status
        : NexusAccess.reading;
    case OperationCode.read6:
    case OperationCode.read10:
    case OperationCode.read12:
    case OperationCode.read16:
    case OperationCode.verify10:
    case OperationCode.verify16:
    case OperationCode.preFetch10:
    case OperationCode.preFetch16:
    case OperationCode.modeSense6:
    case OperationCode.modeSense10:
      return NexusAccess.reading;
    default:
      return NexusAccess.everything;
  }
}
