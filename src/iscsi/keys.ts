/**
 * The keys of a login, RFC 7143 section 13 and RFC 7145 section 6: their types, their senders, and the rules for
 * their results. The security keys (AuthMethod and CHAP_*) belong to the login of each role and to chap.ts.
 */

/** How the result follows from the values of both sides (RFC 7143 6.2). `declared`: a value without a negotiation. */
type NumberResult = 'minimum' | 'maximum' | 'declared';
type BooleanResult = 'and' | 'or' | 'declared';

interface RuleBase {
  readonly sender: 'initiator' | 'target' | 'both';
  /** Irrelevant in a discovery session (RFC 7143 section 13, "Irrelevant when"). */
  readonly normalOnly?: true;
  /** Irrelevant unless RDMAExtensions=Yes (RFC 7145 section 6). */
  readonly iserOnly?: true;
}

interface NumberRule extends RuleBase {
  readonly type: 'number';
  readonly result: NumberResult;
  readonly low: number;
  readonly high: number;
  readonly initial: number;
}

interface BooleanRule extends RuleBase {
  readonly type: 'boolean';
  readonly result: BooleanResult;
  readonly initial: boolean;
}

/** The responder chooses the first offered value that it supports. */
interface ListRule extends RuleBase {
  readonly type: 'list';
  readonly result: 'choice';
  readonly initial: string;
}

interface TextRule extends RuleBase {
  readonly type: 'text';
  readonly result: 'declared';
  readonly initial: string;
}

export type KeyRule = NumberRule | BooleanRule | ListRule | TextRule;

const U24 = 2 ** 24 - 1;
const U32 = 2 ** 32 - 1;

function minimum(low: number, high: number, initial: number) {
  return { type: 'number', sender: 'both', result: 'minimum', low, high, initial } as const;
}

function declared(low: number, high: number, initial: number) {
  return { type: 'number', sender: 'both', result: 'declared', low, high, initial } as const;
}

function text(sender: 'initiator' | 'target', initial = '') {
  return { type: 'text', sender, result: 'declared', initial } as const;
}

/** The order is the order of sending: RDMAExtensions comes first (RFC 7145 6.3). */
export const KEY_RULES = {
  InitiatorName: text('initiator'),
  InitiatorAlias: text('initiator'),
  TargetName: text('initiator'),
  SessionType: text('initiator', 'Normal'),
  TargetAlias: text('target'),
  TargetAddress: text('target'),
  TargetPortalGroupTag: { ...declared(0, 0xffff, 0), sender: 'target' },
  RDMAExtensions: { type: 'boolean', sender: 'both', result: 'and', initial: false },
  HeaderDigest: { type: 'list', sender: 'both', result: 'choice', initial: 'None' },
  DataDigest: { type: 'list', sender: 'both', result: 'choice', initial: 'None' },
  MaxConnections: { ...minimum(1, 0xffff, 1), normalOnly: true },
  InitialR2T: { type: 'boolean', sender: 'both', result: 'or', initial: true, normalOnly: true },
  ImmediateData: {
    type: 'boolean',
    sender: 'both',
    result: 'and',
    initial: true,
    normalOnly: true,
  },
  MaxRecvDataSegmentLength: declared(512, U24, 8192),
  InitiatorRecvDataSegmentLength: { ...minimum(512, U24, 8192), iserOnly: true },
  TargetRecvDataSegmentLength: { ...minimum(512, U24, 8192), iserOnly: true },
  MaxBurstLength: { ...minimum(512, U24, 262144), normalOnly: true },
  FirstBurstLength: { ...minimum(512, U24, 65536), normalOnly: true },
  DefaultTime2Wait: { ...minimum(0, 3600, 2), result: 'maximum' },
  DefaultTime2Retain: minimum(0, 3600, 20),
  MaxOutstandingR2T: { ...minimum(1, 0xffff, 1), normalOnly: true },
  DataPDUInOrder: {
    type: 'boolean',
    sender: 'both',
    result: 'or',
    initial: true,
    normalOnly: true,
  },
  DataSequenceInOrder: {
    type: 'boolean',
    sender: 'both',
    result: 'or',
    initial: true,
    normalOnly: true,
  },
  ErrorRecoveryLevel: minimum(0, 2, 0),
  TaskReporting: {
    type: 'list',
    sender: 'both',
    result: 'choice',
    initial: 'RFC3720',
    normalOnly: true,
  },
  iSCSIProtocolLevel: { ...minimum(0, 31, 1), normalOnly: true },
  /** 0 means no limit. */
  MaxOutstandingUnexpectedPDUs: { ...declared(0, U32, 0), iserOnly: true },
  MaxAHSLength: { ...declared(0, U32, 256), iserOnly: true },
  TaggedBufferForSolicitedDataOnly: {
    type: 'boolean',
    sender: 'initiator',
    result: 'declared',
    initial: false,
    iserOnly: true,
  },
  iSERHelloRequired: {
    type: 'boolean',
    sender: 'initiator',
    result: 'declared',
    initial: false,
    iserOnly: true,
  },
} as const satisfies Record<string, KeyRule>;

export type KeyName = keyof typeof KEY_RULES;

type ValueOf<R extends KeyRule> = R extends { type: 'number' }
  ? number
  : R extends { type: 'boolean' }
    ? boolean
    : string;

/** A value for each key. */
export type KeyValues = { -readonly [K in KeyName]: ValueOf<(typeof KEY_RULES)[K]> };

/** The values that one side wants. For a list key, the supported values, best first. */
export type KeyWishes = {
  readonly [K in KeyName]?: (typeof KEY_RULES)[K] extends { type: 'list' }
    ? readonly string[]
    : KeyValues[K];
};

export const KEY_NAMES = Object.keys(KEY_RULES) as KeyName[];

export function isKeyName(key: string): key is KeyName {
  return Object.hasOwn(KEY_RULES, key);
}

export function ruleOf(key: KeyName): KeyRule {
  return KEY_RULES[key];
}

/** The default value of every key. */
export function initialKeyValues(): KeyValues {
  return Object.fromEntries(KEY_NAMES.map((key) => [key, KEY_RULES[key].initial])) as KeyValues;
}

/** RFC 7143 6.1: reads a decimal or hexadecimal constant. Null for other text and for a number above 2^32 - 1. */
export function parseNumber(value: string): number | null {
  if (!/^(0|[1-9][0-9]{0,9}|0[xX][0-9a-fA-F]{1,8})$/.test(value)) return null;
  const number = Number(value);
  return number <= U32 ? number : null;
}

export function parseBoolean(value: string): boolean | null {
  if (value === 'Yes') return true;
  return value === 'No' ? false : null;
}

/** RFC 7143 12.1: the keys of the security stage, which are not negotiated but proved. */
const SECURITY_KEYS: ReadonlySet<string> = new Set([
  'AuthMethod',
  'CHAP_A',
  'CHAP_I',
  'CHAP_C',
  'CHAP_N',
  'CHAP_R',
]);

export function isSecurityKey(key: string): boolean {
  return SECURITY_KEYS.has(key);
}

/** The reserved values that are answers (RFC 7143 6.2). */
export const KeyAnswer = {
  reject: 'Reject',
  irrelevant: 'Irrelevant',
  notUnderstood: 'NotUnderstood',
} as const;

export function isReservedAnswer(value: string): boolean {
  return (
    value === KeyAnswer.reject ||
    value === KeyAnswer.irrelevant ||
    value === KeyAnswer.notUnderstood
  );
}
