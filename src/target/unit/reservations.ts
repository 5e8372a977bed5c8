/**
 * Persistent reservations (SPC-4 5.9) of one logical unit: registrations, the reservation, and the effect of each
 * service action. Pure: a state and a request give the next state and the unit attentions for other ports.
 *
 * The target has one port (one portal group), so an I_T nexus is an initiator port, and ALL_TG_PT has no effect.
 */
import { Asc } from '../../scsi/sense.js';
import {
  LOGICAL_UNIT_SCOPE,
  NO_KEY,
  PersistentReserveOut,
  ReservationType,
  isReservationType,
} from '../../scsi/wire.js';
import type { InitiatorPort, ReservationKey } from '../../scsi/wire.js';
import type { Registration, Reservation, Reservations } from '../../scsi/reservation-state.js';
import { REGISTRATIONS_MAX } from '../../store/limits.js';
import { NexusAccess, Attention } from './nexus.js';
import { portKeyOf } from '../../store/reservation-keeper.js';

/** The CDB and the parameter list of a PERSISTENT RESERVE OUT. */
export interface ReserveOut {
  readonly action: PersistentReserveOut;
  readonly scope: number;
  readonly type: number;
  readonly key: ReservationKey;
  readonly serviceActionKey: ReservationKey;
  /** SPEC_I_PT: the ports to register in addition to the sender's port; null without SPEC_I_PT. */
  readonly ports: readonly InitiatorPort[] | null;
  readonly allTargetPorts: boolean;
  readonly persists: boolean;
}

/** The result of a PERSISTENT RESERVE OUT. */
export type ReserveOutcome =
  /** RESERVATION CONFLICT. */
  | { readonly kind: 'conflict' }
  /** ILLEGAL REQUEST. */
  | { readonly kind: 'refused'; readonly asc: number }
  | {
      readonly kind: 'done';
      readonly state: Reservations;
      /** The unit attentions to establish, by port. */
      readonly attentions: readonly (readonly [portKey: string, attention: number])[];
      /** The ports whose tasks must be aborted. */
      readonly aborts: readonly string[];
    };

const CONFLICT: ReserveOutcome = { kind: 'conflict' };

/** Executes a PERSISTENT RESERVE OUT of `port`. `canPersist`: the unit can keep reservations through a power loss. */
export function reserveOut(
  state: Reservations,
  request: ReserveOut,
  port: InitiatorPort,
  canPersist: boolean,
): ReserveOutcome {
  const own = registrationOf(state, portKeyOf(port));
  if (request.ports !== null && request.action !== PersistentReserveOut.register) {
    return refused(Asc.invalidFieldInParameterList);
  }
  const { action, key } = request;
  if (action === PersistentReserveOut.register && key !== (own?.key ?? NO_KEY)) return CONFLICT;
  if (
    action === PersistentReserveOut.register ||
    action === PersistentReserveOut.registerAndIgnoreExistingKey
  ) {
    return register(state, request, port, canPersist);
  }
  // All other service actions need a registered port and its key.
  if (own === undefined || own.key !== key) return CONFLICT;
  switch (action) {
    case PersistentReserveOut.reserve:
      return reserve(state, request, own);
    case PersistentReserveOut.release:
      return release(state, request, own);
    case PersistentReserveOut.clear:
      return clear(state, own);
    case PersistentReserveOut.preempt:
    case PersistentReserveOut.preemptAndAbort:
      return preempt(state, request, own);
  }
}

/** The access that the reservation allows an initiator port (SPC-4 table 65, SBC-3 table 13). */
export function accessOf(state: Reservations, portKey: string): NexusAccess {
  const { reservation } = state;
  if (reservation === null || isHolder(state, portKey)) return NexusAccess.everything;
  if (isForRegistrants(reservation.type) && registrationOf(state, portKey) !== undefined) {
    return NexusAccess.everything;
  }
  return isWriteExclusive(reservation.type) ? NexusAccess.reading : NexusAccess.status;
}

export function registrationOf(state: Reservations, portKey: string): Registration | undefined {
  return state.registrations.find((registration) => registration.portKey === portKey);
}

/** True when the port holds the reservation, alone or with all registrants. */
export function isHolder(state: Reservations, portKey: string): boolean {
  const { reservation } = state;
  if (reservation === null) return false;
  if (reservation.holder !== null) return reservation.holder === portKey;
  return registrationOf(state, portKey) !== undefined;
}

/** True when the reservation gives access to all registrants. */
export function isForRegistrants(type: ReservationType): boolean {
  return type !== ReservationType.writeExclusive && type !== ReservationType.exclusiveAccess;
}

function isWriteExclusive(type: ReservationType): boolean {
  return (
    type === ReservationType.writeExclusive ||
    type === ReservationType.writeExclusiveRegistrantsOnly ||
    type === ReservationType.writeExclusiveAllRegistrants
  );
}

function isForAllRegistrants(type: ReservationType): boolean {
  return (
    type === ReservationType.writeExclusiveAllRegistrants ||
    type === ReservationType.exclusiveAccessAllRegistrants
  );
}

// The service actions.

/** SPC-4 5.9.7, tables 58 and 59. */
function register(
  state: Reservations,
  request: ReserveOut,
  port: InitiatorPort,
  canPersist: boolean,
): ReserveOutcome {
  const { serviceActionKey, ports, allTargetPorts, persists } = request;
  const portKey = portKeyOf(port);
  const own = registrationOf(state, portKey);
  if (persists && !canPersist) return refused(Asc.invalidFieldInParameterList);
  if (own !== undefined && ports !== null) return refused(Asc.invalidFieldInParameterList);
  if (serviceActionKey === NO_KEY) {
    return own === undefined ? done(state) : unregister({ ...state, persists }, own);
  }
  const next = { ...state, generation: nextGeneration(state), persists };
  const changed: Registration = { port, portKey, key: serviceActionKey, allTargetPorts };
  if (own !== undefined) {
    const registrations = state.registrations.map((each) => (each === own ? changed : each));
    return done({ ...next, registrations });
  }
  const registrations = [...state.registrations, changed];
  for (const other of ports ?? []) {
    const otherKey = portKeyOf(other);
    if (registrations.some((each) => each.portKey === otherKey)) continue;
    registrations.push({ ...changed, port: other, portKey: otherKey });
  }
  if (registrations.length > REGISTRATIONS_MAX) {
    return refused(Asc.insufficientRegistrationResources);
  }
  return done({ ...next, registrations });
}

/** SPC-4 5.9.11.3. */
function unregister(state: Reservations, own: Registration): ReserveOutcome {
  const registrations = state.registrations.filter((each) => each !== own);
  const next = { ...state, generation: nextGeneration(state), registrations };
  const { reservation } = state;
  const isLost =
    reservation !== null && (reservation.holder === own.portKey || registrations.length === 0);
  if (!isLost) return done(next);
  const told = isForRegistrants(reservation.type) ? registrations : [];
  return done({ ...next, reservation: null }, tell(told, Attention.reservationsReleased));
}

/** SPC-4 5.9.9. */
function reserve(
  state: Reservations,
  { scope, type }: ReserveOut,
  own: Registration,
): ReserveOutcome {
  if (scope !== LOGICAL_UNIT_SCOPE || !isReservationType(type))
    return refused(Asc.invalidFieldInCdb);
  const { reservation } = state;
  if (reservation === null) return done({ ...state, reservation: reservationFor(type, own) });
  const isSame = reservation.type === type && isHolder(state, own.portKey);
  return isSame ? done(state) : CONFLICT;
}

/** SPC-4 5.9.11.2. A port that does not hold the reservation releases nothing. */
function release(
  state: Reservations,
  { scope, type }: ReserveOut,
  own: Registration,
): ReserveOutcome {
  const { reservation } = state;
  if (reservation === null || !isHolder(state, own.portKey)) return done(state);
  if (scope !== LOGICAL_UNIT_SCOPE || reservation.type !== type) {
    return refused(Asc.invalidReleaseOfReservation);
  }
  const told = isForRegistrants(reservation.type) ? without(state.registrations, own) : [];
  return done({ ...state, reservation: null }, tell(told, Attention.reservationsReleased));
}

/** SPC-4 5.9.11.6. */
function clear(state: Reservations, own: Registration): ReserveOutcome {
  const told = without(state.registrations, own);
  const next = {
    ...state,
    generation: nextGeneration(state),
    registrations: [],
    reservation: null,
  };
  return done(next, tell(told, Attention.reservationsPreempted));
}

/**
 * SPC-4 5.9.11.4, table 61: the key decides whether PREEMPT removes registrations only, or also takes the
 * reservation.
 */
function preempt(state: Reservations, request: ReserveOut, own: Registration): ReserveOutcome {
  const { serviceActionKey } = request;
  const { reservation } = state;
  const isOfAll = reservation !== null && isForAllRegistrants(reservation.type);
  if (serviceActionKey === NO_KEY) {
    if (!isOfAll) return refused(Asc.invalidFieldInParameterList);
    return takeOver(state, request, own, without(state.registrations, own));
  }
  const named = state.registrations.filter(({ key }) => key === serviceActionKey);
  if (named.length === 0) return CONFLICT;
  const isHolders = named.some(({ portKey }) => reservation?.holder === portKey);
  return isHolders
    ? takeOver(state, request, own, named)
    : removeRegistrations(state, request, own, named);
}

/** Gives the reservation to the sender. `lost` has the registrations of the former holders. */
function takeOver(
  state: Reservations,
  { action, scope, type }: ReserveOut,
  own: Registration,
  lost: readonly Registration[],
): ReserveOutcome {
  if (scope !== LOGICAL_UNIT_SCOPE || !isReservationType(type))
    return refused(Asc.invalidFieldInCdb);
  const registrations = state.registrations.filter((each) => each === own || !lost.includes(each));
  const next = {
    ...state,
    generation: nextGeneration(state),
    registrations,
    reservation: reservationFor(type, own),
  };
  const attentions = tell(without(lost, own), Attention.registrationsPreempted);
  if (state.reservation?.type !== type) {
    attentions.push(...tell(without(registrations, own), Attention.reservationsReleased));
  }
  return done(next, attentions, abortsOf(action, lost));
}

/** Removes the registrations of a key, including the sender's own. Scope and type are ignored. */
function removeRegistrations(
  state: Reservations,
  { action }: ReserveOut,
  own: Registration,
  lost: readonly Registration[],
): ReserveOutcome {
  const registrations = state.registrations.filter((each) => !lost.includes(each));
  const next = {
    ...state,
    generation: nextGeneration(state),
    registrations,
    // All registrants hold the reservation, so it ends with the last registration.
    reservation: registrations.length === 0 ? null : state.reservation,
  };
  const attentions = tell(without(lost, own), Attention.registrationsPreempted);
  return done(next, attentions, abortsOf(action, lost));
}

// Common helpers.

function done(
  state: Reservations,
  attentions: readonly (readonly [string, number])[] = [],
  aborts: readonly string[] = [],
): ReserveOutcome {
  return { kind: 'done', state, attentions, aborts };
}

function refused(asc: number): ReserveOutcome {
  return { kind: 'refused', asc };
}

function nextGeneration({ generation }: Reservations): number {
  return (generation + 1) >>> 0;
}

function reservationFor(type: ReservationType, own: Registration): Reservation {
  return { type, holder: isForAllRegistrants(type) ? null : own.portKey };
}

function without(
  registrations: readonly Registration[],
  own: Registration,
): readonly Registration[] {
  return registrations.filter((each) => each !== own);
}

function tell(registrations: readonly Registration[], attention: number): [string, number][] {
  return registrations.map(({ portKey }) => [portKey, attention]);
}

function abortsOf(action: PersistentReserveOut, lost: readonly Registration[]): string[] {
  if (action !== PersistentReserveOut.preemptAndAbort) return [];
  return lost.map(({ portKey }) => portKey);
}
