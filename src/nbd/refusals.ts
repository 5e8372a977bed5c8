import { NbdErrno } from './wire.js';

/** Why a request is refused: the error, and a sentence for people, which structured errors carry. */
export interface Refusal {
  readonly errno: NbdErrno;
  readonly message: string;
}

/** All refusals. The messages are short: a reply without data has little room. */
export const Refusal = {
  unknownCommand: { errno: NbdErrno.EINVAL, message: 'this server does not know the command' },
  notOffered: { errno: NbdErrno.EINVAL, message: 'the export does not offer the command' },
  noContext: { errno: NbdErrno.EINVAL, message: 'no metadata context was selected for the export' },
  readOnly: { errno: NbdErrno.EPERM, message: 'the export is read-only' },
  flags: { errno: NbdErrno.EINVAL, message: 'a command flag is unknown, or not for this command' },
  statusPayload: {
    errno: NbdErrno.EINVAL,
    message: 'the payload must be a length and ids of selected metadata contexts, each once',
  },
  flushRange: { errno: NbdErrno.EINVAL, message: 'a flush has neither offset nor length' },
  statusLength: { errno: NbdErrno.EINVAL, message: 'a status query needs a length' },
  pastEnd: { errno: NbdErrno.EINVAL, message: 'the range does not end within the export' },
  pastEndWrite: { errno: NbdErrno.ENOSPC, message: 'the range does not end within the export' },
  alignment: {
    errno: NbdErrno.EINVAL,
    message: 'offset and length must be multiples of the minimum block size',
  },
  payloadLength: { errno: NbdErrno.EINVAL, message: 'the length is above the maximum payload' },
  fragmentLength: {
    errno: NbdErrno.EOVERFLOW,
    message: 'the length is too long to be read in one fragment',
  },
  effectLength: {
    errno: NbdErrno.EOVERFLOW,
    message: 'the length is above what the device does at a time',
  },
  notFast: { errno: NbdErrno.ENOTSUP, message: 'the device has no fast way to write these zeroes' },
} as const satisfies Readonly<Record<string, Refusal>>;

/** The longest message above, in bytes; they are ASCII. */
export const REFUSAL_BYTES_MAX = 128;
