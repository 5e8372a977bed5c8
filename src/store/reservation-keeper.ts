import { iscsiNameKey } from '../iscsi/iscsi-name.js';
import { initiatorPortName } from '../scsi/wire.js';
import type { InitiatorPort } from '../scsi/wire.js';
import type { Reservations } from '../scsi/reservation-state.js';

/** Where reservations outlast a power loss. */
export interface ReservationKeeper {
  /** What was kept when the unit was opened; null for nothing. */
  readonly kept: Reservations | null;
  /** Resolves when a power loss cannot change it any more. Rejects, and tells why in the log, when it cannot be kept. */
  keep(state: Reservations): Promise<void>;
}

/** What tells one initiator port from all others. Names are the same whatever their case (RFC 7143 4.2.7.1). */
export function portKeyOf(port: InitiatorPort): string {
  return iscsiNameKey(initiatorPortName(port));
}
