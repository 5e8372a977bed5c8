import { assert } from '../common/assert.js';
import { quoted } from '../common/printable.js';
import { IscsiLoginError, IscsiProtocolError } from './errors.js';
import {
  KEY_NAMES,
  KeyAnswer,
  initialKeyValues,
  isKeyName,
  isReservedAnswer,
  parseBoolean,
  parseNumber,
  ruleOf,
} from './keys.js';
import type { KeyName, KeyRule, KeyValues, KeyWishes } from './keys.js';
import { TEXT_VALUE_BYTES_MAX } from './limits.js';
import type { TextPair } from './text.js';

export type SessionType = 'Normal' | 'Discovery';
type Value = string | number | boolean;

/**
 * One side of a login's key negotiation (RFC 7143 6.2), for both roles. The caller sends the keys from
 * {@link offers}, passes the peer's keys to {@link receive}, and sends back the keys from `receive`. A key is settled
 * once. The same key again is a protocol error.
 *
 *     originator:  offer ──────────────▶ receive: value, Reject, Irrelevant or NotUnderstood ──▶ settled
 *     responder:   receive: offer ──▶ answer ──▶ settled
 *     declarative: offer, or receive ──▶ settled, with no answer
 */
export class KeyNegotiation {
  sessionType: SessionType;
  /**
   * The result of each key, and its default until it is settled. A declared key has the value that this side
   * declared.
   */
  readonly values: KeyValues = initialKeyValues();
  /** The values that the peer declared. */
  readonly declared: Partial<KeyValues> = {};
  /** The keys that we answered with Reject. A target then ends the login. */
  readonly rejected: string[] = [];
  readonly #role: 'initiator' | 'target';
  readonly #wishes: KeyWishes;
  /** The keys that we offered and the peer has not answered yet. */
  readonly #pending = new Set<KeyName>();
  readonly #settled = new Set<KeyName>();
  readonly #sent = new Set<KeyName>();
  readonly #received = new Set<string>();

  constructor(
    role: 'initiator' | 'target',
    wishes: KeyWishes,
    sessionType: SessionType = 'Normal',
  ) {
    this.#role = role;
    this.#wishes = wishes;
    this.sessionType = sessionType;
  }

  /**
   * Our own keys that were not sent yet. An initiator offers and declares all its wishes. A target only declares, and
   * leaves the offers to the initiator. `only` restricts the keys.
   */
  offers(only: readonly KeyName[] = KEY_NAMES): TextPair[] {
    const pairs: TextPair[] = [];
    for (const key of KEY_NAMES) {
      const wish = this.#wishes[key];
      const rule = ruleOf(key);
      if (wish === undefined || this.#sent.has(key) || !only.includes(key)) continue;
      if (this.#isIrrelevant(rule) || this.#settled.has(key)) continue;
      if (this.#role === 'target' && rule.result !== 'declared') continue;
      assert(rule.sender === 'both' || rule.sender === this.#role, `${key} is not ours to send`);
      this.#sent.add(key);
      if (rule.result === 'declared') this.#set(this.values, key, wish as Value);
      else this.#pending.add(key);
      pairs.push({ key, value: formatValue(wish) });
    }
    return pairs;
  }

  /**
   * Takes the peer's keys and returns our answers.
   * @throws IscsiProtocolError for a key or value that the peer may not send, IscsiLoginError when the peer rejects
   * an offer
   */
  receive(pairs: readonly TextPair[]): TextPair[] {
    const answers: TextPair[] = [];
    // RDMAExtensions decides whether the iSER keys have a meaning, so it is handled first, whatever its position.
    const first = pairs.filter(({ key }) => key === 'RDMAExtensions');
    const others = pairs.filter(({ key }) => key !== 'RDMAExtensions');
    for (const pair of [...first, ...others]) {
      if (this.#received.has(pair.key)) {
        throw new IscsiProtocolError(`the key ${pair.key} came twice`, { key: pair.key });
      }
      this.#received.add(pair.key);
      const answer = this.#receiveOne(pair);
      if (answer !== null) answers.push({ key: pair.key, value: answer });
    }
    return answers;
  }

  /**
   * The offers that still need an answer. A boolean offer needs no answer when it alone settles the result (RFC 7143
   * 6.2.2).
   */
  get unanswered(): KeyName[] {
    return [...this.#pending].filter((key) => {
      const rule = ruleOf(key);
      if (rule.result === 'and') return this.#wishes[key] !== false;
      return rule.result !== 'or' || this.#wishes[key] !== true;
    });
  }

  /** Settles the offers that need no answer and have none. */
  settleImplied(): void {
    for (const key of [...this.#pending]) {
      const rule = ruleOf(key);
      if (rule.type === 'boolean') this.#settle(key, this.#wishes[key] as boolean);
    }
  }

  isSettled(key: KeyName): boolean {
    return this.#settled.has(key);
  }

  #receiveOne({ key, value }: TextPair): string | null {
    if (!isKeyName(key)) {
      if (!isReservedAnswer(value)) return KeyAnswer.notUnderstood;
      throw new IscsiProtocolError(`the peer answered the key ${key}, which was not offered`, {
        key,
      });
    }
    if (this.#pending.delete(key)) {
      this.#takeAnswer(key, value);
      return null;
    }
    if (isReservedAnswer(value)) {
      // A declaration needs no answer, but a peer may answer NotUnderstood to an unknown key.
      if (this.#sent.has(key) && ruleOf(key).result === 'declared') return null;
      throw new IscsiProtocolError(`the peer answered the key ${key}, which was not offered`, {
        key,
      });
    }
    const rule = ruleOf(key);
    if (rule.sender === this.#role) {
      throw new IscsiProtocolError(`the key ${key} is not the peer's to send`, { key });
    }
    if (rule.result === 'declared') {
      this.#takeDeclaration(key, rule, value);
      return null;
    }
    return this.#answer(key, rule, value);
  }

  /** Takes the peer's answer to our offer. The key's rule must allow the answer. */
  #takeAnswer(key: KeyName, value: string): void {
    const rule = ruleOf(key);
    if (value === KeyAnswer.reject) {
      throw new IscsiLoginError(
        'iscsi-key-rejected',
        `the target rejected ${key}=${formatValue(this.#wishes[key] ?? '')}`,
        { key },
      );
    }
    if (isReservedAnswer(value)) {
      this.#settle(key, rule.initial);
      return;
    }
    const wish = this.#wishes[key];
    const parsed = parseValue(rule, value);
    if (parsed === null || !isPossibleAnswer(rule, wish, parsed)) {
      throw new IscsiProtocolError(
        `the peer answered ${key}=${formatValue(wish ?? '')} with ${quoted(value)}`,
        { key },
      );
    }
    this.#settle(key, parsed);
  }

  #takeDeclaration(key: KeyName, rule: KeyRule, value: string): void {
    const parsed = parseValue(rule, value);
    if (parsed === null) {
      throw new IscsiProtocolError(`${key}=${quoted(value)} is not a value of that key`, {
        key,
      });
    }
    // A declaration of an irrelevant key is ignored (RFC 7143 6.2.2).
    if (!this.#isIrrelevant(rule)) this.#set(this.declared, key, parsed);
  }

  /** Our answer to the peer's offer. */
  #answer(key: KeyName, rule: KeyRule, value: string): string {
    if (this.#isIrrelevant(rule)) return KeyAnswer.irrelevant;
    const wish = this.#wishes[key];
    const result =
      rule.type === 'list' ? chooseFrom(value, wish, rule) : combine(rule, wish, value);
    if (result === null) {
      this.rejected.push(key);
      return KeyAnswer.reject;
    }
    this.#settle(key, result);
    return formatValue(result);
  }

  #isIrrelevant(rule: KeyRule): boolean {
    if (rule.normalOnly === true && this.sessionType === 'Discovery') return true;
    return (
      rule.iserOnly === true && this.#settled.has('RDMAExtensions') && !this.values.RDMAExtensions
    );
  }

  #settle(key: KeyName, value: Value): void {
    this.#pending.delete(key);
    this.#settled.add(key);
    this.#set(this.values, key, value);
  }

  #set(values: Partial<KeyValues>, key: KeyName, value: Value): void {
    (values as Record<KeyName, Value>)[key] = value;
  }
}

function parseValue(rule: KeyRule, value: string): Value | null {
  switch (rule.type) {
    case 'number': {
      const number = parseNumber(value);
      return number !== null && number >= rule.low && number <= rule.high ? number : null;
    }
    case 'boolean':
      return parseBoolean(value);
    case 'list':
      return value.includes(',') ? null : value;
    case 'text':
      return value.length <= TEXT_VALUE_BYTES_MAX ? value : null;
  }
}

function isPossibleAnswer(rule: KeyRule, wish: unknown, answer: Value): boolean {
  switch (rule.result) {
    case 'minimum':
      return Number(answer) <= Number(wish);
    case 'maximum':
      return Number(answer) >= Number(wish);
    case 'and':
      return wish === true || answer === false;
    case 'or':
      return wish === false || answer === true;
    case 'choice':
      return Array.isArray(wish) && wish.includes(answer);
    case 'declared':
      return false;
  }
}

/** The result of an offer and our wish. Without a wish, our value is the default of the key. */
function combine(rule: KeyRule, wish: unknown, offered: string): Value | null {
  const value = parseValue(rule, offered);
  if (value === null) return null;
  switch (rule.result) {
    case 'minimum':
      return Math.min(Number(value), Number(wish ?? rule.initial));
    case 'maximum':
      return Math.max(Number(value), Number(wish ?? rule.initial));
    case 'and':
      return value === true && (wish ?? rule.initial) === true;
    case 'or':
      return value === true || (wish ?? rule.initial) === true;
    case 'choice':
    case 'declared':
      return null;
  }
}

function chooseFrom(offered: string, wish: unknown, rule: KeyRule): string | null {
  const supported: readonly unknown[] = Array.isArray(wish) ? wish : [rule.initial];
  return offered.split(',').find((choice) => supported.includes(choice)) ?? null;
}

function formatValue(value: Value | readonly string[]): string {
  if (typeof value === 'boolean') return value ? 'Yes' : 'No';
  return typeof value === 'object' ? value.join(',') : String(value);
}
