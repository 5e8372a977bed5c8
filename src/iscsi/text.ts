import { assert } from '../common/assert.js';
import { printableBytes } from '../common/printable.js';
import { IscsiProtocolError } from './errors.js';
import {
  BINARY_VALUE_CHARS_MAX,
  KEY_NAME_CHARS_MAX,
  TEXT_PAIRS_MAX,
  TEXT_VALUE_BYTES_MAX,
} from './limits.js';

/** One `key=value` of a login or text PDU (RFC 7143 6.1). On the wire it is UTF-8 with a NUL at the end. */
export interface TextPair {
  readonly key: string;
  readonly value: string;
}

/** Keys whose values are large binary values (RFC 7143 12.1.3). */
const BINARY_KEYS: ReadonlySet<string> = new Set(['CHAP_C', 'CHAP_R']);

/** Free text for people. A fault in it must not prevent a login. */
const ALIAS_KEYS: ReadonlySet<string> = new Set(['TargetAlias', 'InitiatorAlias']);
/** RFC 7143 13.23: keys of vendors. The answer is NotUnderstood, whatever their value. */
const VENDOR_KEY = /^X[-#]/;

/** RFC 7143 6.1, "standard-label", and the X# form of section 12.22. */
const KEY_NAME = /^[A-Z][A-Za-z0-9.\-+@_#]*$/;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Encodes `pairs`.
 * @throws IscsiProtocolError for more than `bytesMax` bytes
 */
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
 * The pairs in `bytes`, in order. Keys may repeat, as in a SendTargets answer.
 * @throws IscsiProtocolError for text that is not `key=value` pairs with a NUL after each
 */
export function decodeText(bytes: Uint8Array): TextPair[] {
  const pairs: TextPair[] = [];
  let start = 0;
  while (start < bytes.length) {
    const end = bytes.indexOf(0, start);
    if (end < 0) throw new IscsiProtocolError('text ends inside a key-value pair');
    // Some targets pad text with NULs and include them in the length. An empty pair is such padding.
    if (end > start) pairs.push(decodePair(bytes.subarray(start, end)));
    if (pairs.length > TEXT_PAIRS_MAX) {
      throw new IscsiProtocolError(`text has more than ${TEXT_PAIRS_MAX} key-value pairs`);
    }
    start = end + 1;
  }
  return pairs;
}

/**
 * The items between the NULs of `bytes`. For an item that is not `key=value`, `key` is null and `value` is the whole
 * item.
 */
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

/**
 * `pairs` by key.
 * @throws IscsiProtocolError for a repeated key
 */
export function pairsByKey(pairs: readonly TextPair[]): Map<string, string> {
  const byKey = new Map<string, string>();
  for (const { key, value } of pairs) {
    if (byKey.has(key)) throw new IscsiProtocolError(`the key ${key} came twice`, { key });
    byKey.set(key, value);
  }
  return byKey;
}

/** Joins text of several PDUs (the C bit of RFC 7143 11.10.2). A PDU may end anywhere inside a pair. */
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

  /**
   * Adds `view[offset .. offset + length)`.
   * @throws IscsiProtocolError when the text exceeds the limit
   */
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

  /**
   * Returns the collected pairs and empties the collector, even when this throws.
   * @throws IscsiProtocolError as {@link decodeText}
   */
  take(): TextPair[] {
    return decodeText(this.takeBytes());
  }

  /** Returns the collected bytes and empties the collector. The bytes are borrowed until the next append. */
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
  if (!KEY_NAME.test(key))
    throw new IscsiProtocolError('text has a key with characters that no key may have');
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

/** UTF-8 text unchanged, other bytes with escapes that a person can read. */
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
