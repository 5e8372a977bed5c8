import { IserNbdError } from '../common/errors.js';
import type { ErrorFacts } from '../common/errors.js';
import { loginStatusText } from './codes.js';

/** The peer broke the protocol. Its connection ends. */
export class IscsiProtocolError extends IserNbdError {
  override readonly name = 'IscsiProtocolError';

  constructor(message: string, facts: ErrorFacts = {}) {
    super('iscsi-protocol', message, facts);
  }
}

/** A session could not be set up: the target refused the login, or we refused the target's answer. */
export class IscsiLoginError extends IserNbdError {
  override readonly name = 'IscsiLoginError';

  /**
   * The target refused the login (RFC 7143 11.13.5). `code` is `iscsi-login-CCDD`, with class and detail in
   * hexadecimal.
   */
  static fromStatus(statusClass: number, statusDetail: number, facts: ErrorFacts): IscsiLoginError {
    const digits = hexByte(statusClass) + hexByte(statusDetail);
    return new IscsiLoginError(
      `iscsi-login-${digits}`,
      `the target refused the login with status ${digits}: ${loginStatusText(statusClass, statusDetail)}`,
      { ...facts, statusClass, statusDetail },
    );
  }
}

/** An established session has ended, or one of its control operations failed. */
export class IscsiSessionError extends IserNbdError {
  override readonly name = 'IscsiSessionError';
}

function hexByte(value: number): string {
  return value.toString(16).padStart(2, '0');
}
