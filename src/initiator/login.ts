import { listRefused } from '../iscsi/chap.js';
import type { ChapCredentials, RandomBytes } from '../iscsi/chap.js';
import { LoginStage, LoginStatus, PduOpcode, opcodeName } from '../iscsi/codes.js';
import { BHS_BYTES } from '../iscsi/wire.js';
import { IscsiLoginError, IscsiProtocolError } from '../iscsi/errors.js';
import type { ErrorFacts } from '../common/errors.js';
import { isSecurityKey } from '../iscsi/keys.js';
import type { KeyValues, KeyWishes } from '../iscsi/keys.js';
import { LOGIN_EXCHANGES_MAX, TEXT_BYTES_MAX } from '../iscsi/limits.js';
import { InitiatorAuthentication } from './login-authentication.js';
import type { AuthMethod } from './login-authentication.js';
import { KeyNegotiation } from '../iscsi/negotiation.js';
import type { SessionType } from '../iscsi/negotiation.js';
import { parseTargetAddress } from '../iscsi/portal.js';
import type { TargetAddress } from '../iscsi/portal.js';
import { LoginRequestPdu, encodeLoginRequest } from '../iscsi/request-wire.js';
import { LoginResponsePdu, decodeLoginResponse } from '../iscsi/response-wire.js';
import { TextCollector, encodeText } from '../iscsi/text.js';
import type { TextPair } from '../iscsi/text.js';
import { opcodeAt } from '../iscsi/wire.js';
import { serialAdd } from '../iscsi/serial.js';

export interface LoginOptions {
  readonly initiatorName: string;
  /** Null for a discovery session. */
  readonly targetName: string | null;
  readonly credentials?: ChapCredentials | undefined;
  readonly offers: KeyWishes;
  /** The longest data segment of one request. */
  readonly dataBytesMax: number;
  readonly isid: Isid;
  readonly randomBytes: RandomBytes;
  readonly cmdSn?: number | undefined;
}

/** RFC 7143 11.12.5: the initiator's part of the session identifier. */
export interface Isid {
  readonly high: number;
  readonly low: number;
}

/** The next step. `bhs` and `data` are borrowed until the next call of the machine. */
export type LoginStep =
  /** `entersFullFeature`: the answer to this request may start full feature phase. */
  | { type: 'send'; bhs: Uint8Array; data: Uint8Array; entersFullFeature: boolean }
  | { type: 'redirect'; portal: TargetAddress; isPermanent: boolean }
  | { type: 'done'; result: LoginResult };

/** The result of a login. */
export interface LoginResult {
  readonly sessionType: SessionType;
  readonly isid: Isid;
  readonly tsih: number;
  readonly authMethod: AuthMethod;
  readonly keys: KeyValues;
  readonly declared: Partial<KeyValues>;
  readonly cmdSn: number;
  readonly expStatSn: number;
  readonly expCmdSn: number;
  readonly maxCmdSn: number;
}

/** The login is the first and only task of its connection. */
const LOGIN_TASK_TAG = 0;
const VERSION = 0;
const NO_DATA = new Uint8Array(0);

/** A random ISID (type 10b): 24 random bits and a random qualifier. */
export function randomIsid(randomBytes: RandomBytes): Isid {
  const [a = 0, b = 0, c = 0, d = 0, e = 0] = randomBytes(5);
  return { high: ((0x80 << 24) | (a << 16) | (b << 8) | c) >>> 0, low: (d << 8) | e };
}

/**
 * The initiator's login (RFC 7143 6.3 and 11.12-11.13), without I/O. One request is outstanding at a time. Each
 * answer gives the next step. {@link receive} throws {@link IscsiLoginError} when either side refuses, and
 * {@link IscsiProtocolError} when the target breaks the protocol.
 *
 *     security ──T──▶ operational ──T──▶ full feature (done)
 *         └──────────────┴── status class 1 ──▶ redirect
 */
export class InitiatorLogin {
  readonly #options: LoginOptions;
  readonly #authentication: InitiatorAuthentication;
  readonly #negotiation: KeyNegotiation;
  readonly #collector = new TextCollector(TEXT_BYTES_MAX);
  readonly #bhs = new Uint8Array(BHS_BYTES);
  readonly #bhsView = new DataView(this.#bhs.buffer);
  readonly #request = new LoginRequestPdu();
  readonly #response = new LoginResponsePdu();
  #stage: LoginStage = LoginStage.security;
  /** The text of the current step that is not sent yet, and whether the step asks to leave the stage. */
  #text: Uint8Array = NO_DATA;
  #wantsTransit = false;
  #expStatSn = 0;
  #hasStatSn = false;
  #exchanges = 0;

  constructor(options: LoginOptions) {
    this.#options = options;
    this.#authentication = new InitiatorAuthentication(options.credentials, options.randomBytes);
    this.#negotiation = new KeyNegotiation(
      'initiator',
      {
        ...options.offers,
        InitiatorName: options.initiatorName,
        SessionType: options.targetName === null ? 'Discovery' : 'Normal',
        ...(options.targetName === null ? {} : { TargetName: options.targetName }),
      },
      options.targetName === null ? 'Discovery' : 'Normal',
    );
  }

  /** The first request. Call once. */
  start(): LoginStep {
    const names = this.#negotiation.offers(['InitiatorName', 'TargetName', 'SessionType']);
    const { pairs, isDone } = this.#authentication.start();
    return this.#sendText([...names, ...pairs], isDone);
  }

  /** Takes a PDU: BHS at `view[bhsOffset ..)`, data segment at `view[dataOffset .. dataOffset + dataLength)`. */
  receive(view: DataView, bhsOffset: number, dataOffset: number, dataLength: number): LoginStep {
    const opcode = opcodeAt(view, bhsOffset);
    if (opcode !== PduOpcode.loginResponse) {
      throw new IscsiProtocolError(`the target sent a ${opcodeName(opcode)} during login`);
    }
    const response = this.#response;
    decodeLoginResponse(view, bhsOffset, response);
    this.#checkHeader(response);
    if (response.statusClass !== 0) {
      // A refusal is complete in one PDU. It is read even when earlier text was incomplete.
      const collector = new TextCollector(TEXT_BYTES_MAX);
      collector.append(view, dataOffset, dataLength);
      return this.#refused(response, collector);
    }
    this.#checkStage(response);
    this.#collector.append(view, dataOffset, dataLength);
    if (this.#text.length > 0) {
      if (this.#collector.length > 0 || response.transit || response.continues) {
        throw new IscsiProtocolError('the target answered before our text was complete');
      }
      return this.#sendRest(this.#wantsTransit);
    }
    if (response.continues) return this.#sendRest(false);
    return this.#receiveText(this.#collector.take(), response);
  }

  #checkHeader(response: LoginResponsePdu): void {
    const { isid } = this.#options;
    if (response.initiatorTaskTag !== LOGIN_TASK_TAG) {
      throw new IscsiProtocolError('the login response is for another task');
    }
    // A refusal needs no valid values in the other fields.
    if (response.statusClass !== 0) return;
    if (response.isidHigh !== isid.high || response.isidLow !== isid.low) {
      throw new IscsiProtocolError('the login response is for another ISID');
    }
    if (response.versionActive !== VERSION) {
      throw new IscsiProtocolError(`the target uses iSCSI version ${response.versionActive}`);
    }
    if (this.#hasStatSn && response.statSn !== this.#expStatSn) {
      throw new IscsiProtocolError('the login response is out of sequence');
    }
    this.#hasStatSn = true;
    this.#expStatSn = serialAdd(response.statSn, 1);
  }

  /** Checks T, C and the stages (RFC 7143 11.13.3 and 11.13.4). */
  #checkStage(response: LoginResponsePdu): void {
    if (response.currentStage !== this.#stage) {
      throw new IscsiProtocolError(`the target is in login stage ${response.currentStage}`);
    }
    if (!response.transit) return;
    if (response.continues || !this.#request.transit) {
      throw new IscsiProtocolError('the target left the login stage without being asked');
    }
    if (response.nextStage !== this.#request.nextStage) {
      throw new IscsiProtocolError(`the target went on to login stage ${response.nextStage}`);
    }
  }

  #receiveText(pairs: readonly TextPair[], response: LoginResponsePdu): LoginStep {
    const securityPairs = pairs.filter(({ key }) => isSecurityKey(key));
    const answers = this.#negotiation.receive(pairs.filter(({ key }) => !isSecurityKey(key)));
    if (this.#stage === LoginStage.security) {
      const step = this.#authentication.receive(securityPairs, response.transit);
      if (!response.transit) return this.#sendText([...step.pairs, ...answers], step.isDone);
      this.#refuseOpenAnswers(answers);
      this.#stage = LoginStage.operational;
      return this.#sendText(this.#negotiation.offers(), true);
    }
    if (securityPairs.length > 0) {
      throw new IscsiProtocolError('the target sent a security key outside the security stage');
    }
    if (!response.transit) return this.#sendText(answers, true);
    this.#refuseOpenAnswers(answers);
    return this.#finish(response);
  }

  /** A target that leaves the stage cannot receive the answers to its own offers. */
  #refuseOpenAnswers(answers: readonly TextPair[]): void {
    const [first] = answers;
    if (first !== undefined) {
      throw new IscsiProtocolError(
        `the target left the login stage while ${first.key} was being negotiated`,
        { key: first.key },
      );
    }
  }

  #finish(response: LoginResponsePdu): LoginStep {
    const { unanswered } = this.#negotiation;
    if (unanswered.length > 0) {
      throw new IscsiProtocolError(`the target did not answer ${unanswered.join(', ')}`);
    }
    this.#negotiation.settleImplied();
    const { values, declared, sessionType } = this.#negotiation;
    if (sessionType === 'Normal' && !values.RDMAExtensions) {
      throw new IscsiLoginError(
        'iscsi-no-rdma-extensions',
        'the target answered RDMAExtensions=No: its portal does not speak iSER; enable iSER on it',
        this.#facts(),
      );
    }
    if (response.tsih === 0) throw new IscsiProtocolError('the target gave the session no TSIH');
    return {
      type: 'done',
      result: {
        sessionType,
        isid: this.#options.isid,
        tsih: response.tsih,
        authMethod: this.#authentication.method,
        keys: values,
        declared,
        cmdSn: this.#request.cmdSn,
        expStatSn: this.#expStatSn,
        expCmdSn: response.expCmdSn,
        maxCmdSn: response.maxCmdSn,
      },
    };
  }

  #refused(response: LoginResponsePdu, collector: TextCollector): LoginStep {
    const { statusClass, statusDetail } = response;
    const status = (statusClass << 8) | statusDetail;
    const isPermanent = status === LoginStatus.movedPermanently;
    if (!isPermanent && status !== LoginStatus.movedTemporarily) {
      const { openOffer } = this.#authentication;
      if (status === LoginStatus.authenticationFailed && openOffer !== null) {
        const what = 'refused the login with status 0201 upon';
        const facts = { ...this.#facts(), statusClass, statusDetail };
        throw new IscsiLoginError('iscsi-chap-list-refused', listRefused(what, openOffer), facts);
      }
      throw IscsiLoginError.fromStatus(statusClass, statusDetail, this.#facts());
    }
    const address = collector.take().find(({ key }) => key === 'TargetAddress');
    if (address === undefined) {
      throw new IscsiProtocolError('the target redirects the login without a TargetAddress');
    }
    return { type: 'redirect', portal: parseTargetAddress(address.value), isPermanent };
  }

  #sendText(pairs: readonly TextPair[], wantsTransit: boolean): LoginStep {
    this.#text = encodeText(pairs, TEXT_BYTES_MAX);
    this.#wantsTransit = wantsTransit;
    return this.#sendRest(wantsTransit);
  }

  /** Sends as much of the step's text as fits. Only the last part may ask to leave the stage. */
  #sendRest(wantsTransit: boolean): LoginStep {
    if (++this.#exchanges > LOGIN_EXCHANGES_MAX) {
      throw new IscsiProtocolError(`the login did not end within ${LOGIN_EXCHANGES_MAX} requests`);
    }
    const data = this.#text.subarray(0, this.#options.dataBytesMax);
    this.#text = this.#text.subarray(data.length);
    const request = this.#request;
    request.continues = this.#text.length > 0;
    request.transit = wantsTransit && !request.continues;
    request.currentStage = this.#stage;
    request.nextStage = request.transit ? nextStage(this.#stage) : 0;
    request.immediate = true;
    request.versionMax = VERSION;
    request.versionMin = VERSION;
    request.isidHigh = this.#options.isid.high;
    request.isidLow = this.#options.isid.low;
    request.initiatorTaskTag = LOGIN_TASK_TAG;
    request.cmdSn = this.#options.cmdSn ?? 1;
    request.expStatSn = this.#expStatSn;
    request.dataSegmentLength = data.length;
    encodeLoginRequest(this.#bhsView, 0, request);
    const entersFullFeature = request.transit && request.nextStage === LoginStage.fullFeature;
    return { type: 'send', bhs: this.#bhs, data, entersFullFeature };
  }

  #facts(): ErrorFacts {
    const { initiatorName, targetName } = this.#options;
    return targetName === null ? { initiatorName } : { initiatorName, targetName };
  }
}

function nextStage(stage: LoginStage): LoginStage {
  return stage === LoginStage.security ? LoginStage.operational : LoginStage.fullFeature;
}
