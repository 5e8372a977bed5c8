import { serialAdd, serialLess } from '../../iscsi/serial.js';
import type { ResponseNumbers } from '../../iscsi/wire.js';

/**
 * The decision about a command PDU. `drop`: its CmdSN is outside the window; ignore it silently (RFC 7143 4.2.2.1).
 * `gap`: an earlier CmdSN is missing, and on the only connection of a session it will never arrive.
 */
export type CommandAdmission = 'accept' | 'drop' | 'gap';

/**
 * The target's sequence numbers of a session. The window moves when a command ends, not when it arrives, so that at
 * most `size` commands are outstanding:
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

  /** Decides about a PDU, and counts an accepted PDU. Immediate PDUs are not counted. */
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

  /** A counted PDU has ended. The window opens by one. */
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

  /** Numbers an unsolicited NOP-In: it shows the next StatSN but does not use it (RFC 7143 11.19). */
  stampUnsolicited(pdu: ResponseNumbers): void {
    pdu.statSn = this.#statSn;
    pdu.expCmdSn = this.#expCmdSn;
    pdu.maxCmdSn = this.#maxCmdSn;
  }
}
