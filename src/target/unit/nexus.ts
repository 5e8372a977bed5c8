import type { InitiatorPort } from '../../scsi/wire.js';
import { portKeyOf } from '../../store/reservation-keeper.js';
import { Asc } from '../../scsi/sense.js';

/** Unit attention conditions (SAM-5 5.14). The most urgent condition has the highest bit. */
export const Attention = {
  none: 0,
  reservationsReleased: 1,
  reservationsPreempted: 2,
  registrationsPreempted: 4,
  reset: 8,
  powerOn: 16,
} as const;

/** The conditions, most urgent first, each with its ASC and the conditions that it clears. */
const CONDITIONS: readonly {
  readonly bit: number;
  readonly asc: number;
  readonly clears: number;
}[] = [
  // A power-on clears all earlier conditions.
  { bit: Attention.powerOn, asc: Asc.powerOnOrReset, clears: 0x1f },
  { bit: Attention.reset, asc: Asc.deviceReset, clears: 0 },
  { bit: Attention.registrationsPreempted, asc: Asc.registrationsPreempted, clears: 0 },
  { bit: Attention.reservationsPreempted, asc: Asc.reservationsPreempted, clears: 0 },
  { bit: Attention.reservationsReleased, asc: Asc.reservationsReleased, clears: 0 },
];

/**
 * Levels of access: what a command needs, and what the reservations allow a nexus. Each level includes the lower
 * levels.
 */
export const NexusAccess = {
  /** Every reservation allows it. */
  inquiry: 0,
  /** Every persistent reservation allows it, but a RESERVE(6) or (10) does not. */
  status: 1,
  /** Write exclusive persistent reservations allow it. */
  reading: 2,
  everything: 3,
} as const;
export type NexusAccess = (typeof NexusAccess)[keyof typeof NexusAccess];

/** For a nexus without an initiator. */
const NO_PORT: InitiatorPort = { initiatorName: '', isidHigh: 0, isidLow: 0 };

/**
 * A logical unit's state for one session (an I_T_L nexus): the initiator port, the pending unit attentions, and the
 * access that reservations allow. A new nexus starts with a power-on condition, as every initiator expects.
 */
export class Nexus {
  attention: number = Attention.powerOn;
  access: NexusAccess = NexusAccess.everything;
  readonly port: InitiatorPort;
  /** The key of the initiator port. A port has one session at a time, and a new session has the same key. */
  readonly portKey: string;

  constructor(port: InitiatorPort = NO_PORT) {
    this.port = port;
    this.portKey = portKeyOf(port);
  }

  establish(attention: number): void {
    this.attention |= attention;
  }

  /** Returns the ASC of the most urgent condition and clears the condition; 0 for none. */
  takeAttention(): number {
    if (this.attention === Attention.none) return Asc.none;
    for (const { bit, asc, clears } of CONDITIONS) {
      if ((this.attention & bit) === 0) continue;
      this.attention &= ~(bit | clears);
      return asc;
    }
    return Asc.none;
  }
}
