import type { ControlPlane } from './control-plane.js';
import { IscsiSessionError } from '../iscsi/errors.js';
import { DEADLINE_TICK_MS } from './limits.js';
import type { IscsiTimeouts } from './timeouts.js';

/** The number of clock ticks that last at least `milliseconds`. */
export function ticksFor(milliseconds: number): number {
  return Math.ceil(milliseconds / DEADLINE_TICK_MS) + 1;
}

/**
 * Detects a target that is dead or stuck. Pings a silent target, because LIO never pings on iSER. Detects a command
 * window that stays closed. The caller counts the time in ticks.
 */
export class Liveness {
  readonly #control: ControlPlane;
  readonly #timeouts: IscsiTimeouts;
  #heard = true;
  #heardTick = 0;
  /** The tick by which the target must answer the ping; 0 without a ping. */
  #pingDeadlineTick = 0;
  #progressTick = 0;

  constructor(control: ControlPlane, timeouts: IscsiTimeouts) {
    this.#control = control;
    this.#timeouts = timeouts;
  }

  /** A PDU arrived. */
  heard(): void {
    this.#heard = true;
  }

  /** `isShut`: commands wait, no command is outstanding, and the window is closed. Returns the error, or null. */
  tick(nowTick: number, isShut: boolean): IscsiSessionError | null {
    if (this.#heard) {
      this.#heard = false;
      this.#heardTick = nowTick;
    }
    return this.#checkWindow(nowTick, isShut) ?? this.#checkPing(nowTick);
  }

  #checkWindow(nowTick: number, isShut: boolean): IscsiSessionError | null {
    if (!isShut) this.#progressTick = nowTick;
    if (nowTick - this.#progressTick < ticksFor(this.#timeouts.commandMs)) return null;
    return new IscsiSessionError(
      'iscsi-window-shut',
      `the target has not accepted commands for ${this.#timeouts.commandMs} ms`,
    );
  }

  #checkPing(nowTick: number): IscsiSessionError | null {
    const { pingIntervalMs, pingMs } = this.#timeouts;
    if (this.#pingDeadlineTick !== 0) {
      if (nowTick < this.#pingDeadlineTick) return null;
      return new IscsiSessionError(
        'iscsi-ping-timeout',
        `the target did not answer a ping within ${pingMs} ms`,
      );
    }
    if (nowTick - this.#heardTick < Math.ceil(pingIntervalMs / DEADLINE_TICK_MS)) return null;
    const isSent = this.#control.ping({
      onAnswer: () => {
        this.#pingDeadlineTick = 0;
      },
    });
    if (isSent) this.#pingDeadlineTick = nowTick + ticksFor(pingMs);
    return null;
  }
}
