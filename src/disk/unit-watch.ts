import { StateMachine } from '../common/state-machine.js';
import type { Edges } from '../common/state-machine.js';
import type { Clock, Timer } from '../common/clock.js';
import { messageOf } from '../common/errors.js';
import type { ScsiLog } from './control.js';
import { ScsiError } from './errors.js';
import { compareIdentities, describeIdentity, identityOf } from './identity.js';
import type { UnitIdentity } from './identity.js';
import type { InspectedUnit } from './inspect.js';
import { LOOKS_IN_A_ROW_MAX, LOOK_PERIOD_MS, LOOK_SPACING_MS, REGAIN_PERIOD_MS } from './limits.js';

/**
 * How sure the disk is that its port still reaches the logical unit that was opened.
 *
 *     trusted ──attention──> checking ──it is the same──> trusted
 *        │                      ├─────it is another────> foreign ──it is back──> trusted
 *        │ it is missing        └─────it cannot be told─> doubtful
 *        └─────────────────────────────────────────────────^ │ a request needs to know, or time has passed
 *                               checking <───────────────────┘
 *     trusted ──a look finds another disk──> foreign
 *     every state but `lost` ──the path is gone──> lost
 */
export type UnitTrust = 'trusted' | 'checking' | 'doubtful' | 'foreign' | 'lost';

const EDGES: Edges<UnitTrust> = {
  trusted: ['checking', 'doubtful', 'foreign', 'lost'],
  checking: ['trusted', 'doubtful', 'foreign', 'lost'],
  doubtful: ['checking', 'lost'],
  foreign: ['trusted', 'lost'],
  lost: [],
};

/** What a {@link UnitWatch} needs from its disk. */
export interface UnitWatchHost {
  /** For logs: target and LUN. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: ScsiLog;
  /**
   * Reads the properties of the unit.
   * @throws ScsiError when the unit cannot be inspected
   */
  inspect(): Promise<InspectedUnit>;
  /** Takes over the new properties of the same unit. Returns why they cannot be used, or null. */
  adopt(unit: InspectedUnit): string | null;
  /** The trust has changed. */
  trustChanged(trust: UnitTrust): void;
}

/**
 * Inspects a logical unit repeatedly, so that the disk does not rely on old knowledge: after unit attentions that may
 * mean another disk, before a client attaches, and at intervals, because some targets report nothing.
 */
export class UnitWatch {
  readonly identity: UnitIdentity;
  readonly #host: UnitWatchHost;
  readonly #machine = new StateMachine('the trust in a unit', EDGES, 'trusted');
  /** Why the unit cannot be used, for people. */
  #reason = '';
  #looking: Promise<void> | null = null;
  #looksAgain = false;
  #lookedAtMs: number;
  #timer: Timer | null = null;
  #isClosed = false;

  /**
   * `unit` has just been inspected. `expected` is the identity that the unit must have; null takes the identity of
   * `unit`.
   */
  constructor(host: UnitWatchHost, unit: InspectedUnit, expected: UnitIdentity | null = null) {
    this.#host = host;
    this.identity = expected ?? identityOf(unit);
    this.#lookedAtMs = host.clock.nowMs();
    this.#arm(LOOK_PERIOD_MS);
  }

  get trust(): UnitTrust {
    return this.#machine.state;
  }

  /** The port may reach another disk. Until the watch knows, the disk sends no command and accepts no result. */
  attend(): void {
    if (this.#machine.state === 'trusted') this.#enter('checking');
    this.#looksAgain = true;
    void this.#look();
  }

  /** The unit is missing, or does not behave as a disk. */
  doubt(reason: string): void {
    if (this.#looking !== null) {
      this.attend();
      return;
    }
    if (this.#machine.state !== 'trusted') return;
    this.#reason = reason;
    this.#enter('doubtful');
    this.#arm(LOOK_SPACING_MS);
  }

  /**
   * Requests wait for a doubtful unit. The watch inspects the unit as soon as LOOK_SPACING_MS have passed since the
   * last inspection.
   */
  demand(): void {
    if (this.#machine.state === 'doubtful' && this.#looking === null) this.#arm(this.#spacingMs);
  }

  /** A property of the unit has changed, but the unit is the same. */
  noteChange(): void {
    this.#looksAgain = true;
    void this.#look();
  }

  /**
   * Inspects the unit, unless the last inspection is recent.
   * @throws ScsiError when the unit cannot be used
   */
  async refresh(): Promise<void> {
    if (this.#machine.state !== 'lost' && (this.#looking !== null || this.#spacingMs === 0)) {
      await this.#look();
    }
    if (this.#machine.state === 'trusted') return;
    const { name } = this.#host;
    throw new ScsiError('scsi-unit-unusable', `${name}: ${this.#reason}`, { lun: name });
  }

  /** The path has ended. */
  lose(reason: string): void {
    if (this.#machine.state === 'lost') return;
    this.#reason = reason;
    this.#timer?.cancel();
    this.#enter('lost');
  }

  /** Resolves when no inspection is under way. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  /** The time until a client may cause the next inspection. */
  get #spacingMs(): number {
    return Math.max(0, this.#lookedAtMs + LOOK_SPACING_MS - this.#host.clock.nowMs());
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    if (this.#isClosed || this.#machine.state === 'lost') return;
    this.#timer = this.#host.clock.after(delayMs, () => void this.#look());
  }

  #look(): Promise<void> {
    this.#looking ??= this.#lookUntilSettled().finally(() => {
      this.#looking = null;
      this.#lookedAtMs = this.#host.clock.nowMs();
      // An attention that arrived between the end of the last inspection and this callback.
      if (this.#looksAgain && this.#machine.state !== 'lost') void this.#look();
      else this.#arm(this.#machine.state === 'trusted' ? LOOK_PERIOD_MS : REGAIN_PERIOD_MS);
    });
    return this.#looking;
  }

  /** Inspects the unit again when an attention arrives during an inspection. Never rejects. */
  async #lookUntilSettled(): Promise<void> {
    if (this.#machine.state === 'doubtful') this.#enter('checking');
    for (let count = 1; ; count++) {
      this.#looksAgain = false;
      const found = await this.#inspect();
      if (this.#machine.state === 'lost') return;
      if (!this.#looksAgain) {
        this.#judge(found);
        return;
      }
      if (count === LOOKS_IN_A_ROW_MAX) {
        this.#looksAgain = false;
        this.#cannotTell(new Error('the unit reports one unit attention after another'));
        return;
      }
    }
  }

  #inspect(): Promise<InspectedUnit | Error> {
    return this.#host.inspect().catch((error: unknown) => {
      return error instanceof Error ? error : new Error(messageOf(error));
    });
  }

  #judge(found: InspectedUnit | Error): void {
    if (found instanceof Error) this.#cannotTell(found);
    else if (compareIdentities(this.identity, identityOf(found)) === 'other') this.#isOther(found);
    else {
      const problem = this.#host.adopt(found);
      if (problem === null) this.#isSame();
      else this.#becomeForeign(problem);
    }
  }

  #isSame(): void {
    if (this.#machine.state === 'trusted') return;
    const { name, log } = this.#host;
    if (this.#machine.state === 'foreign') log.warn({ lun: name }, 'the right disk is back');
    this.#enter('trusted');
  }

  #isOther(found: InspectedUnit): void {
    const other = describeIdentity(identityOf(found));
    this.#becomeForeign(
      `another disk is there: ${other}, where ${describeIdentity(this.identity)} was`,
    );
  }

  /** Logs each reason once, not at every inspection. */
  #becomeForeign(reason: string): void {
    const { name, log } = this.#host;
    if (this.#machine.state === 'foreign' && reason === this.#reason) return;
    this.#reason = reason;
    const facts = { lun: name, reason };
    log.error(
      facts,
      'the disk is not the one that was exported; every request fails until it is back',
    );
    if (this.#machine.state !== 'foreign') this.#enter('foreign');
  }

  /**
   * An inspection failed. A trusted unit stays trusted when the failure says nothing about the unit, such as a
   * timeout.
   */
  #cannotTell(error: Error): void {
    const { name, log } = this.#host;
    const isSilence = error instanceof ScsiError && SILENCE.includes(error.code);
    log.warn({ lun: name, reason: error.message }, 'the disk could not be inspected');
    this.#reason = error.message;
    if (this.#machine.state === 'checking' || (this.#machine.state === 'trusted' && !isSilence)) {
      this.#enter('doubtful');
    }
  }

  #enter(next: UnitTrust): void {
    this.#machine.enter(next);
    this.#host.trustChanged(next);
  }
}

/** Inspection errors that say nothing about the unit. */
const SILENCE: readonly string[] = [
  'scsi-timeout',
  'scsi-aborted',
  'scsi-connection-lost',
  'scsi-status',
  'scsi-no-buffer',
];
