import { randomBytes } from 'node:crypto';
import { ChapTarget } from '../../../src/iscsi/chap.js';
import type { ChapIdentity } from '../../../src/iscsi/chap.js';
import type { KeyWishes } from '../../../src/iscsi/keys.js';
import { KeyNegotiation } from '../../../src/iscsi/negotiation.js';
import { LoginRequestPdu, decodeLoginRequest } from '../../../src/iscsi/request-wire.js';
import { LoginResponsePdu, encodeLoginResponse } from '../../../src/iscsi/response-wire.js';
import { TextCollector, encodeText, pairsByKey } from '../../../src/iscsi/text.js';
import type { TextPair } from '../../../src/iscsi/text.js';

export interface LoginTargetOptions {
  readonly wishes?: KeyWishes;
  readonly chap?: { readonly users: Record<string, Uint8Array>; readonly mutual?: ChapIdentity };
  /** What a list of CHAP algorithms gets from a target that knows one algorithm and no lists. */
  readonly listOfAlgorithms?: 'refusal' | 'nothing' | 'Reject';
  /** Answers in pieces of this many bytes, with the C bit. */
  readonly pieceBytes?: number;
  /** Changes a response before it goes out; `data` may be replaced by returning it. */
  readonly tamper?: (response: LoginResponsePdu, pairs: TextPair[]) => TextPair[] | void;
}

export interface LoginAnswer {
  readonly bhs: Uint8Array;
  readonly data: Uint8Array;
  readonly response: LoginResponsePdu;
}

export const LOGIN_TARGET_WISHES: KeyWishes = {
  RDMAExtensions: true,
  TargetPortalGroupTag: 1,
  ImmediateData: true,
  MaxBurstLength: 262144,
  FirstBurstLength: 65536,
  TargetRecvDataSegmentLength: 8192,
};

/** A target's login in the fewest words, for tests of the initiator's. */
export class LoginTarget {
  readonly requests: { pdu: LoginRequestPdu; pairs: Map<string, string> }[] = [];
  readonly #options: LoginTargetOptions;
  readonly #negotiation: KeyNegotiation;
  readonly #collector = new TextCollector(8192);
  readonly #chap: ChapTarget | null;
  #chapState: 'start' | 'challenge' | 'verify' | 'done' = 'start';
  #statSn = 100;
  #unsent: Uint8Array = new Uint8Array(0);

  constructor(options: LoginTargetOptions = {}) {
    this.#options = options;
    this.#negotiation = new KeyNegotiation('target', options.wishes ?? LOGIN_TARGET_WISHES);
    const { chap } = options;
    this.#chap =
      chap === undefined
        ? null
        : new ChapTarget({
            secretOf: (user) => chap.users[user] ?? null,
            mutual: chap.mutual,
            randomBytes,
          });
  }

  answer(bhs: Uint8Array, data: Uint8Array): LoginAnswer {
    const pdu = new LoginRequestPdu();
    decodeLoginRequest(new DataView(bhs.buffer, bhs.byteOffset, bhs.length), 0, pdu);
    this.#collector.append(new DataView(data.buffer, data.byteOffset, data.length), 0, data.length);
    const response = new LoginResponsePdu();
    response.currentStage = pdu.currentStage;
    response.isidHigh = pdu.isidHigh;
    response.isidLow = pdu.isidLow;
    response.initiatorTaskTag = pdu.initiatorTaskTag;
    response.statSn = this.#statSn++;
    response.expCmdSn = pdu.cmdSn;
    response.maxCmdSn = pdu.cmdSn + 63;
    if (this.#unsent.length === 0) {
      const pairs = pdu.continues ? [] : this.#reply(pdu, response);
      this.#unsent = encodeText(this.#options.tamper?.(response, pairs) ?? pairs, 8192);
    }
    const text = this.#unsent.subarray(0, this.#options.pieceBytes ?? 8192);
    this.#unsent = this.#unsent.subarray(text.length);
    if (this.#unsent.length > 0) {
      response.continues = true;
      response.transit = false;
      response.nextStage = 0;
      response.tsih = 0;
    }
    response.dataSegmentLength = text.length;
    const out = new Uint8Array(48);
    encodeLoginResponse(new DataView(out.buffer), 0, response);
    return { bhs: out, data: text, response };
  }

  #reply(pdu: LoginRequestPdu, response: LoginResponsePdu): TextPair[] {
    const pairs = this.#collector.take();
    this.requests.push({
      pdu: Object.assign(new LoginRequestPdu(), pdu),
      pairs: pairsByKey(pairs),
    });
    const security = pairs.filter(({ key }) => key === 'AuthMethod' || key.startsWith('CHAP_'));
    const others = pairs.filter((pair) => !security.includes(pair));
    const sessionType = pairs.find(({ key }) => key === 'SessionType')?.value;
    if (sessionType === 'Discovery') this.#negotiation.sessionType = 'Discovery';
    const answers = [...this.#negotiation.receive(others), ...this.#negotiation.offers()];
    const mayLeave =
      pdu.currentStage !== 0 || this.#authenticate(pairsByKey(security), answers, response);
    if (pdu.transit && mayLeave) {
      response.transit = true;
      response.nextStage = pdu.nextStage;
      if (pdu.nextStage === 3) response.tsih = 7;
    }
    return answers;
  }

  /** Adds the security answers; true when nothing is missing. */
  #authenticate(
    keys: Map<string, string>,
    answers: TextPair[],
    response: LoginResponsePdu,
  ): boolean {
    if (this.#chap === null) {
      if (keys.has('AuthMethod')) answers.push({ key: 'AuthMethod', value: 'None' });
      return true;
    }
    switch (this.#chapState) {
      case 'start':
        answers.push({ key: 'AuthMethod', value: 'CHAP' });
        this.#chapState = 'challenge';
        return false;
      case 'challenge': {
        const { listOfAlgorithms } = this.#options;
        if (listOfAlgorithms !== undefined && keys.get('CHAP_A') !== '5') {
          if (listOfAlgorithms === 'refusal') response.statusClass = 2;
          if (listOfAlgorithms === 'refusal') response.statusDetail = 1;
          if (listOfAlgorithms === 'Reject') answers.push({ key: 'CHAP_A', value: 'Reject' });
          return false;
        }
        answers.push(...this.#chap.challenge(keys));
        this.#chapState = 'verify';
        return false;
      }
      case 'verify':
        answers.push(...this.#chap.verify(keys).proof);
        this.#chapState = 'done';
        return true;
      case 'done':
        return true;
    }
  }
}
