import { ChapError } from '../../iscsi/chap.js';
import type { RandomBytes } from '../../iscsi/chap.js';
import { LoginStage, LoginStatus, PduOpcode, opcodeName } from '../../iscsi/codes.js';
import { IscsiLoginError, IscsiProtocolError } from '../../iscsi/errors.js';
import { iscsiNameKey } from '../../iscsi/iscsi-name.js';
import { KeyAnswer, isSecurityKey } from '../../iscsi/keys.js';
import type { KeyValues, KeyWishes } from '../../iscsi/keys.js';
import {
  ISCSI_NAME_BYTES_MAX,
  LOGIN_DATA_BYTES_MAX,
  LOGIN_EXCHANGES_MAX,
  TEXT_BYTES_MAX,
} from '../../iscsi/limits.js';
import { KeyNegotiation } from '../../iscsi/negotiation.js';
import type { SessionType } from '../../iscsi/negotiation.js';
import { formatAddress } from '../../common/address.js';
import { LoginRequestPdu, decodeLoginRequest } from '../../iscsi/request-wire.js';
import { LoginResponsePdu } from '../../iscsi/response-wire.js';
import { TextCollector, encodeText, pairsByKey } from '../../iscsi/text.js';
import type { TextPair } from '../../iscsi/text.js';
import { opcodeAt } from '../../iscsi/wire.js';
import { COMMAND_WINDOW, TARGET_RECEIVE_DATA_BYTES } from './limits.js';
import type { LoginPolicy } from './login-policy.js';
import { LoginSecurity } from './login-security.js';

/** The values that we negotiate. InitialR2T=Yes: unsolicited Data-Out would need Sends, an RDMA Read needs none. */
const WISHES: KeyWishes = {
  RDMAExtensions: true,
  HeaderDigest: ['None'],
  DataDigest: ['None'],
  MaxConnections: 1,
  InitialR2T: true,
  ImmediateData: true,
  InitiatorRecvDataSegmentLength: 8192,
  TargetRecvDataSegmentLength: TARGET_RECEIVE_DATA_BYTES,
  MaxBurstLength: 262144,
  FirstBurstLength: 65536,
  DefaultTime2Wait: 0,
  DefaultTime2Retain: 0,
  MaxOutstandingR2T: 1,
  DataPDUInOrder: true,
  DataSequenceInOrder: true,
  ErrorRecoveryLevel: 0,
};

/**
 * RFC 7143 13.25: the obsolete keys of RFC 3720 and their prescribed answers. Old initiators still send them, and
 * NotUnderstood is forbidden.
 */
const OBSOLETE_KEYS: ReadonlyMap<string, string> = new Map([
  ['IFMarker', 'No'],
  ['OFMarker', 'No'],
  ['IFMarkInt', KeyAnswer.reject],
  ['OFMarkInt', KeyAnswer.reject],
]);

/** The identity of the initiator, as far as it is known. */
export interface LoginIdentity {
  initiatorName: string;
  sessionType: SessionType;
  isidHigh: number;
  isidLow: number;
  cid: number;
}

/**
 * The result of a login request:
 * - `continue`: send {@link LoginResponder.response} and its text; another request follows;
 * - `accepted`: the login is complete. Admit the session; then {@link LoginResponder.finish} makes the last response;
 * - `refused`: send the response, then end the connection;
 * - `dropped`: no answer is possible; end the connection.
 */
export type TargetLoginOutcome = 'continue' | 'accepted' | 'refused' | 'dropped';

/** Ends the login with a status. Used in this file only. */
class LoginRefusal extends Error {
  constructor(
    readonly status: LoginStatus,
    message: string,
  ) {
    super(message);
  }
}

/**
 * The target's side of a login (RFC 7143 6.3), one request at a time. Pure: it takes requests and makes the answers.
 * The policy decides which initiators may log in. The owner decides whether there is room for the session.
 *
 *     start --> security --> operational --> accepted
 *       |          `------------------------^   (NSG 3 from the security stage, with nothing left to negotiate)
 *       `------> operational
 *     any --> refused | dropped
 */
export class LoginResponder {
  readonly response = new LoginResponsePdu();
  /** The data segment of the response. */
  text: Uint8Array = new Uint8Array();
  /** The reason for a refused or dropped login, for the log. */
  reason = '';
  readonly identity: LoginIdentity = {
    initiatorName: '',
    sessionType: 'Normal',
    isidHigh: 0,
    isidLow: 0,
    cid: 0,
  };
  readonly #policy: LoginPolicy;
  readonly #randomBytes: RandomBytes;
  readonly #sessionExists: (tsih: number) => boolean;
  readonly #request = new LoginRequestPdu();
  readonly #collector = new TextCollector(TEXT_BYTES_MAX);
  #stage: LoginStage | null = null;
  #keys: KeyNegotiation | null = null;
  #security: LoginSecurity | null = null;
  #taskTag = 0;
  #cmdSn = 0;
  #statSn = 0;
  #exchanges = 0;

  /** `sessionExists` returns true for the TSIH of a session of this target. */
  constructor(
    policy: LoginPolicy,
    randomBytes: RandomBytes,
    sessionExists: (tsih: number) => boolean,
  ) {
    this.#policy = policy;
    this.#randomBytes = randomBytes;
    this.#sessionExists = sessionExists;
  }

  /** The negotiated values; complete after `accepted`. */
  get values(): KeyValues {
    return (this.#keys ?? new KeyNegotiation('target', WISHES)).values;
  }

  /** The CmdSN of the session's first command. */
  get cmdSn(): number {
    return this.#cmdSn;
  }

  /** The StatSN after the last response. */
  get nextStatSn(): number {
    return this.#statSn;
  }

  /** Takes a request with its BHS at `offset` and its data segment of `dataLength` bytes at `dataOffset`. */
  receive(
    view: DataView,
    offset: number,
    dataOffset: number,
    dataLength: number,
  ): TargetLoginOutcome {
    const opcode = opcodeAt(view, offset);
    if (opcode !== PduOpcode.loginRequest) {
      this.reason = `${opcodeName(opcode)} before the login is complete`;
      return 'dropped';
    }
    decodeLoginRequest(view, offset, this.#request);
    try {
      return this.#handle(view, dataOffset, dataLength);
    } catch (error) {
      const refusal = refusalOf(error);
      if (refusal === null) throw error;
      return this.#refuse(refusal.status, refusal.message);
    }
  }

  /** Makes the last response of an accepted login, after the session was admitted. */
  finish(tsih: number): void {
    this.#respond(LoginStatus.success);
    this.response.transit = true;
    this.response.nextStage = LoginStage.fullFeature;
    this.response.tsih = tsih;
  }

  /** Refuses an accepted login, because the session was not admitted. */
  refuse(status: LoginStatus, reason: string): void {
    this.text = new Uint8Array();
    this.#refuse(status, reason);
  }

  #handle(view: DataView, dataOffset: number, dataLength: number): TargetLoginOutcome {
    this.#checkRequest();
    this.#collector.append(view, dataOffset, dataLength);
    this.text = new Uint8Array();
    if (this.#request.continues) {
      this.#respond(LoginStatus.success);
      return 'continue';
    }
    const pairs = this.#collector.take();
    const isFirst = this.#keys === null;
    const keys = (this.#keys ??= this.#identify(pairs));
    const answers = this.#negotiate(keys, pairs);
    if (isFirst && this.identity.sessionType === 'Normal') {
      const { portalGroupTag } = this.#policy;
      answers.push({ key: 'TargetPortalGroupTag', value: String(portalGroupTag) });
    }
    this.text = encodeText(answers, LOGIN_DATA_BYTES_MAX);
    return this.#transit(keys);
  }

  /** Checks the header of a request, before its text. */
  #checkRequest(): void {
    const request = this.#request;
    const { initiatorError, unsupportedVersion } = LoginStatus;
    if (this.#stage === null) this.#start();
    if (request.versionMin > 0) {
      throw new LoginRefusal(unsupportedVersion, `version ${request.versionMin} is not supported`);
    }
    const { identity } = this;
    const isSame =
      request.isidHigh === identity.isidHigh &&
      request.isidLow === identity.isidLow &&
      request.cid === identity.cid &&
      request.initiatorTaskTag === this.#taskTag &&
      request.cmdSn === this.#cmdSn;
    if (!isSame)
      throw new LoginRefusal(initiatorError, 'the initiator changed its identity during the login');
    if (++this.#exchanges > LOGIN_EXCHANGES_MAX) {
      throw new LoginRefusal(initiatorError, `no end after ${LOGIN_EXCHANGES_MAX} requests`);
    }
    if (request.continues && request.transit) {
      throw new LoginRefusal(initiatorError, 'a request continues and transits at once');
    }
    if (request.currentStage !== this.#stage) {
      const what = `stage ${request.currentStage} in stage ${this.#stage ?? 'none'}`;
      throw new LoginRefusal(initiatorError, what);
    }
    const { currentStage, nextStage } = request;
    if (request.transit && (nextStage <= currentStage || nextStage === 2)) {
      throw new LoginRefusal(initiatorError, `no way from stage ${currentStage} to ${nextStage}`);
    }
  }

  #start(): void {
    const request = this.#request;
    const { identity } = this;
    identity.isidHigh = request.isidHigh;
    identity.isidLow = request.isidLow;
    identity.cid = request.cid;
    this.#taskTag = request.initiatorTaskTag;
    this.#cmdSn = request.cmdSn;
    this.#statSn = request.expStatSn;
    const { security, operational } = LoginStage;
    if (request.currentStage !== security && request.currentStage !== operational) {
      throw new LoginRefusal(
        LoginStatus.initiatorError,
        `a login cannot start in stage ${request.currentStage}`,
      );
    }
    this.#stage = request.currentStage;
    if (request.tsih === 0) return;
    throw this.#sessionExists(request.tsih)
      ? new LoginRefusal(LoginStatus.tooManyConnections, 'a second connection for a session')
      : new LoginRefusal(LoginStatus.sessionDoesNotExist, `there is no session ${request.tsih}`);
  }

  /** Reads the identity from the first text, and makes the negotiation. */
  #identify(pairs: readonly TextPair[]): KeyNegotiation {
    const keys = pairsByKey(pairs);
    const { identity } = this;
    const initiatorName = keys.get('InitiatorName') ?? '';
    const sessionType = keys.get('SessionType') ?? 'Normal';
    if (initiatorName === '') {
      throw new LoginRefusal(LoginStatus.missingParameter, 'InitiatorName is missing');
    }
    if (Buffer.byteLength(initiatorName) > ISCSI_NAME_BYTES_MAX) {
      throw new LoginRefusal(LoginStatus.initiatorError, 'InitiatorName is too long');
    }
    identity.initiatorName = initiatorName;
    if (sessionType !== 'Normal' && sessionType !== 'Discovery') {
      throw new LoginRefusal(LoginStatus.sessionTypeNotSupported, 'unknown SessionType');
    }
    identity.sessionType = sessionType;
    if (sessionType === 'Normal') this.#checkTarget(keys.get('TargetName'));
    this.#security = new LoginSecurity(this.#policy, sessionType, this.#randomBytes);
    return new KeyNegotiation('target', WISHES, sessionType);
  }

  #checkTarget(targetName: string | undefined): void {
    const { redirect } = this.#policy;
    if (targetName === undefined || targetName === '') {
      throw new LoginRefusal(LoginStatus.missingParameter, 'TargetName is missing');
    }
    if (iscsiNameKey(targetName) !== iscsiNameKey(this.#policy.targetName)) {
      throw new LoginRefusal(LoginStatus.targetNotFound, 'there is no target of that name');
    }
    if (redirect === null) return;
    const pair = { key: 'TargetAddress', value: formatAddress(redirect) };
    this.text = encodeText([pair], LOGIN_DATA_BYTES_MAX);
    const { movedPermanently, movedTemporarily } = LoginStatus;
    const status = redirect.isPermanent ? movedPermanently : movedTemporarily;
    throw new LoginRefusal(status, `redirected to ${pair.value}`);
  }

  #negotiate(keys: KeyNegotiation, pairs: readonly TextPair[]): TextPair[] {
    const security = this.#requireSecurity();
    const securityPairs = pairs.filter(({ key }) => isSecurityKey(key));
    const obsoletePairs = pairs.filter(({ key }) => OBSOLETE_KEYS.has(key));
    const otherPairs = pairs.filter(({ key }) => !isSecurityKey(key) && !OBSOLETE_KEYS.has(key));
    if (securityPairs.length > 0 && this.#stage !== LoginStage.security) {
      throw new LoginRefusal(
        LoginStatus.initiatorError,
        'a security key outside the security stage',
      );
    }
    const answers = security.receive(pairsByKey(securityPairs));
    if (this.#stage === LoginStage.operational && !security.isProved) {
      throw new LoginRefusal(LoginStatus.authenticationFailed, 'the initiator skipped CHAP');
    }
    answers.push(...keys.receive(otherPairs));
    for (const key of pairsByKey(obsoletePairs).keys()) {
      answers.push({ key, value: OBSOLETE_KEYS.get(key) ?? KeyAnswer.reject });
    }
    if (keys.rejected.length > 0) {
      const what = `no value of ${keys.rejected.join(', ')} is common to both sides`;
      throw new LoginRefusal(LoginStatus.initiatorError, what);
    }
    return answers;
  }

  /** Enters the stage that the initiator wants, if the present stage is complete. */
  #transit(keys: KeyNegotiation): TargetLoginOutcome {
    const { transit, nextStage } = this.#request;
    if (!transit || !this.#requireSecurity().isProved) {
      this.#respond(LoginStatus.success);
      return 'continue';
    }
    if (nextStage === LoginStage.operational) {
      this.#respond(LoginStatus.success);
      this.response.transit = true;
      this.response.nextStage = LoginStage.operational;
      this.#stage = LoginStage.operational;
      return 'continue';
    }
    const { sessionType } = this.identity;
    const refusesIser = keys.isSettled('RDMAExtensions') && !keys.values.RDMAExtensions;
    if (refusesIser || (sessionType === 'Normal' && !keys.values.RDMAExtensions)) {
      throw new LoginRefusal(
        LoginStatus.initiatorError,
        'the initiator did not agree on RDMAExtensions=Yes, which iSER requires',
      );
    }
    return 'accepted';
  }

  #respond(status: LoginStatus): void {
    const { response, identity } = this;
    const request = this.#request;
    response.dataSegmentLength = this.text.length;
    response.initiatorTaskTag = this.#taskTag;
    response.statSn = this.#statSn;
    response.expCmdSn = this.#cmdSn;
    response.maxCmdSn = (this.#cmdSn + COMMAND_WINDOW - 1) >>> 0;
    response.transit = false;
    response.continues = false;
    response.currentStage = request.currentStage;
    response.nextStage = 0;
    response.versionMax = 0;
    response.versionActive = 0;
    response.isidHigh = identity.isidHigh;
    response.isidLow = identity.isidLow;
    response.tsih = request.tsih;
    response.statusClass = status >> 8;
    response.statusDetail = status & 0xff;
    // RFC 7143 11.13.4: StatSN advances with each successful response.
    this.#statSn = (this.#statSn + 1) >>> 0;
  }

  #refuse(status: LoginStatus, reason: string): TargetLoginOutcome {
    this.reason = reason;
    if (status >> 8 !== 1) this.text = new Uint8Array();
    this.#respond(status);
    return 'refused';
  }

  #requireSecurity(): LoginSecurity {
    if (this.#security !== null) return this.#security;
    throw new LoginRefusal(LoginStatus.initiatorError, 'the initiator has not named itself');
  }
}

/** The refusal for an operating error. Null for any other error, which is a bug of ours. */
function refusalOf(error: unknown): LoginRefusal | null {
  if (error instanceof LoginRefusal) return error;
  if (error instanceof ChapError) {
    return new LoginRefusal(LoginStatus.authenticationFailed, error.message);
  }
  if (error instanceof IscsiProtocolError || error instanceof IscsiLoginError) {
    return new LoginRefusal(LoginStatus.initiatorError, error.message);
  }
  return null;
}
