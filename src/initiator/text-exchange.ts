import type { Clock, Timer } from '../common/clock.js';
import { IserNbdError } from '../common/errors.js';
import type { ControlPlane } from './control-plane.js';
import { IscsiProtocolError, IscsiSessionError } from '../iscsi/errors.js';
import { TEXT_EXCHANGES_MAX, TEXT_WHOLE_TIMEOUT_MS } from './limits.js';
import { DISCOVERY_TEXT_BYTES_MAX } from '../iscsi/limits.js';
import type { TextResponsePdu } from '../iscsi/response-wire.js';
import type { ControlHandler } from './task-slot.js';
import { TextCollector, encodeText } from '../iscsi/text.js';
import type { TextPair } from '../iscsi/text.js';
import { RESERVED_TAG } from '../iscsi/wire.js';

/**
 * One text negotiation in full feature phase (RFC 7143 11.10 and 11.11): a request, and as many answers as the target
 * needs. An answer with F=0 has a transfer tag. An empty request with that tag asks for the next answer.
 */
export class InitiatorTextExchange implements ControlHandler {
  readonly #control: ControlPlane;
  readonly #limits: { readonly controlDataBytesMax: number };
  readonly #collector = new TextCollector(DISCOVERY_TEXT_BYTES_MAX);
  #answers = 0;
  /** Limits the time from one answer to the next. A long list takes many answers. */
  #timer: Timer | null = null;
  #expectAnswer: () => void = () => undefined;
  #settle: ((outcome: Uint8Array | IserNbdError) => void) | null = null;

  constructor(control: ControlPlane, limits: { readonly controlDataBytesMax: number }) {
    this.#control = control;
    this.#limits = limits;
  }

  /** Runs the exchange, once. Resolves with the bytes of the answer. The reader of the bytes checks them. */
  run(pairs: readonly TextPair[], wait: { clock: Clock; timeoutMs: number }): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      const data = encodeText(pairs, this.#limits.controlDataBytesMax);
      const deadline = wait.clock.after(TEXT_WHOLE_TIMEOUT_MS, () => {
        this.#timeOut(`finish its text answer within ${TEXT_WHOLE_TIMEOUT_MS} ms`);
      });
      this.#expectAnswer = () => {
        this.#timer?.cancel();
        this.#timer = wait.clock.after(wait.timeoutMs, () => {
          this.#timeOut(`go on with its text answer within ${wait.timeoutMs} ms`);
        });
      };
      this.#expectAnswer();
      this.#settle = (outcome) => {
        deadline.cancel();
        this.#timer?.cancel();
        if (outcome instanceof IserNbdError) reject(outcome);
        else resolve(outcome);
      };
      this.#control.text(data, this);
    });
  }

  onText(response: TextResponsePdu | null, view: DataView, offset: number, length: number): void {
    if (this.#settle === null) return;
    if (response === null) {
      this.#finish(
        new IscsiSessionError('iscsi-text-rejected', 'the target did not answer the text request'),
      );
      return;
    }
    try {
      this.#take(response, view, offset, length);
    } catch (error) {
      if (error instanceof IserNbdError) this.#finish(error);
      throw error;
    }
  }

  #take(response: TextResponsePdu, view: DataView, offset: number, length: number): void {
    if (response.final && (response.continues || response.targetTransferTag !== RESERVED_TAG)) {
      throw new IscsiProtocolError('the last text answer says that another answer follows');
    }
    this.#collector.append(view, offset, length);
    if (response.final) {
      this.#finish(this.#collector.takeBytes());
      return;
    }
    if (response.targetTransferTag === RESERVED_TAG) {
      throw new IscsiProtocolError('a text answer is not the last, but has no transfer tag');
    }
    if (++this.#answers > TEXT_EXCHANGES_MAX) {
      throw new IscsiProtocolError(`a text answer takes more than ${TEXT_EXCHANGES_MAX} PDUs`);
    }
    this.#expectAnswer();
    this.#control.continueText(response);
  }

  #timeOut(what: string): void {
    this.#finish(new IscsiSessionError('iscsi-text-timeout', `the target did not ${what}`));
  }

  #finish(outcome: Uint8Array | IserNbdError): void {
    const settle = this.#settle;
    this.#settle = null;
    settle?.(outcome);
  }
}
