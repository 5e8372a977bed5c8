import { soon } from '../common/later.js';
import { assert } from '../common/assert.js';
import type { Clock } from '../common/clock.js';
import { ConfigError } from '../common/errors.js';
import type { IserNbdError } from '../common/errors.js';
import type { Logger } from '../observe/log.js';
import { DeliveryOutcome } from '../scsi/port.js';
import type { ScsiCommand } from '../scsi/port.js';
import { IscsiConnection } from './connection.js';
import type { ConnectionOwner } from './connection.js';
import type { DatamoverConnection, DatamoverTask } from '../iscsi/datamover.js';
import { IscsiSessionError } from '../iscsi/errors.js';
import type { LoginResult } from './login.js';
import { LunPort } from './lun-port.js';
import type { LunPortOwner } from './lun-port.js';
import { sessionParameters } from './session-parameters.js';
import type { SessionParameters } from './session-parameters.js';
import { InitiatorTextExchange } from './text-exchange.js';
import type { TextPair } from '../iscsi/text.js';
import type { IscsiTimeouts } from './timeouts.js';
import { LUN_MAX, encodeLun } from '../scsi/lun.js';

export interface SessionOptions {
  readonly targetName: string;
  readonly portalName: string;
  readonly datamover: DatamoverConnection;
  readonly tasks: readonly DatamoverTask[];
  readonly login: LoginResult;
  readonly timeouts: IscsiTimeouts;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * An iSCSI session after its login (RFC 7143 4.4.3): its logical units, the commands that wait, and its one
 * connection. Name, ports and queues of the session are here. The state of the connection is in
 * {@link IscsiConnection}, so that a session could get a new connection after the loss of the old one.
 */
export class IscsiSession implements ConnectionOwner, LunPortOwner {
  readonly targetName: string;
  readonly parameters: SessionParameters;
  readonly #options: SessionOptions;
  readonly #connection: IscsiConnection;
  readonly #ports: LunPort[] = [];
  /** Commands that ended before they were sent. Their `done` is called in a later turn, never inside `execute`. */
  #unsent: ScsiCommand[] = [];
  #unsentScheduled = false;
  readonly #reportUnsent = (): void => this.#tellUnsent();
  #queuedCount = 0;
  /** The index of the port that sends next from its queue. */
  #turn = 0;
  #isClosed = false;
  #isEnded = false;
  #endError: IserNbdError | null = null;
  #onEnded: (() => void)[] = [];

  constructor(options: SessionOptions) {
    this.#options = options;
    this.targetName = options.targetName;
    this.parameters = sessionParameters(options);
    this.#connection = new IscsiConnection({
      datamover: options.datamover,
      tasks: options.tasks,
      login: options.login,
      immediateBytesMax: this.parameters.immediateBytesMax,
      owner: this,
      timeouts: options.timeouts,
      clock: options.clock,
      log: options.log,
    });
    options.datamover.handler = this.#connection;
  }

  get transferBytesMax(): number {
    return this.parameters.transferBytesMax;
  }

  get verifiesDataIn(): boolean {
    return this.#options.datamover.limits.countsDataIn;
  }

  get queueDepth(): number {
    const { commandsMax, window } = this.#connection;
    return Math.max(1, Math.min(commandsMax, window.sizeMax));
  }

  get hasQueued(): boolean {
    return this.#queuedCount > 0;
  }

  /** Commands that were sent and have not ended. */
  get outstandingCount(): number {
    return this.#connection.commandCount;
  }

  get isUp(): boolean {
    return this.#connection.isUp && !this.#isClosed;
  }

  /**
   * The path to LUN `lun`; always the same object. `lunHigh` is the encoding from the target's list, if known.
   * @throws ConfigError when `lun` exceeds the range of a LUN field
   */
  lun(lun: number, lunHigh?: number): LunPort {
    if (!Number.isInteger(lun) || lun < 0 || lun > LUN_MAX) {
      throw new ConfigError('lun-range', `LUN ${lun} is not between 0 and ${LUN_MAX}`, { lun });
    }
    const address = { lun, lunHigh: lunHigh ?? encodeLun(lun) };
    const known = this.#ports.find((port) => port.lunHigh === address.lunHigh);
    if (known !== undefined) return known;
    const port = new LunPort(this, address, this.targetName);
    this.#ports.push(port);
    return port;
  }

  execute(port: LunPort, command: ScsiCommand): void {
    if (!this.isUp) {
      this.#endLater(command, DeliveryOutcome.connectionLost);
      return;
    }
    if (!port.isResetting && port.firstQueued === null && this.#connection.canTake(command)) {
      this.#connection.send(command, port);
      return;
    }
    port.enqueue(command);
    this.#queuedCount++;
  }

  resetLogicalUnit(port: LunPort): Promise<void> {
    return new Promise((resolve, reject) => {
      if (!this.isUp) throw this.#lostError();
      if (port.isResetting) {
        throw new IscsiSessionError('iscsi-reset-busy', `${port.name} is being reset already`);
      }
      this.#connection.taskManager.resetLogicalUnit(port, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  questionOutstanding(port: LunPort): void {
    if (this.isUp) this.#connection.taskManager.questionOutstanding(port);
  }

  /** Sends keys, such as SendTargets, in full feature phase. Resolves with the bytes of the whole answer. */
  exchangeText(pairs: readonly TextPair[]): Promise<Uint8Array> {
    if (!this.isUp) return Promise.reject(this.#lostError());
    const { clock, timeouts } = this.#options;
    return new InitiatorTextExchange(this.#connection.control, this.parameters).run(pairs, {
      clock,
      timeoutMs: timeouts.textMs,
    });
  }

  /**
   * Logs out. Waiting commands end as `connectionLost`. Outstanding commands have a limited time to finish. Resolves
   * when the session has ended; never rejects. Listeners hear nothing, because the end is intended.
   */
  close(): Promise<void> {
    const ended = this.#isEnded
      ? Promise.resolve()
      : new Promise<void>((resolve) => this.#onEnded.push(resolve));
    if (this.#isClosed) return ended;
    this.#isClosed = true;
    this.#failQueued();
    this.#connection.drain(null, this.#options.timeouts.logoutMs);
    return ended;
  }

  /** Sends waiting commands, one per port in turn, as long as the window and the task table allow. */
  capacityFreed(): void {
    if (this.#queuedCount === 0) return;
    let skipped = 0;
    while (this.#queuedCount > 0 && skipped < this.#ports.length && this.#connection.canSend) {
      this.#turn = (this.#turn + 1) % this.#ports.length;
      const port = this.#ports[this.#turn];
      const command = port === undefined || port.isResetting ? null : port.firstQueued;
      if (port === undefined || command === null || !this.#connection.canTake(command)) {
        skipped++;
        continue;
      }
      skipped = 0;
      port.dequeue();
      this.#queuedCount--;
      if (command.requester.isGone) this.#endLater(command, DeliveryOutcome.aborted);
      else this.#connection.send(command, port);
    }
  }

  connectionEnded(error: IserNbdError | null): void {
    assert(!this.#isEnded, 'the connection ended twice');
    this.#isEnded = true;
    this.#endError = error;
    this.#failQueued();
    const isWanted = this.#isClosed;
    this.#isClosed = true;
    const reason = this.#lostError().message;
    this.#options.log.info({ reason }, 'session ended');
    if (!isWanted) for (const port of this.#ports) port.listener?.onPortLost(reason);
    for (const tell of this.#onEnded.splice(0)) tell();
  }

  #failQueued(): void {
    for (const port of this.#ports) {
      for (let command = port.dequeue(); command !== null; command = port.dequeue()) {
        this.#endLater(command, DeliveryOutcome.connectionLost);
      }
    }
    this.#queuedCount = 0;
  }

  #endLater(command: ScsiCommand, outcome: DeliveryOutcome): void {
    command.outcome = outcome;
    this.#unsent.push(command);
    if (this.#unsentScheduled) return;
    this.#unsentScheduled = true;
    soon(this.#reportUnsent);
  }

  #tellUnsent(): void {
    this.#unsentScheduled = false;
    const unsent = this.#unsent;
    this.#unsent = [];
    for (const command of unsent) {
      command.residual = command.dataLength;
      command.senseLength = 0;
      command.done(command);
    }
  }

  #lostError(): IscsiSessionError {
    const { portalName } = this.#options;
    const why = this.#endError?.message ?? 'it was closed';
    return new IscsiSessionError(
      this.#endError?.code ?? 'iscsi-session-closed',
      `the session with ${this.targetName} at ${portalName} has ended: ${why}`,
      { target: this.targetName, portal: portalName },
      this.#endError ?? undefined,
    );
  }
}
