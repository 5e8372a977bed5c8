/** What PERSISTENT RESERVE OUT has made of a logical unit's reservations (SPC-4 5.9): its state, for those who keep it. */
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
  /** The holder's port; null where all registrants hold it. */
  readonly holder: string | null;
}

export interface Reservations {
  /** PRgeneration. It starts with 0 after each power-on, whatever is kept. */
  readonly generation: number;
  readonly registrations: readonly Registration[];
  readonly reservation: Reservation | null;
  /** APTPL: all this is kept through a power loss. */
  readonly persists: boolean;
}

export const NO_RESERVATIONS: Reservations = {
  generation: 0,
  registrations: [],
  reservation: null,
  persists: false,
};
