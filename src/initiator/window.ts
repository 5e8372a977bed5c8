import { IscsiProtocolError } from '../iscsi/errors.js';
import { serialAdd, serialLess } from '../iscsi/serial.js';

/**
 * The command window of a session (RFC 7143 4.2.2.1). The target accepts CmdSN from ExpCmdSN to MaxCmdSN. It silently
 * drops a command beyond MaxCmdSN, and LIO then loses a receive buffer for ever.
 *
 *     ... | acknowledged | outstanding  | may be sent      | closed ...
 *                        ^expCmdSn      ^cmdSn             ^maxCmdSn + 1
 */
export class CommandWindow {
  /** The CmdSN of the next command. */
  #cmdSn: number;
  #expCmdSn: number;
  #maxCmdSn: number;
  #sizeMax = 0;

  constructor(cmdSn: number, expCmdSn: number, maxCmdSn: number) {
    this.#cmdSn = cmdSn >>> 0;
    this.#expCmdSn = cmdSn >>> 0;
    this.#maxCmdSn = serialAdd(cmdSn, -1);
    this.update(expCmdSn, maxCmdSn);
  }

  get cmdSn(): number {
    return this.#cmdSn;
  }

  get expCmdSn(): number {
    return this.#expCmdSn;
  }

  get maxCmdSn(): number {
    return this.#maxCmdSn;
  }

  get isOpen(): boolean {
    return !serialLess(this.#maxCmdSn, this.#cmdSn);
  }

  /** The number of commands that the target takes now, besides those that it has acknowledged. Load makes it smaller. */
  get size(): number {
    return (this.#maxCmdSn - this.#expCmdSn + 1) >>> 0;
  }

  /** The largest {@link size} so far: what the target takes when it is idle. */
  get sizeMax(): number {
    return this.#sizeMax;
  }

  /** Takes the CmdSN of the next command. The caller has checked {@link isOpen}. */
  take(): number {
    const cmdSn = this.#cmdSn;
    this.#cmdSn = serialAdd(cmdSn, 1);
    return cmdSn;
  }

  /**
   * Takes ExpCmdSN and MaxCmdSN from a response. Ignores old values (responses may overtake each other inside a
   * target) and impossible pairs, as the RFC requires.
   * @throws IscsiProtocolError when the target acknowledges a command that was not sent
   */
  update(expCmdSn: number, maxCmdSn: number): void {
    if (serialLess(maxCmdSn, serialAdd(expCmdSn, -1))) return;
    if (serialLess(this.#cmdSn, expCmdSn)) {
      throw new IscsiProtocolError(
        `the target expects CmdSN ${expCmdSn}, but the next command is ${this.#cmdSn}`,
        { expCmdSn, cmdSn: this.#cmdSn },
      );
    }
    if (serialLess(this.#expCmdSn, expCmdSn)) this.#expCmdSn = expCmdSn;
    if (serialLess(this.#maxCmdSn, maxCmdSn)) this.#maxCmdSn = maxCmdSn;
    this.#sizeMax = Math.max(this.#sizeMax, this.size);
  }
}

/**
 * The status numbers of a connection (RFC 7143 4.2.2.2), which we acknowledge with ExpStatSN. A gap is not an error:
 * a multi-threaded target such as LIO may send two responses in the opposite order of their numbers. At error
 * recovery level 0 nothing is requested again, and a reliable transport loses nothing.
 */
export class StatusSequence {
  #expStatSn: number;

  constructor(expStatSn: number) {
    this.#expStatSn = expStatSn >>> 0;
  }

  get expStatSn(): number {
    return this.#expStatSn;
  }

  received(statSn: number): void {
    const next = serialAdd(statSn, 1);
    if (serialLess(this.#expStatSn, next)) this.#expStatSn = next;
  }
}
