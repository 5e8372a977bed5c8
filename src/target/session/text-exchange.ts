import { IscsiProtocolError } from '../../iscsi/errors.js';
import { KeyAnswer, isReservedAnswer } from '../../iscsi/keys.js';
import { formatAddress } from '../../common/address.js';
import { iscsiNameKey } from '../../iscsi/iscsi-name.js';
import { DISCOVERY_TEXT_BYTES_MAX } from '../../iscsi/limits.js';
import { TextCollector, encodeText } from '../../iscsi/text.js';
import type { TextPair } from '../../iscsi/text.js';
import { RESERVED_TAG } from '../../iscsi/wire.js';
import type { PortalAddress } from '../../transport/verbs.js';
import { TARGET_SEND_DATA_BYTES_MAX, TEXT_REQUEST_BYTES_MAX } from './limits.js';

/** The longest answer: the limit of our own initiator. */
const ANSWER_BYTES_MAX = DISCOVERY_TEXT_BYTES_MAX;
const LISTING_BYTES_MAX = ANSWER_BYTES_MAX / 2;

/** The contents of a SendTargets answer. */
export interface TargetListing {
  readonly targetName: string;
  readonly portalGroupTag: number;
  /** The addresses of the target. Empty: the address that the initiator already uses (RFC 7143 appendix C). */
  readonly addresses: readonly PortalAddress[];
}

/** The relevant fields of a text request. */
export interface TextRequest {
  readonly final: boolean;
  readonly continues: boolean;
  readonly targetTransferTag: number;
}

/**
 * The target's side of text negotiation in full feature phase (RFC 7143 7.4): SendTargets, and NotUnderstood for
 * every other key. The answer is sent in parts of 128 bytes, because Linux initiators have room for 128 bytes
 * whatever they declare. An empty request asks for each next part. Pure.
 */
export class TargetTextExchange {
  /** The part to send next, and the fields of its response. */
  piece: Uint8Array = new Uint8Array();
  isFinal = true;
  /** The answer continues after this part. */
  continues = false;
  targetTransferTag = RESERVED_TAG;
  readonly #listing: TargetListing;
  readonly #isDiscovery: boolean;
  readonly #collector = new TextCollector(TEXT_REQUEST_BYTES_MAX);
  #answer: Uint8Array = new Uint8Array();
  #sentBytes = 0;
  #lastTag = 0;

  constructor(listing: TargetListing, isDiscovery: boolean) {
    this.#listing = listing;
    this.#isDiscovery = isDiscovery;
  }

  /**
   * Takes a request with its data segment and sets the response's fields.
   * @throws IscsiProtocolError for text that cannot be answered; the exchange has ended then
   */
  receive(request: TextRequest, view: DataView, offset: number, length: number): void {
    const { targetTransferTag } = request;
    if (targetTransferTag !== RESERVED_TAG && targetTransferTag !== this.targetTransferTag) {
      this.#end();
      throw new IscsiProtocolError('a text request continues an exchange that does not exist');
    }
    if (request.final && request.continues) {
      this.#end();
      throw new IscsiProtocolError('a text request has both the F bit and the C bit');
    }
    // A request without a transfer tag starts a new exchange and ends the present one (RFC 7143 11.10.4).
    if (targetTransferTag === RESERVED_TAG) this.#end();
    try {
      this.#collector.append(view, offset, length);
      if (request.continues) {
        this.#continue(new Uint8Array(), false);
        return;
      }
      const isNextPiece = this.#sentBytes < this.#answer.length && length === 0;
      if (!isNextPiece)
        this.#start(encodeText(this.#answersTo(this.#collector.take()), ANSWER_BYTES_MAX));
      this.#sendPiece(request.final);
    } catch (error) {
      this.#end();
      throw error;
    }
  }

  #start(answer: Uint8Array): void {
    this.#answer = answer;
    this.#sentBytes = 0;
  }

  #sendPiece(isRequestFinal: boolean): void {
    const end = Math.min(this.#answer.length, this.#sentBytes + TARGET_SEND_DATA_BYTES_MAX);
    const piece = this.#answer.subarray(this.#sentBytes, end);
    this.#sentBytes = end;
    const continues = end < this.#answer.length;
    // A final response to a request that is not final would be a protocol error (RFC 7143 11.11.1).
    if (continues || !isRequestFinal) {
      this.#continue(piece, continues);
      return;
    }
    this.#end();
    this.piece = piece;
  }

  /** Sets a response that is not final. */
  #continue(piece: Uint8Array, continues: boolean): void {
    this.piece = piece;
    this.continues = continues;
    this.isFinal = false;
    if (this.targetTransferTag !== RESERVED_TAG) return;
    this.#lastTag = (this.#lastTag + 1) % RESERVED_TAG;
    this.targetTransferTag = this.#lastTag;
  }

  #end(): void {
    this.piece = new Uint8Array();
    this.isFinal = true;
    this.continues = false;
    this.targetTransferTag = RESERVED_TAG;
    this.#answer = new Uint8Array();
    this.#sentBytes = 0;
  }

  #answersTo(pairs: readonly TextPair[]): TextPair[] {
    const answers: TextPair[] = [];
    for (const { key, value } of pairs) {
      if (key === 'SendTargets') answers.push(...this.#sendTargets(value));
      else if (!isReservedAnswer(value)) answers.push({ key, value: KeyAnswer.notUnderstood });
    }
    return answers;
  }

  /**
   * RFC 7143 appendix C: `All` is for discovery sessions. An empty value, in a normal session, means the session's
   * target.
   */
  #sendTargets(wanted: string): TextPair[] {
    const { targetName, portalGroupTag, addresses } = this.#listing;
    if (wanted === 'All' && !this.#isDiscovery) {
      return [{ key: 'SendTargets', value: KeyAnswer.reject }];
    }
    const isMeant =
      wanted === 'All' ||
      iscsiNameKey(wanted) === iscsiNameKey(targetName) ||
      (wanted === '' && !this.#isDiscovery);
    if (!isMeant) return [];
    const answer = [{ key: 'TargetName', value: targetName }];
    let bytes = 0;
    for (const { host, port } of addresses) {
      // The scope of an address is valid on this machine only, so it is removed (RFC 4007 9).
      const address = formatAddress({ host: host.replace(/%.*$/, ''), port });
      const pair = { key: 'TargetAddress', value: `${address},${portalGroupTag}` };
      bytes += pair.key.length + Buffer.byteLength(pair.value) + 2;
      // A truncated list is better than a refused request.
      if (bytes > LISTING_BYTES_MAX) break;
      answer.push(pair);
    }
    return answer;
  }
}
