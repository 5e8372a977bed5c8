import { Asc } from '../../scsi/sense.js';
import type { Slab } from '../../common/slab.js';
import {
  ALL_SUBPAGES,
  COMMAND_FORMATS,
  LogPage,
  OperationCode,
  ReportingOptions,
  TaskManagementSupport,
  encodeAllCommands,
  encodeNoTemperature,
  encodeOneCommand,
  encodeSupportedLogPages,
  encodeSupportedLogSubpages,
  encodeTaskManagementSupport,
} from '../../scsi/wire.js';
import type { CommandFormat, CommandTimeouts, DecodedCdb } from '../../scsi/wire.js';
import type { Store } from '../../store/store.js';

/**
 * The timeouts of commands, in seconds. Initiators that ask use them instead of their usual 30 s. Longer timeouts are
 * for commands that write many blocks, wait for the medium, or wait for other commands.
 */
const TIMEOUTS: CommandTimeouts = { nominal: 10, recommended: 30 };
const LONG_TIMEOUTS: CommandTimeouts = { nominal: 30, recommended: 120 };
const LONG_COMMANDS: ReadonlySet<number> = new Set([
  OperationCode.synchronizeCache10,
  OperationCode.synchronizeCache16,
  OperationCode.unmap,
  OperationCode.writeSame10,
  OperationCode.writeSame16,
  OperationCode.persistentReserveOut,
]);
const LOG_PAGES = [LogPage.supported, LogPage.temperature];
const LOG_SUBPAGES = [
  [LogPage.supported, 0],
  [LogPage.supported, ALL_SUBPAGES],
  [LogPage.temperature, 0],
] as const;
const { abortTask, abortTaskSet, clearTaskSet, logicalUnitReset, targetReset } =
  TaskManagementSupport;
const TASK_MANAGEMENT = abortTask | abortTaskSet | clearTaskSet | logicalUnitReset | targetReset;
/** SPC-4 6.36: the shortest valid allocation length. */
const TASK_MANAGEMENT_BYTES_MIN = 4;
const LAST_TEMPERATURE_PARAMETER = 1;

/**
 * A disk's reports about its functions: commands, task management, logs. Each method clears its memory, builds its
 * answer there and returns the length, or the negated ASC of an ILLEGAL REQUEST.
 */
export class FunctionReports {
  readonly #data: Slab;
  readonly #formats: readonly CommandFormat[];

  constructor(store: Store, data: Slab) {
    this.#data = data;
    this.#formats = COMMAND_FORMATS.filter(
      ({ opcode }) => store.canPunch || opcode !== OperationCode.unmap,
    );
  }

  supportedOperationCodes(cdb: DecodedCdb): number {
    const { reportingOptions, requestedOpcode, requestedServiceAction } = cdb;
    const view = this.#cleared();
    const timeouts = cdb.returnTimeouts ? timeoutsOf : null;
    if (reportingOptions === ReportingOptions.all) {
      return encodeAllCommands(view, 0, this.#formats, timeouts);
    }
    const sameOpcode = this.#formats.filter(({ opcode }) => opcode === requestedOpcode);
    const hasActions = sameOpcode.some(({ serviceAction }) => serviceAction >= 0);
    switch (reportingOptions) {
      case ReportingOptions.oneOpcode:
        return hasActions
          ? -Asc.invalidFieldInCdb
          : encodeOneCommand(view, 0, sameOpcode[0] ?? null, timeouts);
      case ReportingOptions.oneServiceAction:
        if (sameOpcode.length > 0 && !hasActions) return -Asc.invalidFieldInCdb;
        break;
      case ReportingOptions.oneCommand:
        break;
      default:
        return -Asc.invalidFieldInCdb;
    }
    const wanted = hasActions ? requestedServiceAction : -1;
    const found = sameOpcode.find(({ serviceAction }) => serviceAction === wanted);
    return encodeOneCommand(view, 0, found ?? null, timeouts);
  }

  taskManagementFunctions({ allocationLength, extended }: DecodedCdb): number {
    if (allocationLength < TASK_MANAGEMENT_BYTES_MIN) return -Asc.invalidFieldInCdb;
    return encodeTaskManagementSupport(this.#cleared(), 0, TASK_MANAGEMENT, extended);
  }

  logSense(cdb: DecodedCdb): number {
    const { pageCode, subpageCode, parameterPointer } = cdb;
    // SP requests that the parameters are saved, which the disk does not support.
    if (cdb.savePages) return -Asc.invalidFieldInCdb;
    const view = this.#cleared();
    if (pageCode === LogPage.temperature && subpageCode === 0) {
      if (parameterPointer > LAST_TEMPERATURE_PARAMETER) return -Asc.invalidFieldInCdb;
      return encodeNoTemperature(view, 0, parameterPointer);
    }
    if (pageCode !== LogPage.supported || parameterPointer !== 0) return -Asc.invalidFieldInCdb;
    switch (subpageCode) {
      case 0:
        return encodeSupportedLogPages(view, 0, LOG_PAGES);
      case ALL_SUBPAGES:
        return encodeSupportedLogSubpages(view, 0, LOG_SUBPAGES);
      default:
        return -Asc.invalidFieldInCdb;
    }
  }

  #cleared(): DataView {
    this.#data.bytes.fill(0);
    return this.#data.view;
  }
}

function timeoutsOf({ opcode }: CommandFormat): CommandTimeouts {
  return LONG_COMMANDS.has(opcode) ? LONG_TIMEOUTS : TIMEOUTS;
}
