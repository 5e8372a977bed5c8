import { randomBytes as systemRandomBytes } from 'node:crypto';
import { formatAddress } from '../common/address.js';
import type { Clock } from '../common/clock.js';
import { messageOf } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { checkChapCredentials } from '../iscsi/chap.js';
import { ChapAlgorithm } from '../iscsi/chap-algorithm.js';
import type { ChapCredentials, RandomBytes } from '../iscsi/chap.js';
import type { DatamoverConnection } from '../iscsi/datamover.js';
import { IscsiLoginError } from '../iscsi/errors.js';
import { checkIscsiName, checkTargetName } from '../iscsi/iscsi-name.js';
import { LOGIN_REDIRECTS_MAX } from './limits.js';
import { InitiatorLogin, randomIsid } from './login.js';
import type { Isid } from './login.js';
import { loginTimeout, runLogin } from './login-shell.js';
import type { LoginShellOutcome } from './login-shell.js';
import { initiatorOffers } from './offers.js';
import { withScopeOf } from '../iscsi/portal.js';
import type { Portal } from '../iscsi/portal.js';
import { IscsiSession } from './session.js';
import { DEFAULT_TIMEOUTS } from './timeouts.js';
import type { IscsiTimeouts } from './timeouts.js';

/** The options of every login, for a normal or a discovery session. */
export interface InitiatorOptions {
  /** Connects a datamover. Its errors reach the caller unchanged. */
  readonly connect: (portal: Portal) => Promise<DatamoverConnection>;
  readonly portal: Portal;
  readonly initiatorName: string;
  readonly credentials?: ChapCredentials | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** A cryptographically strong generator; node:crypto by default. */
  readonly randomBytes?: RandomBytes | undefined;
  readonly timeouts?: Partial<IscsiTimeouts> | undefined;
}

/** The name of a discovery session in logs. */
const DISCOVERY_NAME = 'discovery';

/** Connects and logs in to `targetName`, or opens a discovery session when it is null. See connect.ts. */
export async function openSession(
  options: InitiatorOptions,
  targetName: string | null,
): Promise<IscsiSession> {
  checkIscsiName(options.initiatorName, 'initiator');
  if (targetName !== null) checkTargetName(targetName);
  if (options.credentials !== undefined) checkChapCredentials(options.credentials);
  const attempt = new LoginAttempt(options, targetName);
  let { portal } = options;
  for (let redirects = 0; redirects <= LOGIN_REDIRECTS_MAX; redirects++) {
    const outcome = await attempt.at(portal);
    if ('session' in outcome) return outcome.session;
    options.log.info(
      {
        from: formatAddress(portal),
        to: formatAddress(outcome.redirect),
        permanent: outcome.isPermanent,
      },
      'the target redirects the login',
    );
    portal = withScopeOf(outcome.redirect, portal);
  }
  throw new IscsiLoginError(
    'iscsi-login-redirects',
    `the login was redirected more than ${LOGIN_REDIRECTS_MAX} times`,
    { portal: formatAddress(options.portal) },
  );
}

/** The logins of one call, all within one time limit. */
class LoginAttempt {
  readonly #options: InitiatorOptions;
  readonly #targetName: string | null;
  readonly #timeouts: IscsiTimeouts;
  readonly #randomBytes: RandomBytes;
  readonly #isid: Isid;
  readonly #deadlineMs: number;
  #credentials: ChapCredentials | undefined;

  constructor(options: InitiatorOptions, targetName: string | null) {
    this.#options = options;
    this.#targetName = targetName;
    this.#credentials = options.credentials;
    this.#timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
    this.#randomBytes = options.randomBytes ?? systemRandomBytes;
    this.#isid = randomIsid(this.#randomBytes);
    this.#deadlineMs = options.clock.nowMs() + this.#timeouts.loginMs;
  }

  async at(portal: Portal): Promise<LoginShellOutcome<IscsiSession>> {
    try {
      return await this.#attempt(portal);
    } catch (error) {
      const md5Alone = this.#md5Alone(error);
      if (md5Alone === null) throw error;
      const { log } = this.#options;
      log.warn(
        { portal: formatAddress(portal) },
        'the target accepts none of the offered CHAP algorithms; trying MD5 alone, as chapAlgorithms allows',
      );
      this.#credentials = md5Alone;
      return this.#attempt(portal);
    }
  }

  /**
   * The credentials for a second try with MD5 alone, or null. Some old targets know only MD5, and answer a list of
   * algorithms as if the secret were wrong. An attacker on the path could send the same answer, so the second try
   * needs a user who has named MD5.
   */
  #md5Alone(error: unknown): ChapCredentials | null {
    const credentials = this.#credentials;
    const algorithms = credentials?.algorithms ?? [];
    if (!(error instanceof IscsiLoginError) || error.code !== 'iscsi-chap-list-refused')
      return null;
    if (credentials === undefined || algorithms.length < 2) return null;
    if (!algorithms.includes(ChapAlgorithm.md5)) return null;
    return { ...credentials, algorithms: [ChapAlgorithm.md5] };
  }

  async #attempt(portal: Portal): Promise<LoginShellOutcome<IscsiSession>> {
    const datamover = await this.#connect(portal);
    try {
      const outcome = await this.#login(datamover, formatAddress(portal));
      if ('redirect' in outcome) await this.#terminate(datamover);
      return outcome;
    } catch (error) {
      await this.#terminate(datamover);
      throw error;
    }
  }

  #login(datamover: DatamoverConnection, portal: string): Promise<LoginShellOutcome<IscsiSession>> {
    const { initiatorName, clock, log } = this.#options;
    const targetName = this.#targetName;
    const login = new InitiatorLogin({
      initiatorName,
      targetName,
      credentials: this.#credentials,
      offers: initiatorOffers(datamover.limits),
      dataBytesMax: datamover.limits.controlDataBytesMax,
      isid: this.#isid,
      randomBytes: this.#randomBytes,
    });
    const name = targetName ?? DISCOVERY_NAME;
    return runLogin({
      datamover,
      login,
      clock,
      timeoutMs: this.#remainingMs,
      complete: (result, tasks) =>
        new IscsiSession({
          targetName: name,
          portalName: portal,
          datamover,
          tasks,
          login: result,
          timeouts: this.#timeouts,
          clock,
          log: log.child({ target: name, portal }),
        }),
    });
  }

  /** Connects within the time left. Ends a connection that is established too late. */
  #connect(portal: Portal): Promise<DatamoverConnection> {
    const { clock, connect } = this.#options;
    return new Promise((resolve, reject) => {
      let isLate = false;
      const timer = clock.after(this.#remainingMs, () => {
        isLate = true;
        reject(loginTimeout(this.#timeouts.loginMs, formatAddress(portal)));
      });
      connect(portal).then(
        (datamover) => {
          timer.cancel();
          if (isLate) void this.#terminate(datamover);
          else resolve(datamover);
        },
        (error: unknown) => {
          timer.cancel();
          reject(error instanceof Error ? error : new Error(messageOf(error)));
        },
      );
    });
  }

  get #remainingMs(): number {
    return Math.max(0, this.#deadlineMs - this.#options.clock.nowMs());
  }

  /** Waits until the datamover has ended its connection, but only for a limited time. */
  #terminate(datamover: DatamoverConnection): Promise<void> {
    const { clock, log } = this.#options;
    return new Promise((resolve) => {
      const timer = clock.after(this.#timeouts.closeMs, resolve);
      datamover
        .terminate()
        .catch((error: unknown) => log.warn({ err: error }, 'a connection could not be ended'))
        .finally(() => {
          timer.cancel();
          resolve();
        });
    });
  }
}
