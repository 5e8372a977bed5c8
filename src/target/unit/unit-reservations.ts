import { Slab } from '../../common/slab.js';
import { ISCSI_NAME_BYTES_MAX } from '../../iscsi/limits.js';
import { Asc, SenseKey } from '../../scsi/sense.js';
import {
  NO_KEY,
  OperationCode,
  PersistentReserveIn,
  RESERVE_OUT_LIST_BYTES,
  decodeReserveOutList,
  decodeSpecifiedPorts,
  encodeFullStatus,
  encodeReservation,
  encodeReservationCapabilities,
  encodeReservationKeys,
} from '../../scsi/wire.js';
import type { InitiatorPort, PersistentReserveOut } from '../../scsi/wire.js';
import { Barrier } from './barrier.js';
import { accessNeeded } from './command-access.js';
import type { DiskCommand } from './disk-command.js';
import { TARGET_PORT } from './disk-identity.js';
import { RESERVATION_DATA_BYTES_MAX } from './limits.js';
import { NexusAccess } from './nexus.js';
import type { Nexus } from './nexus.js';
import {
  accessOf,
  isForRegistrants,
  isHolder,
  registrationOf,
  reserveOut,
} from './reservations.js';
import { NO_RESERVATIONS } from '../../scsi/reservation-state.js';
import type { ReserveOut, ReserveOutcome } from './reservations.js';
import type { Reservations } from '../../scsi/reservation-state.js';
import type { ReservationKeeper } from '../../store/reservation-keeper.js';

/** The effect of a successful request. */
type Change = Extract<ReserveOutcome, { kind: 'done' }>;

/** Aborts the unit's commands for which `isMeant` is true; see {@link ManagedSession.abortTasks}. */
export type CommandAborter = (
  isMeant: (command: DiskCommand) => boolean,
  ended: () => void,
) => number;

/**
 * The reservations of one logical unit: persistent reservations (SPC-4 5.9), and RESERVE and RELEASE of SPC-2 with
 * the exceptions of SPC-4 5.9.3 (CRH). This class knows the unit's sessions and the access of each.
 *
 * PERSISTENT RESERVE OUT commands are executed one at a time. A change is first written to the store (with APTPL),
 * then takes effect, and then is answered. PREEMPT AND ABORT is answered when the aborted commands cannot touch the
 * medium any more, because its sender will write next.
 */
export class UnitReservations {
  /** Set by the owner of the unit, which knows the sessions. */
  abortCommands: CommandAborter = () => 0;
  readonly #keeper: ReservationKeeper | null;
  readonly #nexuses = new Set<Nexus>();
  readonly #waiting: DiskCommand[] = [];
  #state: Reservations;
  /** The holder of a RESERVE(6) or (10) reservation. */
  #oldHolder: Nexus | null = null;
  #isBusy = false;
  #data: Slab | null = null;

  constructor(keeper: ReservationKeeper | null) {
    this.#keeper = keeper;
    this.#state = keeper?.kept ?? NO_RESERVATIONS;
  }

  /** For tests and logs. */
  get state(): Reservations {
    return this.#state;
  }

  /** An initiator has logged in. */
  enter(nexus: Nexus): void {
    this.#nexuses.add(nexus);
    nexus.access = this.#accessOf(nexus);
  }

  /** The session and all its commands have ended (I_T nexus loss). Persistent reservations remain. */
  leave(nexus: Nexus): void {
    this.#nexuses.delete(nexus);
    if (this.#oldHolder === nexus) this.#holdOld(null);
  }

  /** LOGICAL UNIT RESET, or a reset that includes it. Persistent reservations remain. */
  reset(): void {
    this.#holdOld(null);
  }

  /** True when a reservation denies the command. */
  keepsOut({ decoded, nexus }: DiskCommand): boolean {
    switch (decoded.opcode) {
      case OperationCode.reserve6:
      case OperationCode.reserve10:
      case OperationCode.release6:
      case OperationCode.release10:
        return false;
      case OperationCode.persistentReserveIn:
      case OperationCode.persistentReserveOut:
        // SPC-2 5.5.1: the two kinds exclude each other, even for their holders.
        return this.#oldHolder !== null;
      default:
        return nexus !== null && accessNeeded(decoded) > nexus.access;
    }
  }

  /** True when no reservation can deny any command. A very cheap check. */
  get isQuiet(): boolean {
    return this.#oldHolder === null && this.#state.reservation === null;
  }

  // RESERVE and RELEASE.

  /** RESERVE(6) and (10). False when the command already has its result. */
  reserveOld(command: DiskCommand): boolean {
    const { nexus } = command;
    if (nexus === null) return command.conflict();
    if (this.#isExcepted(nexus)) return true;
    const isTaken = this.#oldHolder !== null && this.#oldHolder !== nexus;
    // A registration that is being written to the store excludes RESERVE already.
    if (isTaken || this.#isBusy || this.#state.registrations.length > 0) return command.conflict();
    this.#holdOld(nexus);
    return true;
  }

  /** RELEASE(6) and (10). False when the command already has its result. */
  releaseOld(command: DiskCommand): boolean {
    const { nexus } = command;
    if (nexus === null) return command.conflict();
    if (this.#isExcepted(nexus)) return true;
    if (this.#state.registrations.length > 0) return command.conflict();
    if (this.#oldHolder === nexus) this.#holdOld(null);
    return true;
  }

  // PERSISTENT RESERVE IN.

  /** The memory of the report. The next report overwrites it. */
  get data(): Slab {
    this.#data ??= new Slab(RESERVATION_DATA_BYTES_MAX);
    return this.#data;
  }

  /** Builds a report into {@link data}; returns its length. */
  report(serviceAction: number): number {
    const { view } = this.data;
    const { generation, registrations, reservation, persists } = this.#state;
    switch (serviceAction) {
      case PersistentReserveIn.readKeys: {
        const keys = registrations.map(({ key }) => key);
        return encodeReservationKeys(view, 0, generation, keys);
      }
      case PersistentReserveIn.readReservation: {
        if (reservation === null) return encodeReservation(view, 0, generation, null);
        const { holder, type } = reservation;
        const key = holder === null ? NO_KEY : registrationOf(this.#state, holder)?.key;
        return encodeReservation(view, 0, generation, { key: key ?? NO_KEY, type });
      }
      case PersistentReserveIn.reportCapabilities: {
        const canPersist = this.#keeper !== null;
        return encodeReservationCapabilities(view, 0, { canPersist, persists });
      }
      default: {
        const statuses = registrations.map(({ portKey, ...registration }) => ({
          ...registration,
          holds: isHolder(this.#state, portKey) ? (reservation?.type ?? null) : null,
          relativeTargetPort: TARGET_PORT,
        }));
        return encodeFullStatus(view, 0, generation, statuses);
      }
    }
  }

  // PERSISTENT RESERVE OUT.

  /** Executes the command in its turn. Calls `done` of the command at its end. */
  execute(command: DiskCommand): void {
    this.#waiting.push(command);
    if (!this.#isBusy) this.#executeNext();
  }

  #executeNext(): void {
    while (!this.#isBusy) {
      const command = this.#waiting.shift();
      if (command === undefined) return;
      // The sender may have been preempted while the command waited. Its old command must not register the sender
      // again.
      if (command.isAborted) command.done(command);
      else this.#decide(command);
    }
  }

  #decide(command: DiskCommand): void {
    const outcome = this.#outcomeOf(command);
    switch (outcome.kind) {
      case 'conflict':
        command.conflict();
        command.done(command);
        return;
      case 'refused':
        command.refuse(outcome.asc);
        command.done(command);
        return;
      case 'done':
        if (this.#keeper !== null && this.#isToBeKept(outcome.state)) {
          this.#keep(this.#keeper, command, outcome);
        } else {
          this.#takeEffect(command, outcome);
        }
    }
  }

  #outcomeOf(command: DiskCommand): ReserveOutcome {
    const { nexus } = command;
    if (nexus === null || this.#oldHolder !== null) return { kind: 'conflict' };
    const request = requestOf(command);
    if (typeof request === 'number') return { kind: 'refused', asc: request };
    return reserveOut(this.#state, request, nexus.port, this.#keeper !== null);
  }

  #isToBeKept(state: Reservations): boolean {
    return state !== this.#state && (state.persists || this.#state.persists);
  }

  #keep(keeper: ReservationKeeper, command: DiskCommand, change: Change): void {
    const ended = (isKept: boolean): void => {
      this.#isBusy = false;
      if (isKept) {
        this.#takeEffect(command, change);
      } else {
        command.check(SenseKey.hardwareError, Asc.internalTargetFailure);
        command.done(command);
      }
      this.#executeNext();
    };
    this.#isBusy = true;
    keeper.keep(change.state).then(
      () => ended(true),
      () => ended(false),
    );
  }

  #takeEffect(command: DiskCommand, { state, attentions, aborts }: Change): void {
    this.#state = state;
    for (const nexus of this.#nexuses) {
      nexus.access = this.#accessOf(nexus);
      for (const [portKey, attention] of attentions) {
        if (nexus.portKey === portKey) nexus.establish(attention);
      }
    }
    this.#abort(command, aborts);
  }

  /** Answers the command when no other command of `ports` can touch the medium any more. */
  #abort(command: DiskCommand, ports: readonly string[]): void {
    const barrier = new Barrier(() => command.done(command));
    if (ports.length > 0) {
      const isMeant = (other: DiskCommand): boolean =>
        other !== command && other.nexus !== null && ports.includes(other.nexus.portKey);
      barrier.add(this.abortCommands(isMeant, barrier.ended));
    }
    barrier.close();
  }

  #holdOld(nexus: Nexus | null): void {
    this.#oldHolder = nexus;
    for (const each of this.#nexuses) each.access = this.#accessOf(each);
  }

  #accessOf(nexus: Nexus): NexusAccess {
    if (this.#oldHolder === null) return accessOf(this.#state, nexus.portKey);
    return this.#oldHolder === nexus ? NexusAccess.everything : NexusAccess.inquiry;
  }

  /**
   * SPC-4 5.9.3: RESERVE and RELEASE succeed without an effect if the port holds the persistent reservation, or has
   * its access as a registrant.
   */
  #isExcepted({ portKey }: Nexus): boolean {
    const { reservation } = this.#state;
    if (reservation === null) return false;
    const isRegistered = registrationOf(this.#state, portKey) !== undefined;
    return isHolder(this.#state, portKey) || (isRegistered && isForRegistrants(reservation.type));
  }
}

/** The request of a PERSISTENT RESERVE OUT, or the ASC for an invalid parameter list. */
function requestOf({ decoded, slab, slabOffset, transferBytes }: DiskCommand): ReserveOut | number {
  if (slab === null || transferBytes < RESERVE_OUT_LIST_BYTES) return Asc.parameterListLengthError;
  const list = decodeReserveOutList(slab.view, slabOffset);
  let ports: readonly InitiatorPort[] | null = null;
  if (list.specifiesPorts) {
    ports = decodeSpecifiedPorts(slab.view, slabOffset, transferBytes);
    if (ports === null || ports.some(isTooLong)) return Asc.invalidFieldInParameterList;
  } else if (transferBytes !== RESERVE_OUT_LIST_BYTES) {
    return Asc.parameterListLengthError;
  }
  return {
    action: decoded.serviceAction as PersistentReserveOut,
    scope: decoded.reservationScope,
    type: decoded.reservationType,
    key: list.key,
    serviceActionKey: list.serviceActionKey,
    ports,
    allTargetPorts: list.allTargetPorts,
    persists: list.persists,
  };
}

function isTooLong({ initiatorName }: InitiatorPort): boolean {
  return Buffer.byteLength(initiatorName) > ISCSI_NAME_BYTES_MAX;
}
