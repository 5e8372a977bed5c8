/**
 * What a device can do: REPORT SUPPORTED OPERATION CODES and REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS (SPC-4 6.35,
 * 6.36).
 *
 *   Operation codes, all   0-3 data length (n - 3); at 4, each 8 bytes:
 *                          0 opcode, 2-3 service action, 5 CTDP 1 SERVACTV 0, 6-7 CDB length; with CTDP: timeouts
 *                    one   1 CTDP 7, support 2-0; 2-3 CDB length; 4.. usage map; with CTDP: timeouts
 *   Timeouts               0-1 length (10), 2 -, 3 command specific, 4-7 nominal, 8-11 recommended, in seconds
 *   Task management        0 ATS 7, ATSS 6, CACAS 5, CTSS 4, LURS 3, QTS 2, TRS 1; 1 QAES 2, QTSS 1, ITNRS 0; 2 -;
 *                          3 additional length; with it: 4 TMFTMOV 0, 5 -; 6, 7 as 0, 1: the function has a timeout;
 *                          8-11 long, 12-15 short timeout, in tenths of a second
 */
import type { CommandFormat } from './command-formats.js';

/** REPORT SUPPORTED OPERATION CODES, reporting options (SPC-4 table 203). */
export const ReportingOptions = {
  all: 0,
  oneOpcode: 1,
  oneServiceAction: 2,
  /** The opcode, with the service action if the opcode has service actions. */
  oneCommand: 3,
} as const;

/** The SUPPORT field of the one-command format. */
export const CommandSupport = { unknown: 0, no: 1, yes: 3, vendorSpecific: 5 } as const;

const ALL_COMMANDS_HEADER_BYTES = 4;
const COMMAND_DESCRIPTOR_BYTES = 8;
const ONE_COMMAND_HEADER_BYTES = 4;
const TIMEOUTS_BYTES = 12;

/** How long a command takes, in seconds; 0 for unknown. */
export interface CommandTimeouts {
  /** The initiator should not query the command before this time. */
  readonly nominal: number;
  /** The initiator may abort the command after this time. */
  readonly recommended: number;
}

/** Returns the timeouts of a command. Null when the initiator did not request timeouts (RCTD). */
export type TimeoutsOf = ((command: CommandFormat) => CommandTimeouts) | null;

export function encodeAllCommands(
  view: DataView,
  offset: number,
  commands: readonly CommandFormat[],
  timeoutsOf: TimeoutsOf = null,
): number {
  let at = offset + ALL_COMMANDS_HEADER_BYTES;
  for (const command of commands) {
    const hasAction = command.serviceAction >= 0;
    view.setUint16(at, command.opcode << 8);
    view.setUint16(at + 2, hasAction ? command.serviceAction : 0);
    view.setUint16(at + 4, (timeoutsOf === null ? 0 : 2) | (hasAction ? 1 : 0));
    view.setUint16(at + 6, command.usage.length);
    at += COMMAND_DESCRIPTOR_BYTES;
    if (timeoutsOf !== null) at += encodeTimeouts(view, at, timeoutsOf(command));
  }
  const length = at - offset;
  view.setUint32(offset, length - ALL_COMMANDS_HEADER_BYTES);
  return length;
}

function encodeTimeouts(view: DataView, offset: number, timeouts: CommandTimeouts): number {
  view.setUint32(offset, (TIMEOUTS_BYTES - 2) << 16);
  view.setUint32(offset + 4, timeouts.nominal);
  view.setUint32(offset + 8, timeouts.recommended);
  return TIMEOUTS_BYTES;
}

/** Writes the one-command format. `command` is null for an unsupported command. */
export function encodeOneCommand(
  view: DataView,
  offset: number,
  command: CommandFormat | null,
  timeoutsOf: TimeoutsOf = null,
): number {
  const usage = command?.usage ?? [];
  const hasTimeouts = command !== null && timeoutsOf !== null;
  const support = command === null ? CommandSupport.no : CommandSupport.yes;
  view.setUint16(offset, (hasTimeouts ? 0x80 : 0) | support);
  view.setUint16(offset + 2, usage.length);
  usage.forEach((byte, index) => view.setUint8(offset + ONE_COMMAND_HEADER_BYTES + index, byte));
  const length = ONE_COMMAND_HEADER_BYTES + usage.length;
  if (!hasTimeouts) return length;
  return length + encodeTimeouts(view, offset + length, timeoutsOf(command));
}

/** {@link CommandSupport} from the one-command format; `unknown` when the data is shorter than the header. */
export function decodeCommandSupport(view: DataView, offset: number, length: number): number {
  return length < ONE_COMMAND_HEADER_BYTES ? CommandSupport.unknown : view.getUint8(offset + 1) & 7;
}

/** The task management functions of SAM-5 7.1, as bits of bytes 0 and 1. */
export const TaskManagementSupport = {
  abortTask: 0x8000,
  abortTaskSet: 0x4000,
  clearTaskSet: 0x1000,
  logicalUnitReset: 0x0800,
  targetReset: 0x0200,
} as const;

/** `extended` (REPD) adds the timeout fields. All are zero: the target reports no timeouts. */
export function encodeTaskManagementSupport(
  view: DataView,
  offset: number,
  supported: number,
  extended: boolean,
): number {
  view.setUint16(offset, supported);
  view.setUint16(offset + 2, extended ? 12 : 0);
  if (!extended) return 4;
  for (let at = 4; at < 16; at += 4) view.setUint32(offset + at, 0);
  return 16;
}
