import { Opcode, ServiceAction } from '../../scsi/wire.js';
import type { DecodedCdb } from '../../scsi/wire.js';
import { Access } from './nexus.js';

/**
 * What a command takes, of what a reservation may keep from its initiator (SPC-4 table 65, SBC-3 table 13; SPC-2 table 10
 * for RESERVE and RELEASE). Those two, and PERSISTENT RESERVE, have rules of their own and are not asked for here.
 */
export function accessNeeded({ opcode, serviceAction, start, powerCondition }: DecodedCdb): Access {
  switch (opcode) {
    case Opcode.inquiry:
    case Opcode.requestSense:
    case Opcode.logSense:
    case Opcode.readCapacity10:
      return Access.inquiry;
    case Opcode.testUnitReady:
      return Access.status;
    case Opcode.startStopUnit:
      return start && powerCondition === 0 ? Access.status : Access.everything;
    case Opcode.serviceActionIn16:
      return serviceAction === ServiceAction.readCapacity16 ? Access.inquiry : Access.reading;
    case Opcode.maintenanceIn:
      return serviceAction === ServiceAction.reportTargetPortGroups
        ? Access.status
        : Access.reading;
    case Opcode.read6:
    case Opcode.read10:
    case Opcode.read12:
    case Opcode.read16:
    case Opcode.verify10:
    case Opcode.verify16:
    case Opcode.preFetch10:
    case Opcode.preFetch16:
    case Opcode.modeSense6:
    case Opcode.modeSense10:
      return Access.reading;
    default:
      return Access.everything;
  }
}
