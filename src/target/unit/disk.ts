import type { Slab } from '../../common/slab.js';
import { Asc, SenseKey, encodeDescriptorSense, encodeFixedSense } from '../../scsi/sense.js';
import {
  OperationCode,
  ScsiStatus,
  ServiceAction,
  decodeCdb,
  isKnownOpcode,
} from '../../scsi/wire.js';
import type { ModeSenseForm } from '../../scsi/wire.js';
import { DataDirection } from '../../common/data-direction.js';
import type { DiskCommand } from './disk-command.js';
import type { DiskIdentity } from './disk-identity.js';
import { DiskOperations } from './disk-operations.js';
import { DiskReports } from './disk-reports.js';
import { FunctionReports } from './function-reports.js';
import {
  COMPARE_AND_WRITE_BLOCKS_MAX,
  PARAMETER_DATA_BYTES_MAX,
  RESERVATION_DATA_BYTES_MAX,
  RESERVE_OUT_BYTES_MAX,
  UNIT_TRANSFER_BYTES_MAX,
  UNMAP_DESCRIPTORS_MAX,
  WRITE_SAME_BYTES_MAX,
} from './limits.js';
import type { LogicalUnit } from './logical-unit.js';
import { ModeReports } from './mode-reports.js';
import type { Store } from '../../store/store.js';
import {
  prepareModeSelect,
  prepareParameterList,
  prepareSelfTest,
  prepareStartStop,
} from './parameter-checks.js';
import { TaskGate } from './task-gate.js';
import { UnitReservations } from './unit-reservations.js';

/** SPC-4: NACA in the control byte requests auto contingent allegiance, which we do not support. */
const CONTROL_NACA = 0x04;
/** REPORT TARGET PORT GROUPS, byte 1: requests the extended header. */
const EXTENDED_HEADER = 0x20;

/** The length of the longest UNMAP list. */
const UNMAP_LIST_BYTES_MAX = 8 + 16 * UNMAP_DESCRIPTORS_MAX;

/**
 * A direct-access block device (SBC-3) over a {@link Store}: It takes a CDB and gives data, status and sense. It uses
 * no clock and opens no file. Only the store waits.
 */
export class Disk implements LogicalUnit {
  readonly store: Store;
  readonly reservations: UnitReservations;
  readonly #reports: DiskReports;
  readonly #functions: FunctionReports;
  readonly #modes: ModeReports;
  readonly #operations: DiskOperations;
  readonly #gate: TaskGate;
  readonly #blockCount: number;
  readonly #finish = (command: DiskCommand): void => {
    this.#gate.leave(command);
    command.done(command);
  };

  constructor(store: Store, identity: DiskIdentity) {
    this.store = store;
    this.reservations = new UnitReservations(store.reservationKeeper);
    this.#reports = new DiskReports(store, identity);
    this.#functions = new FunctionReports(store, this.#reports.data);
    this.#modes = new ModeReports(store, this.#reports.data);
    this.#operations = new DiskOperations(store, this.#finish);
    this.#gate = new TaskGate((command) => this.#run(command));
    this.#blockCount = store.sizeBytes / store.blockBytes;
  }

  prepare(command: DiskCommand): boolean {
    command.reset();
    const { decoded, nexus } = command;
    const isKnown = decodeCdb(command.cdbView, 0, decoded);
    const { opcode } = decoded;
    if (nexus !== null && nexus.attention !== 0 && reportsAttention(opcode)) {
      return command.check(SenseKey.unitAttention, nexus.takeAttention());
    }
    if (!isKnown || (opcode === OperationCode.unmap && !this.store.canPunch)) {
      return command.refuse(
        isKnown || !isKnownOpcode(opcode) ? Asc.invalidOpcode : Asc.invalidFieldInCdb,
      );
    }
    if (!this.reservations.isQuiet && this.reservations.keepsOut(command))
      return command.conflict();
    if ((decoded.control & CONTROL_NACA) !== 0) return command.refuse(Asc.invalidFieldInCdb);
    command.isExclusive = command.isOrdered;
    return this.#prepareKnown(command);
  }

  readInPlace(command: DiskCommand): boolean {
    const { decoded, transferBytes } = command;
    // The read ends at once, so it does not enter the gate: later commands do not change pinned data. A read with FUA
    // must wait for a flush.
    if (!isRead(decoded.opcode) || decoded.fua || !this.#gate.isOpenTo(command)) return false;
    const offset = decoded.lba * this.store.blockBytes;
    const { direct } = this.store;
    if (direct === null || !direct.pin(offset, transferBytes, command.pinned)) return false;
    command.dataInBytes = transferBytes;
    return true;
  }

  lend(command: DiskCommand): boolean {
    const { decoded, transferBytes } = command;
    const { direct } = this.store;
    if (direct === null || !isWrite(decoded.opcode)) return false;
    return direct.lend(decoded.lba * this.store.blockBytes, transferBytes, command.lent);
  }

  execute(command: DiskCommand): void {
    const { decoded } = command;
    switch (decoded.opcode) {
      case OperationCode.testUnitReady:
      case OperationCode.startStopUnit:
        command.done(command);
        return;
      case OperationCode.preFetch10:
      case OperationCode.preFetch16:
        // CONDITION MET means that all blocks fit into the cache. The store has no cache with a limit.
        command.status = ScsiStatus.conditionMet;
        command.done(command);
        return;
      case OperationCode.reserve6:
      case OperationCode.reserve10:
      case OperationCode.release6:
      case OperationCode.release10:
        command.done(command);
        return;
      case OperationCode.persistentReserveOut:
        this.reservations.execute(command);
        return;
      case OperationCode.persistentReserveIn: {
        const length = this.reservations.report(command.decoded.serviceAction);
        this.#finishReport(command, this.reservations.data, length);
        return;
      }
      case OperationCode.modeSelect6:
        this.#modeSelect(command, 6);
        return;
      case OperationCode.modeSelect10:
        this.#modeSelect(command, 10);
        return;
      case OperationCode.logSense:
        this.#reportLength(command, this.#functions.logSense(decoded));
        return;
      case OperationCode.requestSense:
        this.#reportLength(command, this.#requestSense(command));
        return;
      case OperationCode.inquiry:
        this.#reportLength(command, this.#reports.inquiry(decoded));
        return;
      case OperationCode.modeSense6:
        this.#reportLength(command, this.#modes.modeSense(decoded, 6));
        return;
      case OperationCode.modeSense10:
        this.#reportLength(command, this.#modes.modeSense(decoded, 10));
        return;
      case OperationCode.readCapacity10:
        this.#reportLength(command, this.#reports.readCapacity10(decoded));
        return;
      case OperationCode.serviceActionIn16:
        this.#reportLength(command, this.#serviceActionIn(command));
        return;
      case OperationCode.maintenanceIn:
        this.#reportLength(command, this.#maintenanceIn(command));
        return;
      case OperationCode.synchronizeCache10:
      case OperationCode.synchronizeCache16:
        this.#gate.enter(command);
        return;
      default:
        this.#executeMedium(command);
    }
  }

  #prepareKnown(command: DiskCommand): boolean {
    const { decoded } = command;
    switch (decoded.opcode) {
      case OperationCode.read6:
      case OperationCode.read10:
      case OperationCode.read12:
      case OperationCode.read16:
        return this.#prepareTransfer(command, DataDirection.in);
      case OperationCode.write6:
      case OperationCode.write10:
      case OperationCode.write12:
      case OperationCode.write16:
        return this.#isWritable(command) && this.#prepareTransfer(command, DataDirection.out);
      case OperationCode.verify10:
      case OperationCode.verify16:
        return this.#prepareVerify(command);
      case OperationCode.compareAndWrite:
        return this.#prepareCompareAndWrite(command);
      case OperationCode.writeSame10:
      case OperationCode.writeSame16:
        return this.#prepareWriteSame(command);
      case OperationCode.unmap:
        return this.#prepareUnmap(command);
      case OperationCode.synchronizeCache10:
      case OperationCode.synchronizeCache16:
      case OperationCode.preFetch10:
      case OperationCode.preFetch16:
        if (decoded.isUnusual) return command.refuse(Asc.invalidFieldInCdb);
        return this.#isInRange(command);
      case OperationCode.startStopUnit:
        return prepareStartStop(command);
      case OperationCode.testUnitReady:
        return true;
      case OperationCode.sendDiagnostic:
        return prepareSelfTest(command);
      case OperationCode.modeSelect6:
      case OperationCode.modeSelect10:
        return prepareModeSelect(command);
      case OperationCode.reserve6:
      case OperationCode.reserve10:
        if (decoded.isUnusual) return command.refuse(Asc.invalidFieldInCdb);
        return this.reservations.reserveOld(command);
      case OperationCode.release6:
      case OperationCode.release10:
        if (decoded.isUnusual) return command.refuse(Asc.invalidFieldInCdb);
        return this.reservations.releaseOld(command);
      case OperationCode.persistentReserveOut:
        return prepareParameterList(command, RESERVE_OUT_BYTES_MAX);
      case OperationCode.persistentReserveIn:
        command.direction = DataDirection.in;
        command.transferBytes = Math.min(decoded.allocationLength, RESERVATION_DATA_BYTES_MAX);
        return true;
      default:
        command.direction = DataDirection.in;
        command.transferBytes = Math.min(decoded.allocationLength, PARAMETER_DATA_BYTES_MAX);
        if (decoded.opcode === OperationCode.readCapacity10) command.transferBytes = 8;
        return true;
    }
  }

  #prepareTransfer(command: DiskCommand, direction: DataDirection): boolean {
    const { decoded } = command;
    const transferBytes = decoded.blocks * this.store.blockBytes;
    if (decoded.protect !== 0 || decoded.isUnusual) return command.refuse(Asc.invalidFieldInCdb);
    if (!this.#isInRange(command)) return false;
    if (transferBytes > UNIT_TRANSFER_BYTES_MAX) return command.refuse(Asc.invalidFieldInCdb);
    command.direction = transferBytes === 0 ? DataDirection.none : direction;
    command.transferBytes = transferBytes;
    return true;
  }

  #prepareVerify(command: DiskCommand): boolean {
    const { decoded } = command;
    if (decoded.protect !== 0 || decoded.isUnusual || decoded.byteCheck === 2) {
      return command.refuse(Asc.invalidFieldInCdb);
    }
    if (!this.#isInRange(command)) return false;
    const blocksWanted = decoded.byteCheck === 3 ? Math.min(1, decoded.blocks) : decoded.blocks;
    const transferBytes = decoded.byteCheck === 0 ? 0 : blocksWanted * this.store.blockBytes;
    if (transferBytes > UNIT_TRANSFER_BYTES_MAX) return command.refuse(Asc.invalidFieldInCdb);
    if (transferBytes === 0) return true;
    command.direction = DataDirection.out;
    command.transferBytes = transferBytes;
    command.isExclusive = true;
    return true;
  }

  #prepareCompareAndWrite(command: DiskCommand): boolean {
    const { decoded } = command;
    if (!this.#isWritable(command)) return false;
    if (decoded.protect !== 0 || decoded.blocks > COMPARE_AND_WRITE_BLOCKS_MAX) {
      return command.refuse(Asc.invalidFieldInCdb);
    }
    if (!this.#isInRange(command)) return false;
    if (decoded.blocks === 0) return true;
    command.direction = DataDirection.out;
    command.transferBytes = 2 * decoded.blocks * this.store.blockBytes;
    command.isExclusive = true;
    return true;
  }

  #prepareWriteSame(command: DiskCommand): boolean {
    const { decoded } = command;
    const { blockBytes, canPunch } = this.store;
    if (!this.#isWritable(command)) return false;
    const asksTooMuch =
      decoded.protect !== 0 || decoded.anchor || decoded.isUnusual || (decoded.unmap && !canPunch);
    const isTooLong = decoded.blocks === 0 || decoded.blocks * blockBytes > WRITE_SAME_BYTES_MAX;
    if (asksTooMuch || isTooLong) return command.refuse(Asc.invalidFieldInCdb);
    if (!this.#isInRange(command)) return false;
    if (decoded.noDataOut) return true;
    command.direction = DataDirection.out;
    command.transferBytes = blockBytes;
    return true;
  }

  #prepareUnmap(command: DiskCommand): boolean {
    const { decoded } = command;
    if (!this.#isWritable(command)) return false;
    if (decoded.anchor) return command.refuse(Asc.invalidFieldInCdb);
    if (decoded.allocationLength > UNMAP_LIST_BYTES_MAX) {
      return command.refuse(Asc.parameterListLengthError);
    }
    if (decoded.allocationLength === 0) return true;
    command.direction = DataDirection.out;
    command.transferBytes = decoded.allocationLength;
    return true;
  }

  #isWritable(command: DiskCommand): boolean {
    if (!this.store.readOnly) return true;
    return command.check(SenseKey.dataProtect, Asc.writeProtected);
  }

  #isInRange(command: DiskCommand): boolean {
    const { lba, blocks } = command.decoded;
    if (lba >= 0 && lba + blocks <= this.#blockCount) return true;
    return command.refuse(Asc.lbaOutOfRange, lba);
  }

  #executeMedium(command: DiskCommand): void {
    // A command that transfers and changes nothing need not wait.
    const { opcode } = command.decoded;
    const isWriteSame =
      opcode === OperationCode.writeSame10 || opcode === OperationCode.writeSame16;
    const isSelfTest = opcode === OperationCode.sendDiagnostic && command.decoded.selfTest;
    if (command.transferBytes === 0 && !isWriteSame && !isSelfTest) {
      command.done(command);
      return;
    }
    if (isWriteSame && this.#operations.isPattern(command)) command.isExclusive = true;
    this.#gate.enter(command);
  }

  /** Starts a command when its turn comes. */
  #run(command: DiskCommand): void {
    const operations = this.#operations;
    if (command.isAborted) {
      this.#finish(command);
      return;
    }
    switch (command.decoded.opcode) {
      case OperationCode.read6:
      case OperationCode.read10:
      case OperationCode.read12:
      case OperationCode.read16:
        operations.read(command);
        return;
      case OperationCode.synchronizeCache10:
      case OperationCode.synchronizeCache16:
        operations.flush(command);
        return;
      case OperationCode.unmap:
        operations.unmap(command);
        return;
      case OperationCode.writeSame10:
      case OperationCode.writeSame16:
        if (operations.isPattern(command)) operations.writeSamePattern(command);
        else operations.writeSameZeroes(command);
        return;
      case OperationCode.compareAndWrite:
        operations.compareAndWrite(command);
        return;
      case OperationCode.verify10:
      case OperationCode.verify16:
        operations.verify(command);
        return;
      case OperationCode.sendDiagnostic:
        operations.selfTest(command);
        return;
      default:
        operations.write(command);
    }
  }

  /** REQUEST SENSE: returns a pending unit attention as data (SPC-4 6.39). */
  #requestSense(command: DiskCommand): number {
    const { view } = this.#reports.data;
    const asc = command.nexus?.takeAttention() ?? Asc.none;
    const key = asc === Asc.none ? SenseKey.noSense : SenseKey.unitAttention;
    if (command.decoded.descriptorSense) return encodeDescriptorSense(view, 0, key, asc);
    return encodeFixedSense(view, 0, key, asc);
  }

  #serviceActionIn(command: DiskCommand): number {
    const { decoded } = command;
    if (decoded.serviceAction === ServiceAction.readCapacity16) {
      return this.#reports.readCapacity16();
    }
    if (decoded.lba < 0 || decoded.lba >= this.#blockCount) return -Asc.lbaOutOfRange;
    return this.#reports.lbaStatus(decoded.lba, command.transferBytes);
  }

  #maintenanceIn(command: DiskCommand): number {
    switch (command.decoded.serviceAction) {
      case ServiceAction.reportTargetPortGroups:
        return this.#reports.targetPortGroups(((command.cdb[1] ?? 0) & EXTENDED_HEADER) !== 0);
      case ServiceAction.reportSupportedTaskManagementFunctions:
        return this.#functions.taskManagementFunctions(command.decoded);
      default:
        return this.#functions.supportedOperationCodes(command.decoded);
    }
  }

  #modeSelect(command: DiskCommand, form: ModeSenseForm): void {
    const { slab, slabOffset, transferBytes } = command;
    if (slab !== null) {
      const asc = this.#modes.modeSelect(slab, slabOffset, transferBytes, form);
      if (asc !== Asc.none) command.refuse(asc);
    }
    command.done(command);
  }

  /** Ends a command with the last report, or with the ASC of a negative length. */
  #reportLength(command: DiskCommand, length: number): void {
    if (length < 0) {
      command.refuse(-length);
      command.done(command);
    } else {
      this.#finishReport(command, this.#reports.data, length);
    }
  }

  #finishReport(command: DiskCommand, data: Slab, length: number): void {
    const { slab, slabOffset } = command;
    command.dataInBytes = Math.min(length, command.transferBytes);
    if (slab !== null) data.bytes.copy(slab.bytes, slabOffset, 0, command.dataInBytes);
    command.done(command);
  }
}

/**
 * SAM-5 5.14.1: false for the commands that are answered even with a pending unit attention. REPORT LUNS is not
 * handled here.
 */
function reportsAttention(opcode: number): boolean {
  return opcode !== OperationCode.inquiry && opcode !== OperationCode.requestSense;
}

function isRead(opcode: number): boolean {
  return (
    opcode === OperationCode.read16 ||
    opcode === OperationCode.read10 ||
    opcode === OperationCode.read12 ||
    opcode === OperationCode.read6
  );
}

function isWrite(opcode: number): boolean {
  return (
    opcode === OperationCode.write16 ||
    opcode === OperationCode.write10 ||
    opcode === OperationCode.write12 ||
    opcode === OperationCode.write6
  );
}
