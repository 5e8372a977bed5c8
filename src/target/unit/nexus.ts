import type { InitiatorPort } from '../../scsi/wire.js';
import { portKeyOf } from '../../store/reservation-keeper.js';
import { Asc } from '../../scsi/sense.js';

/** Unit attention conditions (SAM-5 5.14), the most urgent in the highest bit. */
export const Attention = {
  none: 0,
  reservationsReleased: 1,
  reservationsPreempted: 2,
  registrationsPreempted: 4,
  reset: 8,
  powerOn: 16,
} as const;

/** The most urgent first: what each is told with, and what it takes the place of. */
const CONDITIONS: readonly {
  readonly bit: number;
  readonly asc: number;
  readonly clears: number;
}[] = [
  // Everything that came before a power-on went with it.
  { bit: Attention.powerOn, asc: Asc.powerOnOrReset, clears: 0x1f },
  { bit: Attention.reset, asc: Asc.deviceReset, clears: 0 },
  { bit: Attention.registrationsPreempted, asc: Asc.registrationsPreempted, clears: 0 },
  { bit: Attention.reservationsPreempted, asc: Asc.reservationsPreempted, clears: 0 },
  { bit: Attention.reservationsReleased, asc: Asc.reservationsReleased, clears: 0 },
];

/** What a command takes of a logical unit, and what its reservations leave a nexus; each includes those before it. */
export const NexusAccess = {
  /** What every reservation allows. */
  inquiry: 0,
  /** What every persistent reservation allows, but not a RESERVE(6) or (10). */
  status: 1,
  /** What write exclusive persistent reservations allow. */
  reading: 2,
  everything: 3,
} as const;
export type NexusAccess = (typeof NexusAccess)[keyof typeof NexusAccess];

/** For what has no initiator behind it. */
const NO_PORT: InitiatorPort = { initiatorName: '', isidHigh: 0, isidLow: 0 };

/**
 * What a logical unit knows of one initiator's session (an I_T_L nexus): who it is, the conditions that it has not been
 * told of yet, and what reservations leave it. A new one starts with the condition of a power-on, as every initiator
 * expects.
 */
export class Nexus {
  attention: number = Attention.powerOn;
  access: NexusAccess = NexusAccess.everything;
  readonly port: InitiatorPort;
  /** The same for all sessions of one initiator port, of which there is one at a time. */
  readonly portKey: string;

  constructor(port: InitiatorPort = NO_PORT) {
    this.port = port;
    this.portKey = portKeyOf(port);
  }

  establish(attention: number): void {
    this.attention |= attention;
  }

  /** The ASC of the most urgent condition, which is cleared by telling it; 0 for none. */
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
