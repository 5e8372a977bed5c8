import { assert } from '../common/assert.js';
import { BlockOp } from '../block/device.js';
import { readSafeU64, safeFromHalves } from '../common/u64.js';
import type { ExportTerms } from './export.js';
import { Refusal } from './refusals.js';
import { CommandFlag, NbdCommand, STATUS_PAYLOAD_BYTES, TransmissionFlag } from './wire.js';
import type { RequestHeader } from './wire.js';

/** One row of the command table (proto.md, "Request types"). */
interface CommandRule {
  /** Null for a command that the block device does not carry out as a request. */
  readonly op: BlockOp | null;
  /** The transmission flag that offers the command; 0 for a command that needs none. */
  readonly offeredBy: number;
  /** Command flags besides FUA, which every command may carry. */
  readonly flags: number;
  /** Refused with EPERM on a read-only export. */
  readonly modifies: boolean;
  /** The refusal for a range that does not end within the export (proto.md, "Error values"). */
  readonly pastEnd: Refusal;
}

const RULES: Readonly<Partial<Record<number, CommandRule>>> = {
  [NbdCommand.READ]: {
    op: BlockOp.read,
    offeredBy: 0,
    flags: CommandFlag.DF,
    modifies: false,
    pastEnd: Refusal.pastEnd,
  },
  [NbdCommand.WRITE]: {
    op: BlockOp.write,
    offeredBy: 0,
    flags: CommandFlag.PAYLOAD_LEN,
    modifies: true,
    pastEnd: Refusal.pastEndWrite,
  },
  [NbdCommand.FLUSH]: {
    op: BlockOp.flush,
    offeredBy: TransmissionFlag.SEND_FLUSH,
    flags: 0,
    modifies: false,
    pastEnd: Refusal.pastEnd,
  },
  [NbdCommand.TRIM]: {
    op: BlockOp.trim,
    offeredBy: TransmissionFlag.SEND_TRIM,
    flags: 0,
    modifies: true,
    pastEnd: Refusal.pastEnd,
  },
  [NbdCommand.CACHE]: {
    op: BlockOp.cache,
    offeredBy: TransmissionFlag.SEND_CACHE,
    flags: 0,
    modifies: false,
    pastEnd: Refusal.pastEnd,
  },
  [NbdCommand.WRITE_ZEROES]: {
    op: BlockOp.writeZeroes,
    offeredBy: TransmissionFlag.SEND_WRITE_ZEROES,
    flags: CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
    modifies: true,
    pastEnd: Refusal.pastEndWrite,
  },
  [NbdCommand.BLOCK_STATUS]: {
    op: null,
    offeredBy: 0,
    flags: CommandFlag.REQ_ONE | CommandFlag.PAYLOAD_LEN,
    modifies: false,
    pastEnd: Refusal.pastEnd,
  },
};

/** The block operation of a command that {@link checkNbdRequest} has accepted. */
export function blockOpOf(command: number): BlockOp {
  const op = RULES[command]?.op ?? null;
  assert(op !== null, 'a command that the block device does not carry out');
  return op;
}

/** Whether the command changes data. */
export function modifies(command: number): boolean {
  return RULES[command]?.modifies === true;
}

/** The request's length, of its payload or its effect; -1 when the length is no exact Number. */
export function lengthOf(header: RequestHeader): number {
  return safeFromHalves(header.lengthHigh, header.lengthLow);
}

/**
 * How many bytes follow the header; -1 when that is no exact Number. The next request begins behind them, also when this
 * one is refused: so the number must not depend on whether the request is valid.
 *
 * A WRITE has a payload whatever its flags say: QEMU's client (8.2 to 10.0 at least) leaves PAYLOAD_LEN out.
 */
export function payloadBytesOf(header: RequestHeader, { replyStyle }: ExportTerms): number {
  const { command, flags } = header;
  const saysPayload = replyStyle === 'extended' && (flags & CommandFlag.PAYLOAD_LEN) !== 0;
  return command === NbdCommand.WRITE || saysPayload ? lengthOf(header) : 0;
}

/** An extended WRITE without PAYLOAD_LEN, which proto.md requires. The server carries out the WRITE all the same. */
export function lacksPayloadFlag(
  { command, flags }: RequestHeader,
  { replyStyle }: ExportTerms,
): boolean {
  const isExtendedWrite = command === NbdCommand.WRITE && replyStyle === 'extended';
  return isExtendedWrite && (flags & CommandFlag.PAYLOAD_LEN) === 0;
}

/**
 * Checks a request: null when it is valid, or why it is refused. DISC is not checked here. A length of 0 is valid, except
 * for BLOCK_STATUS: there is nothing to do (and proto.md leaves the result open). {@link checkStatusPayload} checks the
 * payload of a BLOCK_STATUS when it has come.
 */
export function checkNbdRequest(header: RequestHeader, terms: ExportTerms): Refusal | null {
  const rule = RULES[header.command];
  if (rule === undefined) return Refusal.unknownCommand;
  if (rule.modifies && (terms.flags & TransmissionFlag.READ_ONLY) !== 0) return Refusal.readOnly;
  if ((terms.flags & rule.offeredBy) !== rule.offeredBy) return Refusal.notOffered;
  if (header.command === NbdCommand.BLOCK_STATUS && terms.contexts.length === 0) {
    return Refusal.noContext;
  }
  if ((header.flags & ~allowedFlags(rule, terms)) !== 0) return Refusal.flags;
  if (rule.op === BlockOp.flush) return checkFlush(header);
  const offset = safeFromHalves(header.offsetHigh, header.offsetLow);
  // Only extended requests can have the flag here.
  if (rule.op === null && (header.flags & CommandFlag.PAYLOAD_LEN) !== 0) {
    return checkStatusIds(header, terms);
  }
  return checkRange(rule, offset, lengthOf(header), terms) ?? checkLength(header, terms, rule);
}

/**
 * Checks the payload of a BLOCK_STATUS: an effect length and the ids of the wanted contexts. It has `bytes` bytes, a
 * length that {@link checkNbdRequest} has checked.
 */
export function checkStatusPayload(
  view: DataView,
  at: number,
  bytes: number,
  offset: number,
  terms: ExportTerms,
): Refusal | null {
  const end = at + bytes;
  for (let idAt = at + STATUS_PAYLOAD_BYTES; idAt < end; idAt += 4) {
    const id = view.getUint32(idAt);
    if (!terms.contexts.includes(id)) return Refusal.statusPayload;
    for (let other = idAt + 4; other < end; other += 4) {
      if (view.getUint32(other) === id) return Refusal.statusPayload;
    }
  }
  const rule = RULES[NbdCommand.BLOCK_STATUS];
  const length = readSafeU64(view, at);
  if (rule === undefined || length === 0) return Refusal.statusLength;
  return checkRange(rule, offset, length, terms);
}

/** There must be at least one id, and no more ids than contexts are selected: more would contain one twice. */
function checkStatusIds(header: RequestHeader, terms: ExportTerms): Refusal | null {
  const idBytes = lengthOf(header) - STATUS_PAYLOAD_BYTES;
  const isList = idBytes > 0 && idBytes % 4 === 0 && idBytes <= 4 * terms.contexts.length;
  return isList ? null : Refusal.statusPayload;
}

function allowedFlags(rule: CommandRule, terms: ExportTerms): number {
  let flags = rule.flags;
  if ((terms.flags & TransmissionFlag.SEND_FUA) !== 0) flags |= CommandFlag.FUA;
  if ((terms.flags & TransmissionFlag.SEND_FAST_ZERO) === 0) flags &= ~CommandFlag.FAST_ZERO;
  if ((terms.flags & TransmissionFlag.SEND_DF) === 0) flags &= ~CommandFlag.DF;
  if (terms.replyStyle !== 'extended') flags &= ~CommandFlag.PAYLOAD_LEN;
  return flags;
}

/** "For a flush request, length and offset are reserved, and MUST be set to all-zero." */
function checkFlush(header: RequestHeader): Refusal | null {
  const { offsetHigh, offsetLow, lengthHigh, lengthLow } = header;
  return (offsetHigh | offsetLow | lengthHigh | lengthLow) === 0 ? null : Refusal.flushRange;
}

function checkRange(
  rule: CommandRule,
  offset: number,
  length: number,
  { sizeBytes, minimumBytes }: ExportTerms,
): Refusal | null {
  if (offset < 0 || length < 0 || offset + length > sizeBytes) return rule.pastEnd;
  if (minimumBytes > 1 && (offset % minimumBytes !== 0 || length % minimumBytes !== 0)) {
    return Refusal.alignment;
  }
  return null;
}

/** EOVERFLOW is for too long reads in one fragment, and for too long commands without payload. */
function checkLength(header: RequestHeader, terms: ExportTerms, rule: CommandRule): Refusal | null {
  const length = lengthOf(header);
  switch (rule.op) {
    case BlockOp.read:
      if (length <= terms.payloadBytesMax) return null;
      if (terms.replyStyle === 'simple') return Refusal.payloadLength;
      // A longer READ is answered in chunks, none of them longer than the maximum payload.
      return (header.flags & CommandFlag.DF) !== 0 ? Refusal.fragmentLength : null;
    case BlockOp.write:
      return length > terms.payloadBytesMax ? Refusal.payloadLength : null;
    case BlockOp.trim:
      return length > terms.trimBytesMax ? Refusal.effectLength : null;
    case BlockOp.writeZeroes:
      if (length <= terms.writeZeroesBytesMax) return null;
      // "SHOULD NOT fail with NBD_EOVERFLOW regardless of the client length", said of fast zeroing.
      return (header.flags & CommandFlag.FAST_ZERO) !== 0 ? Refusal.notFast : Refusal.effectLength;
    case null:
      return length === 0 ? Refusal.statusLength : null;
    case BlockOp.cache:
    case BlockOp.flush:
    case BlockOp.compareAndWrite:
      return null;
  }
}
