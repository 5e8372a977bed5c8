import { createHash, timingSafeEqual } from 'node:crypto';
import { ConfigError, UsageError, IserNbdError } from '../common/errors.js';
import { CHAP_ALGORITHMS, ChapAlgorithm, chapAlgorithmName } from './chap-algorithm.js';
import {
  BINARY_VALUE_BYTES_MAX,
  CHAP_CHALLENGE_BYTES,
  CHAP_SECRET_BYTES_MAX,
  CHAP_SECRET_BYTES_MIN,
  TEXT_VALUE_BYTES_MAX,
} from './limits.js';
import { isReservedAnswer } from './keys.js';
import type { TextPair } from './text.js';

/**
 * CHAP as iSCSI uses it (RFC 7143 12.1.3), both sides, one-way and mutual:
 *
 *     initiator                        target
 *     CHAP_A=8,7,6,5              ──▶
 *                                 ◀──  CHAP_A=8  CHAP_I  CHAP_C
 *     CHAP_N  CHAP_R              ──▶
 *     [mutual: CHAP_I  CHAP_C]    ◀──  [mutual: CHAP_N  CHAP_R]
 *
 * A response is hash(identifier, secret, challenge). No error holds a secret, a challenge or a response.
 */

export interface ChapIdentity {
  readonly user: string;
  /** The bytes that are hashed. As text, two secrets that are not UTF-8 could become equal. */
  readonly secret: Uint8Array;
}

/** The identity that an initiator proves, and in `mutual` the identity that the target must prove. */
export interface ChapCredentials extends ChapIdentity {
  readonly mutual?: ChapIdentity | undefined;
  /**
   * The algorithms that the user allows, best first; undefined allows all. Only a list that names MD5 lets the
   * initiator offer MD5 alone.
   */
  readonly algorithms?: readonly ChapAlgorithm[] | undefined;
}

const NO_SECRET = new Uint8Array(0);

export type RandomBytes = (length: number) => Uint8Array;

/**
 * The exchange failed. `code` says why: `chap-malformed` for a broken protocol, `chap-algorithm` when no algorithm is
 * common, `chap-list-refused` when a target chooses no algorithm of our list, `chap-refused` for a wrong user or
 * secret, `chap-reflection` when the peer returns our own challenge or response, `chap-no-mutual` when the target did
 * not prove its identity.
 */
export class ChapError extends IserNbdError {
  override readonly name = 'ChapError';
}

/** @throws ConfigError for credentials that must not be used (RFC 7143 9.2.1) */
export function checkChapCredentials(credentials: ChapCredentials): void {
  checkIdentity(credentials, 'CHAP');
  if (credentials.mutual === undefined) return;
  checkIdentity(credentials.mutual, 'mutual CHAP');
  if (equalBytes(credentials.mutual.secret, credentials.secret)) {
    throw new UsageError(
      'chap-secrets-equal',
      'the mutual CHAP secret equals the CHAP secret; use two different ones, or either side can be impersonated',
    );
  }
}

/** The initiator's side of one exchange. */
export class ChapInitiator {
  readonly #credentials: ChapCredentials;
  readonly #randomBytes: RandomBytes;
  readonly #algorithms: readonly ChapAlgorithm[];
  #expectedProof: Uint8Array | null = null;
  #ownResponse: Uint8Array | null = null;

  constructor(credentials: ChapCredentials, randomBytes: RandomBytes) {
    checkChapCredentials(credentials);
    this.#credentials = credentials;
    this.#randomBytes = randomBytes;
    this.#algorithms = credentials.algorithms ?? CHAP_ALGORITHMS;
  }

  /** The offered algorithms: their names, and the CHAP_A value of the login. */
  get offer(): string {
    const names = this.#algorithms.map(chapAlgorithmName).join(', ');
    return `${names} (CHAP_A=${this.#algorithms.join(',')})`;
  }

  start(): TextPair[] {
    return [{ key: 'CHAP_A', value: this.#algorithms.join(',') }];
  }

  /** Takes CHAP_A, CHAP_I and CHAP_C; returns our response and, for mutual CHAP, our challenge. */
  respond(keys: ReadonlyMap<string, string>): TextPair[] {
    const chosen = keys.get('CHAP_A') ?? '';
    if (chosen === '' || isReservedAnswer(chosen)) {
      throw new ChapError('chap-list-refused', listRefused('chose none of', this.offer));
    }
    const algorithm = this.#algorithms.find((known) => String(known) === chosen);
    if (algorithm === undefined) {
      throw new ChapError(
        'chap-algorithm',
        `the target chose a CHAP algorithm that was not offered; offered were ${this.offer}`,
      );
    }
    const { user, secret, mutual } = this.#credentials;
    const challenge = binaryOf(keys, 'CHAP_C');
    const response = chapResponse(algorithm, identifierOf(keys), secret, challenge);
    this.#ownResponse = response;
    const pairs = [
      { key: 'CHAP_N', value: user },
      { key: 'CHAP_R', value: encodeBinary(response) },
    ];
    if (mutual === undefined) return pairs;
    const identifier = this.#randomBytes(1)[0] ?? 0;
    const ownChallenge = freshChallenge(this.#randomBytes, challenge);
    this.#expectedProof = chapResponse(algorithm, identifier, mutual.secret, ownChallenge);
    return [
      ...pairs,
      { key: 'CHAP_I', value: String(identifier) },
      { key: 'CHAP_C', value: encodeBinary(ownChallenge) },
    ];
  }

  get wantsProof(): boolean {
    return this.#expectedProof !== null;
  }

  /**
   * Takes the target's CHAP_N and CHAP_R.
   * @throws ChapError when they do not prove the target's secret
   */
  checkProof(keys: ReadonlyMap<string, string>): void {
    const mutual = this.#credentials.mutual;
    const expected = this.#expectedProof;
    if (mutual === undefined || expected === null) {
      throw new ChapError(
        'chap-malformed',
        'the target sent a CHAP response without a request for one',
      );
    }
    if (!keys.has('CHAP_N') || !keys.has('CHAP_R')) {
      throw new ChapError('chap-no-mutual', 'the target did not prove its own CHAP secret');
    }
    const response = binaryOf(keys, 'CHAP_R');
    if (this.#ownResponse !== null && equalBytes(response, this.#ownResponse)) {
      throw new ChapError('chap-reflection', 'the target returned our own CHAP response');
    }
    if (keys.get('CHAP_N') !== mutual.user || !equalBytes(response, expected)) {
      throw new ChapError(
        'chap-refused',
        'the target did not prove its own CHAP secret; check the mutual user and secret on both sides',
      );
    }
    this.#expectedProof = null;
  }
}

export interface ChapTargetOptions {
  /** The secret of an initiator's CHAP user, or null for an unknown user. */
  readonly secretOf: (user: string) => Uint8Array | null;
  /** The identity that this target proves when the initiator asks for mutual CHAP. */
  readonly mutual?: ChapIdentity | undefined;
  readonly randomBytes: RandomBytes;
  readonly algorithms?: readonly ChapAlgorithm[];
}

/** The target's side of one exchange. */
export class ChapTarget {
  readonly #options: ChapTargetOptions;
  #algorithm: ChapAlgorithm = ChapAlgorithm.md5;
  #identifier = 0;
  #challenge: Uint8Array | null = null;

  constructor(options: ChapTargetOptions) {
    this.#options = options;
  }

  /** Takes the initiator's CHAP_A; returns the algorithm and our challenge. */
  challenge(keys: ReadonlyMap<string, string>): TextPair[] {
    const offered = keys.get('CHAP_A')?.split(',') ?? [];
    const supported = this.#options.algorithms ?? CHAP_ALGORITHMS;
    const algorithm = supported.find((known) => offered.includes(String(known)));
    if (algorithm === undefined) {
      throw new ChapError('chap-algorithm', 'no CHAP algorithm is common to both sides');
    }
    this.#algorithm = algorithm;
    this.#identifier = this.#options.randomBytes(1)[0] ?? 0;
    this.#challenge = this.#options.randomBytes(CHAP_CHALLENGE_BYTES);
    return [
      { key: 'CHAP_A', value: String(algorithm) },
      { key: 'CHAP_I', value: String(this.#identifier) },
      { key: 'CHAP_C', value: encodeBinary(this.#challenge) },
    ];
  }

  /**
   * Takes CHAP_N and CHAP_R, and for mutual CHAP also CHAP_I and CHAP_C. Returns the user and our own proof; the
   * proof is empty without mutual CHAP.
   */
  verify(keys: ReadonlyMap<string, string>): { user: string; proof: TextPair[] } {
    const challenge = this.#challenge;
    const user = keys.get('CHAP_N');
    if (challenge === null || user === undefined) {
      throw new ChapError(
        'chap-malformed',
        'the initiator sent no CHAP_N, or sent CHAP_N out of turn',
      );
    }
    // A challenge is valid for one response.
    this.#challenge = null;
    const response = binaryOf(keys, 'CHAP_R');
    const secret = this.#options.secretOf(user);
    // An unknown user takes the same time, so that the time does not reveal which users exist.
    const expected = chapResponse(
      this.#algorithm,
      this.#identifier,
      secret ?? NO_SECRET,
      challenge,
    );
    if (!equalBytes(response, expected) || secret === null) {
      throw new ChapError('chap-refused', 'the initiator did not prove its CHAP secret');
    }
    return { user, proof: this.#prove(keys, secret, challenge) };
  }

  #prove(
    keys: ReadonlyMap<string, string>,
    secret: Uint8Array,
    ownChallenge: Uint8Array,
  ): TextPair[] {
    if (!keys.has('CHAP_I') && !keys.has('CHAP_C')) return [];
    const { mutual } = this.#options;
    if (mutual === undefined) {
      throw new ChapError(
        'chap-no-mutual',
        'the initiator asks for mutual CHAP, but the target has no mutual user',
      );
    }
    const theirChallenge = binaryOf(keys, 'CHAP_C');
    // RFC 7143 9.2.1: answering our own challenge would hand out a valid response.
    if (equalBytes(theirChallenge, ownChallenge) || equalBytes(mutual.secret, secret)) {
      throw new ChapError(
        'chap-reflection',
        'the initiator returned our own CHAP challenge or secret',
      );
    }
    const response = chapResponse(
      this.#algorithm,
      identifierOf(keys),
      mutual.secret,
      theirChallenge,
    );
    return [
      { key: 'CHAP_N', value: mutual.user },
      { key: 'CHAP_R', value: encodeBinary(response) },
    ];
  }
}

/** For people: the target did `what` after the offer of the algorithms in `offer`. */
export function listRefused(what: string, offer: string): string {
  return (
    `the target ${what} the CHAP algorithms that were offered, ${offer}; some old targets accept MD5 alone but no list; ` +
    'to allow MD5, set --chap-algorithms md5, or chapAlgorithms=md5 in the URL'
  );
}

/** RFC 1994 4.1: the hash over identifier, secret and challenge. */
export function chapResponse(
  algorithm: ChapAlgorithm,
  identifier: number,
  secret: Uint8Array,
  challenge: Uint8Array,
): Uint8Array {
  return createHash(chapAlgorithmName(algorithm))
    .update(Uint8Array.of(identifier))
    .update(secret)
    .update(challenge)
    .digest();
}

/** RFC 7143 6.1: a binary value in hexadecimal. */
export function encodeBinary(bytes: Uint8Array): string {
  return `0x${Buffer.from(bytes).toString('hex')}`;
}

/**
 * Decodes a hexadecimal or base64 constant; null for other text, for an empty value, and for a value that is too
 * long.
 */
export function decodeBinary(value: string): Uint8Array | null {
  const digits = value.slice(2);
  let bytes: Uint8Array | null = null;
  if (/^0[xX]([0-9a-fA-F]{2})+$/.test(value)) bytes = Buffer.from(digits, 'hex');
  else if (/^0[bB][A-Za-z0-9+/]+={0,2}$/.test(value) && digits.length % 4 === 0) {
    bytes = Buffer.from(digits, 'base64');
  }
  return bytes !== null && bytes.length > 0 && bytes.length <= BINARY_VALUE_BYTES_MAX
    ? bytes
    : null;
}

function binaryOf(keys: ReadonlyMap<string, string>, key: 'CHAP_C' | 'CHAP_R'): Uint8Array {
  const value = keys.get(key);
  const bytes = value === undefined ? null : decodeBinary(value);
  if (bytes === null) throw new ChapError('chap-malformed', `${key} is missing or malformed`);
  return bytes;
}

function identifierOf(keys: ReadonlyMap<string, string>): number {
  const value = keys.get('CHAP_I') ?? '';
  const identifier = /^(0[xX][0-9a-fA-F]{1,2}|[0-9]{1,3})$/.test(value) ? Number(value) : 256;
  if (identifier > 255) throw new ChapError('chap-malformed', 'CHAP_I is missing or malformed');
  return identifier;
}

function freshChallenge(randomBytes: RandomBytes, theirs: Uint8Array): Uint8Array {
  const challenge = randomBytes(CHAP_CHALLENGE_BYTES);
  if (equalBytes(challenge, theirs)) {
    throw new ChapError('chap-reflection', 'the target used our own CHAP challenge');
  }
  return challenge;
}

function equalBytes(left: Uint8Array, right: Uint8Array): boolean {
  return left.length === right.length && timingSafeEqual(left, right);
}

function checkIdentity({ user, secret }: ChapIdentity, what: string): void {
  const secretBytes = secret.length;
  if (user.length === 0 || Buffer.byteLength(user) > TEXT_VALUE_BYTES_MAX || user.includes('\0')) {
    throw new UsageError(
      'chap-user',
      `the ${what} user must have 1 to ${TEXT_VALUE_BYTES_MAX} bytes`,
    );
  }
  if (secretBytes < CHAP_SECRET_BYTES_MIN || secretBytes > CHAP_SECRET_BYTES_MAX) {
    throw new ConfigError(
      'chap-secret-length',
      `the ${what} secret has ${secretBytes} bytes; it must have ${CHAP_SECRET_BYTES_MIN} to ${CHAP_SECRET_BYTES_MAX}, ` +
        'every target accepts 12 to 16',
    );
  }
}
