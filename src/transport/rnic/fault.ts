import { WorkStatus } from '../verbs.js';

/**
 * Why an inbound operation was refused. A refusal ends the connection. A driver translates the fault to its protocol.
 */
export const Fault = {
  none: 0,
  /** The key does not exist or is revoked. */
  invalidStag: 1,
  /** The key belongs to another protection domain, or to the queue pair that registered it and not to this one. */
  notAssociated: 2,
  /** The region does not grant this access. */
  access: 3,
  /** The range is outside the region. */
  bounds: 4,
  /** The address range passes 2^64. */
  wrap: 5,
  /** A peer may not revoke the region of this key. */
  cannotInvalidate: 6,
  /** A Send arrived without a posted receive. */
  noReceive: 7,
  /** A Send is longer than the posted receive. */
  messageTooLong: 8,
  /** More RDMA Reads are outstanding than the connection granted (IRD). */
  readDepth: 9,
  /** A Read Response without a matching Read, or for another place. */
  readResponse: 10,
  /** A posted receive or read sink names memory that is no longer registered: an error of our own consumer. */
  localBuffer: 11,
  /** The queue pair is not connected, or in the error state. */
  notConnected: 12,
  /** A REG_MR or LOCAL_INV of our own consumer names a region, key or range that it may not. */
  localRequest: 13,
} as const;
export type Fault = (typeof Fault)[keyof typeof Fault];

const faultSentences: Readonly<Record<Fault, string>> = {
  [Fault.none]: 'no fault',
  [Fault.invalidStag]: 'the memory key is unknown or revoked',
  [Fault.notAssociated]: 'the memory key belongs to another connection or protection domain',
  [Fault.access]: 'the memory region does not grant this access',
  [Fault.bounds]: 'the address range is outside of the memory region',
  [Fault.wrap]: 'the address range passes the end of the address space',
  [Fault.cannotInvalidate]: 'the memory region may not be invalidated by the peer',
  [Fault.noReceive]: 'a Send arrived and no receive was posted',
  [Fault.messageTooLong]: 'a Send is longer than the posted receive',
  [Fault.readDepth]: 'more RDMA Reads are outstanding than the connection allows',
  [Fault.readResponse]: 'an RDMA Read Response does not match an outstanding RDMA Read',
  [Fault.localBuffer]: 'a posted buffer is not registered any more',
  [Fault.notConnected]: 'the queue pair is not connected',
  [Fault.localRequest]: 'a memory registration or invalidation request is not valid',
};

/** A sentence fragment for logs and `disconnected` events. */
export function faultReason(fault: Fault): string {
  return faultSentences[fault];
}

/** The status of the requester's work request when the responder refused it with `fault`. */
export function requesterStatus(fault: Fault): WorkStatus {
  switch (fault) {
    case Fault.none:
      return WorkStatus.success;
    case Fault.invalidStag:
    case Fault.notAssociated:
    case Fault.access:
    case Fault.bounds:
    case Fault.wrap:
      return WorkStatus.remoteAccessError;
    case Fault.cannotInvalidate:
    case Fault.noReceive:
    case Fault.messageTooLong:
    case Fault.readDepth:
      return WorkStatus.remoteInvalidRequest;
    case Fault.localBuffer:
      return WorkStatus.remoteOperationError;
    case Fault.readResponse:
    case Fault.notConnected:
    case Fault.localRequest:
      return WorkStatus.generalError;
  }
}
