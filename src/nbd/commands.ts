import { BlockOp } from '../block/device.js';
import { safeFromHalves } from '../common/u64.js';
import type { ExportTerms } from './export.js';
import { CommandFlag, NbdCommand, NbdErrno, TransmissionFlag } from './wire.js';
import type { RequestHeader } from './wire.js';

/** One row of the command table (proto.md, "Request types"). */
interface CommandRule {
  readonly op: BlockOp;
  /** The transmission flag that offers the command; 0 for those that every export has. */
  readonly offeredBy: number;
  /** Command flags besides FUA, which every command may carry. */
  readonly flags: number;
  /** Refused with EPERM on a read-only export. */
  readonly modifies: boolean;
  /** The error when the range does not end within the export (proto.md, "Error values"). */
  readonly pastEnd: NbdErrno;
}

const RULES: Readonly<Partial<Record<number, CommandRule>>> = {
  [NbdCommand.READ]: {
    op: BlockOp.read,
    offeredBy: 0,
    flags: 0,
    modifies: false,
    pastEnd: NbdErrno.EINVAL,
  },
  [NbdCommand.WRITE]: {
    op: BlockOp.write,
    offeredBy: 0,
    flags: 0,
    modifies: true,
    pastEnd: NbdErrno.ENOSPC,
  },
  [NbdCommand.FLUSH]: {
    op: BlockOp.flush,
    offeredBy: TransmissionFlag.SEND_FLUSH,
    flags: 0,
    modifies: false,
    pastEnd: NbdErrno.EINVAL,
  },
  [NbdCommand.TRIM]: {
    op: BlockOp.trim,
    offeredBy: TransmissionFlag.SEND_TRIM,
    flags: 0,
    modifies: true,
    pastEnd: NbdErrno.EINVAL,
  },
  [NbdCommand.CACHE]: {
    op: BlockOp.cache,
    offeredBy: TransmissionFlag.SEND_CACHE,
    flags: 0,
    modifies: false,
    pastEnd: NbdErrno.EINVAL,
  },
  [NbdCommand.WRITE_ZEROES]: {
    op: BlockOp.writeZeroes,
    offeredBy: TransmissionFlag.SEND_WRITE_ZEROES,
    flags: CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO,
    modifies: true,
    pastEnd: NbdErrno.ENOSPC,
  },
};

/** What the block device is asked for by a command that {@link checkRequest} let pass. */
export function blockOpOf(command: number): BlockOp {
  return RULES[command]?.op ?? BlockOp.flush;
}

/** Whether the command changes data. */
export function modifies(command: number): boolean {
  return RULES[command]?.modifies === true;
}

/**
 * Whether a request may go to the device: OK, or the error that proto.md names for what is wrong with it. DISC is
 * no request in this sense. A length of 0 passes; it has nothing to do (and proto.md leaves its result open).
 */
export function checkRequest(header: RequestHeader, terms: ExportTerms): NbdErrno {
  const rule = RULES[header.command];
  if (rule === undefined) return NbdErrno.EINVAL;
  if (rule.modifies && (terms.flags & TransmissionFlag.READ_ONLY) !== 0) return NbdErrno.EPERM;
  if ((terms.flags & rule.offeredBy) !== rule.offeredBy) return NbdErrno.EINVAL;
  if ((header.flags & ~allowedFlags(rule, terms)) !== 0) return NbdErrno.EINVAL;
  if (rule.op === BlockOp.flush) return checkFlush(header);
  return checkRange(header, terms, rule);
}

function allowedFlags(rule: CommandRule, terms: ExportTerms): number {
  let flags = rule.flags;
  if ((terms.flags & TransmissionFlag.SEND_FUA) !== 0) flags |= CommandFlag.FUA;
  if ((terms.flags & TransmissionFlag.SEND_FAST_ZERO) === 0) flags &= ~CommandFlag.FAST_ZERO;
  return flags;
}

/** "For a flush request, length and offset are reserved, and MUST be set to all-zero." */
function checkFlush(header: RequestHeader): NbdErrno {
  const isZero = (header.offsetHigh | header.offsetLow | header.lengthLow) === 0;
  return isZero ? NbdErrno.OK : NbdErrno.EINVAL;
}

function checkRange(header: RequestHeader, terms: ExportTerms, rule: CommandRule): NbdErrno {
  const offset = safeFromHalves(header.offsetHigh, header.offsetLow);
  const length = header.lengthLow;
  if (offset < 0 || offset + length > terms.sizeBytes) return rule.pastEnd;
  const { minimumBytes } = terms;
  if (minimumBytes > 1 && (offset % minimumBytes !== 0 || length % minimumBytes !== 0)) {
    return NbdErrno.EINVAL;
  }
  return checkLength(header, terms, rule);
}

/** EOVERFLOW is for commands without payload that ask for more than the device does at a time. */
function checkLength(header: RequestHeader, terms: ExportTerms, rule: CommandRule): NbdErrno {
  const length = header.lengthLow;
  switch (rule.op) {
    case BlockOp.read:
    case BlockOp.write:
      return length > terms.payloadBytesMax ? NbdErrno.EINVAL : NbdErrno.OK;
    case BlockOp.trim:
      return length > terms.trimBytesMax ? NbdErrno.EOVERFLOW : NbdErrno.OK;
    case BlockOp.writeZeroes:
      if (length <= terms.writeZeroesBytesMax) return NbdErrno.OK;
      // "SHOULD NOT fail with NBD_EOVERFLOW regardless of the client length", said of fast zeroing.
      return (header.flags & CommandFlag.FAST_ZERO) !== 0 ? NbdErrno.ENOTSUP : NbdErrno.EOVERFLOW;
    case BlockOp.cache:
    case BlockOp.flush:
      return NbdErrno.OK;
  }
}
