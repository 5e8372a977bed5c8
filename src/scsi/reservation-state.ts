/** The persistent reservations of a logical unit (SPC-4 5.9), in the form in which a store keeps them. */
import type { InitiatorPort, ReservationKey, ReservationType } from './reservation-data.js';

/** One registered I_T nexus. */
export interface Registration {
  readonly port: InitiatorPort;
  readonly portKey: string;
  readonly key: ReservationKey;
  readonly allTargetPorts: boolean;
}

export interface Reservation {
  readonly type: ReservationType;
  /** The holder's port; null when all registrants hold the reservation. */
  readonly holder: string | null;
}

export interface Reservations {
  /** PRgeneration. It starts at 0 after each power-on, even when registrations are kept. */
  readonly generation: number;
  readonly registrations: readonly Registration[];
  readonly reservation: Reservation | null;
  /** APTPL: the device keeps registrations and reservation through a power loss. */
  readonly persists: boolean;
}

export const NO_RESERVATIONS: Reservations = {
  generation: 0,
  registrations: [],
  reservation: null,
  persists: false,
};
