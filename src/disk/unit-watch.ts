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
 * How far the logical unit behind a port is known to be the one that was opened.
 *
 *     trusted ──attention──> checking ──it is the same──> trusted
 *        │                      ├─────it is another────> foreign ──it is back──> trusted
 *        │ it is missing        └─────it cannot be told─> doubtful
 *        └─────────────────────────────────────────────────^ │ a request needs to know, or time has passed
 *                               checking <───────────────────┘
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

/** What a {@link UnitWatch} does for, and to, the disk that it is part of. */
export interface UnitWatchHost {
  /** For logs: target and LUN. */
  readonly name: string;
  readonly clock: Clock;
  readonly log: ScsiLog;
  /** Asks the unit for all that is to be known of it. @throws ScsiError */
  inspect(): Promise<InspectedUnit>;
  /** Takes over what the same unit tells of itself now. A string says why that cannot be used. */
  adopt(unit: InspectedUnit): string | null;
  /** The trust has changed. */
  trustChanged(trust: UnitTrust): void;
}

/**
 * Looks at a logical unit again and again, so that nothing which was learned of it once is taken to hold for ever: after
 * attentions that mean that another disk may be there, before clients rely on it, and from time to time, for some targets
 * never say a word.
 */
export class UnitWatch {
  readonly identity: UnitIdentity;
  readonly #host: UnitWatchHost;
  readonly #machine = new StateMachine('the trust in a unit', EDGES, 'trusted');
  /** Why the unit cannot be used; for people. */
  #reason = '';
  #looking: Promise<void> | null = null;
  #looksAgain = false;
  #lookedAtMs: number;
  #timer: Timer | null = null;
  #isClosed = false;

  /** `unit` was inspected just now. `expected` is the identity that it must have, where that was known before. */
  constructor(host: UnitWatchHost, unit: InspectedUnit, expected: UnitIdentity | null = null) {
    this.#host = host;
    this.identity = expected ?? identityOf(unit);
    this.#lookedAtMs = host.clock.nowMs();
    this.#arm(LOOK_PERIOD_MS);
  }

  get trust(): UnitTrust {
    return this.#machine.state;
  }

  /** Another disk may be there now: nothing is to be sent, nor believed, until that is known. */
  attend(): void {
    if (this.#machine.state === 'trusted') this.#enter('checking');
    this.#looksAgain = true;
    void this.#look();
  }

  /** The unit is missing, or does not answer as a disk. */
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

  /** Requests wait for a doubtful unit: looks at once, or when the last look is long enough ago. */
  demand(): void {
    if (this.#machine.state === 'doubtful' && this.#looking === null) this.#arm(this.#spacingMs);
  }

  /** Something about the unit has changed, but not which one it is. */
  noteChange(): void {
    this.#looksAgain = true;
    void this.#look();
  }

  /**
   * Looks unless the last look is recent. @throws ScsiError when the unit cannot be used
   */
  async refresh(): Promise<void> {
    if (this.#machine.state !== 'lost' && (this.#looking !== null || this.#spacingMs === 0)) {
      await this.#look();
    }
    if (this.#machine.state === 'trusted') return;
    const { name } = this.#host;
    throw new ScsiError('scsi-unit-unusable', `${name}: ${this.#reason}`, { lun: name });
  }

  /** The path is gone. */
  lose(reason: string): void {
    if (this.#machine.state === 'lost') return;
    this.#reason = reason;
    this.#timer?.cancel();
    this.#enter('lost');
  }

  /** Resolves when no look is under way any more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#timer?.cancel();
    await this.#looking;
  }

  /** What is left until the next look may begin that nobody but a client has asked for. */
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
      // An attention that came when this look was as good as over.
      if (this.#looksAgain && this.#machine.state !== 'lost') void this.#look();
      else this.#arm(this.#machine.state === 'trusted' ? LOOK_PERIOD_MS : REGAIN_PERIOD_MS);
    });
    return this.#looking;
  }

  /** An attention that comes while it looks makes it look once more. Never rejects. */
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
        this.#cannotTell(new Error('it has one unit attention after the other'));
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

  /** Says so once for each reason, however often it looks. */
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

  /** A look that found nothing out. Whoever was trusted before it is trusted still, if only the answer took too long. */
  #cannotTell(error: Error): void {
    const { name, log } = this.#host;
    const isSilence = error instanceof ScsiError && SILENCE.includes(error.code);
    log.warn({ lun: name, reason: error.message }, 'the disk could not be looked at');
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

/** Errors of a look that say nothing of the unit. */
const SILENCE: readonly string[] = [
  'scsi-timeout',
  'scsi-aborted',
  'scsi-connection-lost',
  'scsi-status',
  'scsi-no-buffer',
];
