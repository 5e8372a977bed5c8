import { iscsiNameKey } from '../iscsi/iscsi-name.js';
import { initiatorPortName } from '../scsi/wire.js';
import type { InitiatorPort } from '../scsi/wire.js';
import type { Reservations } from '../scsi/reservation-state.js';

/** Keeps reservations through a power loss. */
export interface ReservationKeeper {
  /** The reservations that were kept when the unit was opened, or null. */
  readonly kept: Reservations | null;
  /** Resolves when `state` is safe from a power loss. Logs the reason and rejects when the state cannot be kept. */
  keep(state: Reservations): Promise<void>;
}

/** A key that identifies an initiator port. Names that differ only in case are equal (RFC 7143 4.2.7.1). */
export function portKeyOf(port: InitiatorPort): string {
  return iscsiNameKey(initiatorPortName(port));
}
