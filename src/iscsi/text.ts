import { assert } from '../common/assert.js';
import { printableBytes } from '../common/printable.js';
import { IscsiProtocolError } from './errors.js';
import {
  BINARY_VALUE_CHARS_MAX,
  KEY_NAME_CHARS_MAX,
  TEXT_PAIRS_MAX,
  TEXT_VALUE_BYTES_MAX,
} from './limits.js';

/** One `key=value`, as login and text PDUs carry them (RFC 7143 6.1), NUL-terminated, in UTF-8. */
export interface TextPair {
  readonly key: string;
  readonly value: string;
}

/** Keys whose values are large binary values (RFC 7143 12.1.3). */
const BINARY_KEYS: ReadonlySet<string> = new Set(['CHAP_C', 'CHAP_R']);

/** Free text for people: what is wrong with it must not keep anybody from logging in. */
const ALIAS_KEYS: ReadonlySet<string> = new Set(['TargetAlias', 'InitiatorAlias']);
/** RFC 7143 13.23: keys of a vendor's own, which get NotUnderstood whatever their value is. */
const VENDOR_KEY = /^X[-#]/;

/** RFC 7143 6.1, "standard-label", and the X# form of section 12.22. */
const KEY_NAME = /^[A-Z][A-Za-z0-9.\-+@_#]*$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** The bytes of `pairs`; throws {@link IscsiProtocolError} if they are more than `bytesMax`. */
export function encodeText(pairs: readonly TextPair[], bytesMax: number): Uint8Array {
  let text = '';
  for (const { key, value } of pairs) {
    assert(!`${key}${value}`.includes('\0') && !key.includes('='), `text key ${key}`);
    text += `${key}=${value}\0`;
  }
  const bytes = encoder.encode(text);
  if (bytes.length > bytesMax) {
    throw new IscsiProtocolError(`${bytes.length} bytes of text do not fit into ${bytesMax}`);
  }
  return bytes;
}

/**
 * The pairs in `bytes`, in order, keys repeated as they come (SendTargets repeats them). Throws
 * {@link IscsiProtocolError} for text that is not `key=value` pairs with a NUL behind each.
 */
export function decodeText(bytes: Uint8Array): TextPair[] {
  const pairs: TextPair[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(0, start);
    if (end < 0) throw new IscsiProtocolError('text ends inside a key-value pair');
    // Some targets pad text with NULs and count them; an empty pair is that padding.
    if (end > start) pairs.push(decodePair(bytes.subarray(start, end)));
    if (pairs.length > TEXT_PAIRS_MAX) {
      throw new IscsiProtocolError(`text has more than ${TEXT_PAIRS_MAX} key-value pairs`);
    }
    start = end + 1;
  }
  return pairs;
}

/** What stands between the NULs of `bytes`; `key` is null, and `value` all of it, for what is no `key=value`. */
export function* splitText(
  bytes: Uint8Array,
): Generator<{ readonly key: string | null; readonly value: Uint8Array }> {
  let start = 0;
  while (start < bytes.length) {
    const nul = bytes.indexOf(0, start);
    const item = bytes.subarray(start, nul < 0 ? bytes.length : nul);
    start += item.length + 1;
    if (item.length === 0) continue;
    const at = item.indexOf(0x3d);
    const isPair = nul >= 0 && at > 0 && at <= KEY_NAME_CHARS_MAX;
    const key = isPair ? String.fromCharCode(...item.subarray(0, at)) : null;
    yield key === null ? { key, value: item } : { key, value: item.subarray(at + 1) };
  }
}

/** `pairs` by key; throws {@link IscsiProtocolError} for a key that comes twice. */
export function pairsByKey(pairs: readonly TextPair[]): Map<string, string> {
  const byKey = new Map<string, string>();
  for (const { key, value } of pairs) {
    if (byKey.has(key)) throw new IscsiProtocolError(`the key ${key} came twice`, { key });
    byKey.set(key, value);
  }
  return byKey;
}

/** Gathers text that comes in several PDUs (the C bit of RFC 7143 11.10.2); pairs may be cut anywhere. */
export class TextCollector {
  readonly #bytesMax: number;
  #bytes = new Uint8Array(1024);
  #length = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  get length(): number {
    return this.#length;
  }

  /** Adds `view[offset .. offset + length)`; throws {@link IscsiProtocolError} beyond the limit. */
  append(view: DataView, offset: number, length: number): void {
    const total = this.#length + length;
    if (total > this.#bytesMax) {
      throw new IscsiProtocolError(`text is longer than ${this.#bytesMax} bytes`);
    }
    if (total > this.#bytes.length) {
      const larger = new Uint8Array(
        Math.min(this.#bytesMax, Math.max(total, 2 * this.#bytes.length)),
      );
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
    }
    this.#bytes.set(new Uint8Array(view.buffer, view.byteOffset + offset, length), this.#length);
    this.#length = total;
  }

  /** The pairs gathered; the collector is empty again, even when this throws. */
  take(): TextPair[] {
    return decodeText(this.takeBytes());
  }

  /** What was gathered, as it came; borrowed until the next append. */
  takeBytes(): Uint8Array {
    const length = this.#length;
    this.#length = 0;
    return this.#bytes.subarray(0, length);
  }
}

function decodePair(bytes: Uint8Array): TextPair {
  const at = bytes.indexOf(0x3d);
  if (at < 0) throw new IscsiProtocolError('text has a key without a value');
  if (at === 0 || at > KEY_NAME_CHARS_MAX) {
    throw new IscsiProtocolError(`text has a key of ${at} characters`);
  }
  const key = decodeUtf8(bytes.subarray(0, at));
  if (!KEY_NAME.test(key)) throw new IscsiProtocolError('text has a key with characters of no key');
  if (ALIAS_KEYS.has(key) || VENDOR_KEY.test(key)) {
    return { key, value: lenientText(bytes.subarray(at + 1, at + 1 + TEXT_VALUE_BYTES_MAX)) };
  }
  const valueBytes = bytes.length - at - 1;
  const valueBytesMax = BINARY_KEYS.has(key) ? BINARY_VALUE_CHARS_MAX : TEXT_VALUE_BYTES_MAX;
  if (valueBytes > valueBytesMax) {
    throw new IscsiProtocolError(`the value of ${key} has ${valueBytes} bytes`, {
      key,
      valueBytes,
    });
  }
  return { key, value: decodeUtf8(bytes.subarray(at + 1)) };
}

/** As it is, if it is UTF-8; otherwise with escapes, which a person can read. */
function lenientText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    return printableBytes(bytes);
  }
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch {
    throw new IscsiProtocolError('text is not UTF-8');
  }
}
