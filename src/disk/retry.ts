/**
 * Decides what to do after a command has ended. This layer may resend each of its commands. A read changes nothing. A
 * write, WRITE SAME or UNMAP writes the same bytes to the same place; its requester has had no answer yet, so no
 * later write can depend on it. A COMPARE AND WRITE that the device did execute finds its own data. A command that
 * may still be executing (`connectionLost`) is never resent: it could take effect after a later write to the same
 * place.
 */
import { DeliveryOutcome } from '../scsi/port.js';
import type { ScsiCommand } from '../scsi/port.js';
import {
  ABORTED_RETRIES_MAX,
  BUSY_DELAY_MAX_MS,
  BUSY_DELAY_MIN_MS,
  BUSY_TOTAL_MS,
  TIMEOUT_RETRIES_MAX,
  UNIT_ATTENTION_RETRIES_MAX,
} from './limits.js';
import { Asc, SenseKey, decodeSense } from '../scsi/sense.js';
import type { Sense } from '../scsi/sense.js';
import { ScsiStatus, scsiStatusName } from '../scsi/wire.js';

/** How a command ended, as a reason to resend it or not. */
export type Verdict =
  | 'succeeded'
  /** The command was not executed: the device reported a unit attention first (SAM-5 5.14). */
  | 'unitAttention'
  /** The command was not executed: the device reported the failure of an earlier, completed command (SPC-4 4.5.5). */
  | 'deferredError'
  /** The command was stopped before its end and certainly no longer executes. */
  | 'aborted'
  /** The command had no answer in time and certainly no longer executes. */
  | 'timedOut'
  /** COMPARE AND WRITE found different data and wrote nothing. */
  | 'mismatch'
  /** The command was not executed; resend it later. */
  | 'busy'
  | 'failed';

/** Judges a command that has ended. Puts its sense data into `sense`, or clears `sense`. */
export function judge(command: ScsiCommand, sense: Sense): Verdict {
  sense.clear();
  switch (command.outcome) {
    case DeliveryOutcome.delivered:
      return judgeStatus(command, sense);
    case DeliveryOutcome.aborted:
      return 'aborted';
    case DeliveryOutcome.timedOut:
      return 'timedOut';
    case DeliveryOutcome.connectionLost:
    case DeliveryOutcome.dataMissing:
      return 'failed';
  }
}

function judgeStatus(command: ScsiCommand, sense: Sense): Verdict {
  switch (command.status) {
    case ScsiStatus.good:
    case ScsiStatus.conditionMet:
      return 'succeeded';
    case ScsiStatus.busy:
    case ScsiStatus.taskSetFull:
      return 'busy';
    case ScsiStatus.taskAborted:
      return 'aborted';
    case ScsiStatus.checkCondition:
      decodeSense(command.sense, command.senseLength, sense);
      return judgeSense(sense);
    default:
      return 'failed';
  }
}

function judgeSense(sense: Sense): Verdict {
  if (sense.deferred) return 'deferredError';
  switch (sense.key) {
    case SenseKey.recoveredError:
      // SPC-4 4.5.6, RECOVERED ERROR: the command completed after a recovery action.
      return 'succeeded';
    case SenseKey.unitAttention:
      return 'unitAttention';
    case SenseKey.abortedCommand:
      return 'aborted';
    case SenseKey.miscompare:
      return 'mismatch';
    case SenseKey.notReady:
      return isTransient(sense.asc) ? 'busy' : 'failed';
    default:
      return 'failed';
  }
}

function isTransient(asc: number): boolean {
  return asc === Asc.becomingReady || asc === Asc.asymmetricAccessTransition;
}

/** `BUSY`, `connection lost`, or the sense data in words. */
export function describeFailure(command: ScsiCommand, sense: Sense): string {
  switch (command.outcome) {
    case DeliveryOutcome.delivered:
      return command.status === ScsiStatus.checkCondition
        ? sense.toString()
        : scsiStatusName(command.status);
    case DeliveryOutcome.connectionLost:
      return 'connection lost';
    case DeliveryOutcome.timedOut:
      return 'timed out';
    case DeliveryOutcome.aborted:
      return 'aborted';
    case DeliveryOutcome.dataMissing:
      return `the target sent ${command.dataLength - command.residual} of ${command.dataLength} bytes and says it sent more`;
  }
}

/** Counts the retries of one command, and decides whether to allow one more. */
export class RetryBudget {
  #attentionCount = 0;
  #abortedCount = 0;
  #timeoutCount = 0;
  #busyCount = 0;
  #busySinceMs = 0;
  #isFresh = true;

  reset(): void {
    if (this.#isFresh) return;
    this.#isFresh = true;
    this.#attentionCount = 0;
    this.#abortedCount = 0;
    this.#timeoutCount = 0;
    this.#busyCount = 0;
  }

  /** Milliseconds to wait before the next attempt. 0 for an attempt at once, -1 for no further attempt. */
  delayMs(verdict: Verdict, nowMs: number): number {
    this.#isFresh = false;
    switch (verdict) {
      case 'unitAttention':
      case 'deferredError':
        return this.#attentionCount++ < UNIT_ATTENTION_RETRIES_MAX ? 0 : -1;
      case 'aborted':
        return this.#abortedCount++ < ABORTED_RETRIES_MAX ? 0 : -1;
      case 'timedOut':
        return this.#timeoutCount++ < TIMEOUT_RETRIES_MAX ? 0 : -1;
      case 'busy': {
        if (this.#busyCount === 0) this.#busySinceMs = nowMs;
        if (nowMs - this.#busySinceMs >= BUSY_TOTAL_MS) return -1;
        return Math.min(
          BUSY_DELAY_MAX_MS,
          BUSY_DELAY_MIN_MS * 2 ** Math.min(this.#busyCount++, 10),
        );
      }
      default:
        return -1;
    }
  }
}
