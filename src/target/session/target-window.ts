import { serialAdd, serialLess } from '../../iscsi/serial.js';
import type { ResponseNumbers } from '../../iscsi/wire.js';

/**
 * What is to be done with a command PDU. `drop`: outside of the window, to be ignored silently (RFC 7143 4.2.2.1).
 * `gap`: inside, but an earlier one is missing; on a session's only connection it will never come.
 */
export type CommandAdmission = 'accept' | 'drop' | 'gap';

/**
 * The target's side of a session's numbers. The window moves when a command ends, not when it arrives, so that
 * never more than `size` are outstanding:
 *
 *     ... | ended | outstanding | may come     | closed ...
 *                               ^expCmdSn      ^maxCmdSn + 1
 */
export class TargetWindow {
  #expCmdSn: number;
  #maxCmdSn: number;
  #statSn: number;

  constructor(cmdSn: number, statSn: number, size: number) {
    this.#expCmdSn = cmdSn;
    this.#maxCmdSn = serialAdd(cmdSn, size - 1);
    this.#statSn = statSn;
  }

  get expCmdSn(): number {
    return this.#expCmdSn;
  }

  get maxCmdSn(): number {
    return this.#maxCmdSn;
  }

  /** Decides about a PDU, and counts it when it is accepted. Immediate ones are outside of the numbering. */
  admit(cmdSn: number, isImmediate: boolean): CommandAdmission {
    if (isImmediate) return 'accept';
    if (cmdSn === this.#expCmdSn) {
      if (serialLess(this.#maxCmdSn, cmdSn)) return 'drop';
      this.#expCmdSn = serialAdd(cmdSn, 1);
      return 'accept';
    }
    const isInside = serialLess(this.#expCmdSn, cmdSn) && !serialLess(this.#maxCmdSn, cmdSn);
    return isInside ? 'gap' : 'drop';
  }

  /** A counted command has ended: one more may come. */
  ended(): void {
    this.#maxCmdSn = serialAdd(this.#maxCmdSn, 1);
  }

  /** Numbers a response. */
  stamp(pdu: ResponseNumbers): void {
    pdu.statSn = this.#statSn;
    pdu.expCmdSn = this.#expCmdSn;
    pdu.maxCmdSn = this.#maxCmdSn;
    this.#statSn = serialAdd(this.#statSn, 1);
  }

  /** Numbers a NOP-In that nobody asked for: it shows the next StatSN without using it (RFC 7143 11.19). */
  stampUnsolicited(pdu: ResponseNumbers): void {
    pdu.statSn = this.#statSn;
    pdu.expCmdSn = this.#expCmdSn;
    pdu.maxCmdSn = this.#maxCmdSn;
  }
}
