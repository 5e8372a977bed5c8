import type { DatamoverLimits } from '../iscsi/datamover.js';
import type { KeyValues } from '../iscsi/keys.js';
import type { LoginResult } from './login.js';
import type { AuthMethod } from './login-authentication.js';
import type { SessionType } from '../iscsi/negotiation.js';

/** The parameters of a session, for people and for the layers above. */
export interface SessionParameters {
  readonly targetName: string;
  readonly portal: string;
  readonly sessionType: SessionType;
  /** Hexadecimal, 12 digits. */
  readonly isid: string;
  readonly tsih: number;
  readonly authMethod: AuthMethod;
  /** The keys that the target declared, such as portal group tag and alias. */
  readonly declared: Partial<KeyValues>;
  readonly keys: KeyValues;
  /** A write up to this length sends its data with the command; 0 for no write. */
  readonly immediateBytesMax: number;
  /** The longest data of one command. */
  readonly transferBytesMax: number;
  /** The longest data segment of a text request. */
  readonly controlDataBytesMax: number;
  /** The target's command window at the end of the login. */
  readonly commandWindow: number;
}

/** RFC 7143 11.3.4: the expected data transfer length has 32 bits. */
const TRANSFER_BYTES_MAX = 2 ** 32 - 1;

export function sessionParameters(options: {
  readonly targetName: string;
  readonly portalName: string;
  readonly datamover: { readonly limits: DatamoverLimits };
  readonly login: LoginResult;
}): SessionParameters {
  const { login } = options;
  const { keys, declared, isid } = login;
  const { limits } = options.datamover;
  return {
    targetName: options.targetName,
    portal: options.portalName,
    sessionType: login.sessionType,
    isid: isid.high.toString(16).padStart(8, '0') + isid.low.toString(16).padStart(4, '0'),
    tsih: login.tsih,
    authMethod: login.authMethod,
    declared,
    keys,
    immediateBytesMax: keys.ImmediateData ? immediateBytes(keys, limits) : 0,
    transferBytesMax: Math.min(limits.transferBytesMax, TRANSFER_BYTES_MAX),
    controlDataBytesMax: Math.min(limits.controlDataBytesMax, keys.TargetRecvDataSegmentLength),
    commandWindow: (login.maxCmdSn - login.expCmdSn + 1) >>> 0,
  };
}

function immediateBytes(keys: KeyValues, limits: DatamoverLimits): number {
  return Math.min(
    limits.immediateBytesMax,
    keys.TargetRecvDataSegmentLength,
    keys.FirstBurstLength,
    keys.MaxBurstLength,
  );
}
