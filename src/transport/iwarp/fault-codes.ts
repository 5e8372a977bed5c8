import { Fault } from '../rnic/fault.js';
import { Terminate } from './terminate.js';
import type { TerminateCode } from './terminate.js';

/** The Terminate code for a refused RDMA Write or Read Response segment (RFC 5041 section 7.1). */
export function taggedFaultCode(fault: Fault): TerminateCode {
  switch (fault) {
    case Fault.invalidStag:
      return Terminate.taggedInvalidStag;
    case Fault.notAssociated:
      return Terminate.taggedNotAssociated;
    case Fault.bounds:
    case Fault.readResponse:
      return Terminate.taggedBounds;
    case Fault.wrap:
      return Terminate.taggedOffsetWrap;
    case Fault.access:
      return Terminate.accessRights;
    default:
      return Terminate.localCatastrophic;
  }
}

/**
 * The Terminate code for a refused segment of a Send: RFC 5041 section 7.1, or RFC 5040 section 7.1 for its
 * invalidation.
 */
export function sendFaultCode(fault: Fault): TerminateCode {
  switch (fault) {
    case Fault.noReceive:
      return Terminate.untaggedNoBuffer;
    case Fault.messageTooLong:
      return Terminate.untaggedTooLong;
    case Fault.invalidStag:
      return Terminate.invalidStag;
    case Fault.notAssociated:
      return Terminate.stagNotAssociated;
    case Fault.cannotInvalidate:
      return Terminate.cannotInvalidate;
    default:
      return Terminate.localCatastrophic;
  }
}

/** The Terminate code for a refused Read Request (RFC 5040 section 7.1). */
export function readFaultCode(fault: Fault): TerminateCode {
  switch (fault) {
    case Fault.invalidStag:
      return Terminate.invalidStag;
    case Fault.notAssociated:
      return Terminate.stagNotAssociated;
    case Fault.access:
      return Terminate.accessRights;
    case Fault.bounds:
      return Terminate.bounds;
    case Fault.wrap:
      return Terminate.offsetWrap;
    case Fault.readDepth:
      return Terminate.catastrophicStream;
    default:
      return Terminate.localCatastrophic;
  }
}
