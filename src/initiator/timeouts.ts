import {
  ABORT_TIMEOUT_MS,
  SESSION_CLOSE_TIMEOUT_MS,
  COMMAND_TIMEOUT_MS,
  LOGIN_TIMEOUT_MS,
  LOGOUT_TIMEOUT_MS,
  PING_INTERVAL_MS,
  PING_TIMEOUT_MS,
  RESET_TIMEOUT_MS,
  TEXT_TIMEOUT_MS,
} from './limits.js';

/** How long a session waits for its peer, in milliseconds. */
export interface IscsiTimeouts {
  /** For connection and login, including redirections. */
  readonly loginMs: number;
  /** For a command whose own timeout is 0. */
  readonly commandMs: number;
  readonly abortMs: number;
  readonly resetMs: number;
  readonly logoutMs: number;
  readonly textMs: number;
  readonly pingIntervalMs: number;
  readonly pingMs: number;
  readonly closeMs: number;
}

export const DEFAULT_TIMEOUTS: IscsiTimeouts = {
  loginMs: LOGIN_TIMEOUT_MS,
  commandMs: COMMAND_TIMEOUT_MS,
  abortMs: ABORT_TIMEOUT_MS,
  resetMs: RESET_TIMEOUT_MS,
  logoutMs: LOGOUT_TIMEOUT_MS,
  textMs: TEXT_TIMEOUT_MS,
  pingIntervalMs: PING_INTERVAL_MS,
  pingMs: PING_TIMEOUT_MS,
  closeMs: SESSION_CLOSE_TIMEOUT_MS,
};
