import { BlockStatus } from '../block/device.js';
import { IserNbdError } from '../common/errors.js';
import { CommandFlag, NbdCommand, NbdErrno } from './wire.js';

/** The client broke a rule, and we disconnect: we are out of step with it, or no reply can tell it about the error. */
export class NbdProtocolError extends IserNbdError {
  override readonly name = 'NbdProtocolError';
}

/** The error for each {@link BlockStatus}. {@link errnoOf} then narrows it to the errors that the request allows. */
const ERRNO_OF_STATUS: Readonly<Record<BlockStatus, NbdErrno>> = {
  [BlockStatus.ok]: NbdErrno.OK,
  [BlockStatus.notPermitted]: NbdErrno.EPERM,
  [BlockStatus.ioError]: NbdErrno.EIO,
  [BlockStatus.noMemory]: NbdErrno.ENOMEM,
  [BlockStatus.invalid]: NbdErrno.EINVAL,
  [BlockStatus.noSpace]: NbdErrno.ENOSPC,
  [BlockStatus.overflow]: NbdErrno.EOVERFLOW,
  [BlockStatus.mismatch]: NbdErrno.EIO,
  [BlockStatus.notSupported]: NbdErrno.ENOTSUP,
  [BlockStatus.shutdown]: NbdErrno.ESHUTDOWN,
};

/** The text for people in structured errors. */
const MESSAGE_OF_STATUS: Readonly<Record<BlockStatus, string>> = {
  [BlockStatus.ok]: '',
  [BlockStatus.notPermitted]: 'the device does not permit the request',
  [BlockStatus.ioError]: 'the device failed; the server log has more',
  [BlockStatus.noMemory]: 'the device is out of memory',
  [BlockStatus.invalid]: 'the device says that the request is not valid',
  [BlockStatus.noSpace]: 'the device has no space left',
  [BlockStatus.overflow]: 'the request is longer than the device allows',
  [BlockStatus.mismatch]: 'the device found other bytes than expected',
  [BlockStatus.notSupported]: 'the device cannot do this, or cannot do it fast',
  [BlockStatus.shutdown]: 'the device is shutting down',
};

/**
 * The error that goes on the wire for a device's status. proto.md, "Error values", allows ENOTSUP only for a
 * WRITE_ZEROES with FAST_ZERO, and EOVERFLOW only where no payload limits the length: elsewhere both are EINVAL.
 */
export function errnoOf(status: BlockStatus, command: number, flags: number): NbdErrno {
  const errno = ERRNO_OF_STATUS[status];
  if (errno === NbdErrno.ENOTSUP) {
    const isFastZero = command === NbdCommand.WRITE_ZEROES && (flags & CommandFlag.FAST_ZERO) !== 0;
    return isFastZero ? errno : NbdErrno.EINVAL;
  }
  if (errno === NbdErrno.EOVERFLOW) {
    const hasPayload = command === NbdCommand.READ || command === NbdCommand.WRITE;
    return hasPayload ? NbdErrno.EINVAL : errno;
  }
  return errno;
}

/** The text of a structured error for a device's status. */
export function messageOfStatus(status: BlockStatus): string {
  return MESSAGE_OF_STATUS[status];
}
