import { Slab } from '../../common/slab.js';
import { UsageError } from '../../common/errors.js';
import { decodeLun } from '../../scsi/lun.js';
import { Asc, SenseKey, encodeFixedSense } from '../../scsi/sense.js';
import {
  DeviceType,
  OperationCode,
  Qualifier,
  ScsiStatus,
  decodeCdb,
  encodeInquiry,
  encodeReportLuns,
} from '../../scsi/wire.js';
import type { InitiatorPort } from '../../scsi/wire.js';
import { Disk } from './disk.js';
import { DataDirection } from '../../common/data-direction.js';
import type { DiskCommand } from './disk-command.js';
import { diskIdentity } from './disk-identity.js';
import { INQUIRY_TEXT } from './disk-reports.js';
import { LUNS_MAX, PARAMETER_DATA_BYTES_MAX } from './limits.js';
import type { LogicalUnit } from './logical-unit.js';
import { Nexus } from './nexus.js';
import type { Store } from '../../store/store.js';

/** The logical units of one target from LUN 0 on, and the answers for a LUN without a unit. */
export class LogicalUnits {
  readonly disks: readonly Disk[];
  readonly #missing: MissingUnit;
  readonly #reportLuns: ReportLuns;

  /** @throws UsageError for more units than REPORT LUNS can report */
  constructor(targetName: string, stores: readonly Store[]) {
    if (stores.length > LUNS_MAX) {
      throw new UsageError('lun', `a target has at most ${LUNS_MAX} LUNs, not ${stores.length}`);
    }
    this.disks = stores.map((store) => new Disk(store, diskIdentity(targetName, store.identity)));
    this.#missing = new MissingUnit();
    this.#reportLuns = new ReportLuns(stores.map((_, lun) => lun));
  }

  /** An initiator has logged in. Returns its nexus with each unit, by LUN. */
  enter(port: InitiatorPort): readonly Nexus[] {
    return this.disks.map(({ reservations }) => {
      const nexus = new Nexus(port);
      reservations.enter(nexus);
      return nexus;
    });
  }

  /** The session has ended, and all its commands have ended. */
  leave(nexuses: readonly Nexus[]): void {
    nexuses.forEach((nexus, lun) => this.disks[lun]?.reservations.leave(nexus));
  }

  /** The index of the unit in a PDU's LUN field. -1 for a missing unit or an unsupported addressing method. */
  indexOf(lunHigh: number, lunLow: number): number {
    const lun = decodeLun(lunHigh, lunLow);
    return lun >= 0 && lun < this.disks.length ? lun : -1;
  }

  /** The unit that executes `command` at LUN `index` (-1: missing). REPORT LUNS is answered at every LUN. */
  unitFor(index: number, command: DiskCommand): LogicalUnit {
    if (command.cdb[0] === OperationCode.reportLuns) return this.#reportLuns;
    return this.disks[index] ?? this.#missing;
  }
}

/** Copies a report into the command's memory and ends it. */
function finishWith(command: DiskCommand, data: Slab, length: number): void {
  command.dataInBytes = Math.min(length, command.transferBytes);
  if (command.slab !== null) {
    data.bytes.copy(command.slab.bytes, command.slabOffset, 0, command.dataInBytes);
  }
  command.done(command);
}

/** Answers commands for a LUN without a device (SPC-4 6.4.1, SAM-5 4.6.4). */
class MissingUnit implements LogicalUnit {
  readonly #data = new Slab(PARAMETER_DATA_BYTES_MAX);

  prepare(command: DiskCommand): boolean {
    command.reset();
    const { decoded } = command;
    decodeCdb(command.cdbView, 0, decoded);
    if (decoded.opcode !== OperationCode.inquiry && decoded.opcode !== OperationCode.requestSense) {
      return command.refuse(Asc.logicalUnitNotSupported);
    }
    if (decoded.opcode === OperationCode.inquiry && (decoded.evpd || decoded.pageCode !== 0)) {
      return command.refuse(Asc.logicalUnitNotSupported);
    }
    command.direction = DataDirection.in;
    command.transferBytes = Math.min(decoded.allocationLength, PARAMETER_DATA_BYTES_MAX);
    return true;
  }

  readInPlace(): boolean {
    return false;
  }

  lend(): boolean {
    return false;
  }

  execute(command: DiskCommand): void {
    const { view, bytes } = this.#data;
    bytes.fill(0);
    if (command.decoded.opcode === OperationCode.requestSense) {
      const { illegalRequest } = SenseKey;
      const length = encodeFixedSense(view, 0, illegalRequest, Asc.logicalUnitNotSupported);
      finishWith(command, this.#data, length);
      return;
    }
    const length = encodeInquiry(view, 0, {
      qualifier: Qualifier.notCapable,
      deviceType: DeviceType.unknown,
      removable: false,
      version: 6,
      tpgs: 0,
      thirdPartyCopy: false,
      protect: false,
      multiPort: false,
      commandQueuing: true,
      ...INQUIRY_TEXT,
      versionDescriptors: [],
    });
    finishWith(command, this.#data, length);
  }
}

/** SPC-4 6.33: the shortest valid allocation length. */
const REPORT_LUNS_BYTES_MIN = 16;
const SELECT_REPORT_MAX = 2;
/** SELECT REPORT: only well-known logical units. The target has none. */
const SELECT_WELL_KNOWN = 1;

/** Answers REPORT LUNS, which is about the target and not about a unit. */
class ReportLuns implements LogicalUnit {
  readonly #data = new Slab(PARAMETER_DATA_BYTES_MAX);
  readonly #luns: readonly number[];

  constructor(luns: readonly number[]) {
    this.#luns = luns;
  }

  prepare(command: DiskCommand): boolean {
    command.reset();
    decodeCdb(command.cdbView, 0, command.decoded);
    const { allocationLength, selectReport } = command.decoded;
    if (allocationLength < REPORT_LUNS_BYTES_MIN || selectReport > SELECT_REPORT_MAX) {
      return command.refuse(Asc.invalidFieldInCdb);
    }
    command.direction = DataDirection.in;
    command.transferBytes = Math.min(allocationLength, PARAMETER_DATA_BYTES_MAX);
    return true;
  }

  readInPlace(): boolean {
    return false;
  }

  lend(): boolean {
    return false;
  }

  execute(command: DiskCommand): void {
    const isWellKnown = command.decoded.selectReport === SELECT_WELL_KNOWN;
    const length = encodeReportLuns(this.#data.view, 0, isWellKnown ? [] : this.#luns);
    command.status = ScsiStatus.good;
    finishWith(command, this.#data, length);
  }
}
