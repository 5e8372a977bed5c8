import { IserNbdError } from '../common/errors.js';
import type { ErrorFacts } from '../common/errors.js';
import { loginStatusText } from './codes.js';

/** The peer broke the protocol. The connection it happened on ends. */
export class IscsiProtocolError extends IserNbdError {
  override readonly name = 'IscsiProtocolError';

  constructor(message: string, facts: ErrorFacts = {}) {
    super('iscsi-protocol', message, facts);
  }
}

/** A session could not be set up: refused by the target, or by us because of what the target answered. */
export class IscsiLoginError extends IserNbdError {
  override readonly name = 'IscsiLoginError';

  /** The target's own refusal (RFC 7143 11.13.5), in words; `code` is `iscsi-login-CCDD` in hexadecimal. */
  static fromStatus(statusClass: number, statusDetail: number, facts: ErrorFacts): IscsiLoginError {
    const digits = hexByte(statusClass) + hexByte(statusDetail);
    return new IscsiLoginError(
      `iscsi-login-${digits}`,
      `the target refused the login with status ${digits}: ${loginStatusText(statusClass, statusDetail)}`,
      { ...facts, statusClass, statusDetail },
    );
  }
}

/** A session that was up has ended, or one of its control operations failed. */
export class IscsiSessionError extends IserNbdError {
  override readonly name = 'IscsiSessionError';
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
