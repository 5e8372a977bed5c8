import type { DatamoverLimits } from '../iscsi/datamover.js';
import type { KeyWishes } from '../iscsi/keys.js';
import { FIRST_BURST_BYTES, MAX_BURST_BYTES } from './limits.js';
import { LOGIN_DATA_BYTES_MAX, RECEIVE_DATA_BYTES_MIN } from '../iscsi/limits.js';

/** The keys that an initiator on iSER offers and declares (RFC 7145 section 6), within the limits of its datamover. */
export function initiatorOffers(limits: DatamoverLimits): KeyWishes {
  const receiveBytes = Math.max(RECEIVE_DATA_BYTES_MIN, limits.receiveDataBytesMax);
  return {
    RDMAExtensions: true,
    HeaderDigest: ['None'],
    DataDigest: ['None'],
    MaxConnections: 1,
    // We never send unsolicited Data-Out, and LIO refuses it.
    InitialR2T: true,
    ImmediateData: limits.immediateBytesMax > 0,
    // Not used on iSER, but LIO limits its SendTargets text with this key.
    MaxRecvDataSegmentLength: receiveBytes,
    InitiatorRecvDataSegmentLength: receiveBytes,
    // LIO agrees to any length, but its receives hold 8192 bytes, and it terminates the connection when a PDU is
    // longer.
    TargetRecvDataSegmentLength: Math.max(
      RECEIVE_DATA_BYTES_MIN,
      Math.min(LOGIN_DATA_BYTES_MAX, limits.controlDataBytesMax),
    ),
    MaxBurstLength: MAX_BURST_BYTES,
    FirstBurstLength: FIRST_BURST_BYTES,
    DefaultTime2Wait: 2,
    DefaultTime2Retain: 0,
    MaxOutstandingR2T: 1,
    DataPDUInOrder: true,
    DataSequenceInOrder: true,
    ErrorRecoveryLevel: 0,
  };
}
