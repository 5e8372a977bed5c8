import { assert } from '../common/assert.js';
import type { Clock } from '../common/clock.js';
import type { DatamoverConnection, DatamoverHandler, DatamoverTask } from '../iscsi/datamover.js';
import { IscsiLoginError } from '../iscsi/errors.js';
import type { InitiatorLogin, LoginResult, LoginStep } from './login.js';
import type { TargetAddress } from '../iscsi/portal.js';

/** The result of a login on one connection that did not fail. */
export type LoginShellOutcome<T> =
  { readonly redirect: TargetAddress; readonly isPermanent: boolean } | { readonly session: T };

/**
 * Runs a login over a connected datamover, within `timeoutMs`. Calls `complete` in the same turn as the last answer,
 * and `complete` takes over the datamover's handler, so that no PDU is lost. Rejects when the login fails; the caller
 * then ends the datamover.
 */
export function runLogin<T>(options: {
  datamover: DatamoverConnection;
  login: InitiatorLogin;
  clock: Clock;
  timeoutMs: number;
  complete: (result: LoginResult, tasks: readonly DatamoverTask[]) => T;
}): Promise<LoginShellOutcome<T>> {
  return new Promise((resolve, reject) => {
    const shell = new LoginShell(options, resolve, reject);
    shell.start();
  });
}

class LoginShell<T> implements DatamoverHandler {
  readonly #options: Parameters<typeof runLogin<T>>[0];
  readonly #resolve: (outcome: LoginShellOutcome<T>) => void;
  readonly #reject: (error: unknown) => void;
  readonly #timer;
  #tasks: readonly DatamoverTask[] | null = null;
  #isOver = false;

  constructor(
    options: Parameters<typeof runLogin<T>>[0],
    resolve: (outcome: LoginShellOutcome<T>) => void,
    reject: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#resolve = resolve;
    this.#reject = reject;
    this.#timer = options.clock.after(options.timeoutMs, () => {
      this.#fail(loginTimeout(options.timeoutMs, options.datamover.peerName));
    });
  }

  start(): void {
    this.#options.datamover.handler = this;
    this.#attempt(() => this.#take(this.#options.login.start()));
  }

  controlNotify(view: DataView, bhsOffset: number, dataOffset: number, dataLength: number): void {
    if (this.#isOver) return;
    const { login } = this.#options;
    this.#attempt(() => this.#take(login.receive(view, bhsOffset, dataOffset, dataLength)));
  }

  taskByTag(): null {
    return null;
  }

  terminateNotify(error: Error | null): void {
    const { peerName } = this.#options.datamover;
    const why = error === null ? 'the target closed the connection' : error.message;
    this.#fail(
      new IscsiLoginError(
        'iscsi-login-lost',
        `the connection to ${peerName} was lost during login: ${why}; some targets refuse a login in this way: check the initiator name, its ACL at the target and the CHAP secret`,
        { portal: peerName },
        error ?? undefined,
      ),
    );
  }

  #take(step: LoginStep): void {
    const { datamover } = this.#options;
    switch (step.type) {
      case 'send':
        if (step.entersFullFeature) this.#prepareFullFeature();
        datamover.sendControl(step.bhs, step.data);
        return;
      case 'redirect':
        this.#end();
        this.#resolve({ redirect: step.portal, isPermanent: step.isPermanent });
        return;
      case 'done': {
        assert(this.#tasks !== null, 'full feature phase came without its request');
        const session = this.#options.complete(step.result, this.#tasks);
        this.#end();
        this.#resolve({ session });
      }
    }
  }

  /** Posts the receives for full feature phase, because the target may send such PDUs directly after its answer. */
  #prepareFullFeature(): void {
    if (this.#tasks !== null) return;
    const { datamover } = this.#options;
    const count = datamover.limits.tasksMax;
    assert(count >= 2, 'the datamover has a task for a command and one for a control PDU');
    this.#tasks = datamover.allocateTasks(count);
    datamover.enterFullFeature();
  }

  #attempt(action: () => void): void {
    try {
      action();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (this.#isOver) return;
    this.#end();
    this.#reject(error);
  }

  #end(): void {
    this.#isOver = true;
    this.#timer.cancel();
  }
}

export function loginTimeout(timeoutMs: number, peerName: string): IscsiLoginError {
  return new IscsiLoginError(
    'iscsi-login-timeout',
    `${peerName} did not complete the login within ${timeoutMs} ms; a target may serve one login at a time`,
    { portal: peerName, timeoutMs },
  );
}
