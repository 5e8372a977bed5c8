import { ConfigError } from '../common/errors.js';
import { stringOf } from './strings.js';

/** RFC 4279 5.1: a server must take identities and keys up to these lengths. No key tool makes longer ones. */
const IDENTITY_BYTES_MAX = 128;
const KEY_BYTES_MAX = 64;
/** A shorter key can be guessed from a recorded handshake. */
const KEY_BYTES_MIN = 16;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * Reads a key file in the format of psktool, nbdkit, GnuTLS and QEMU: lines of `identity:hexkey`. An identity that begins
 * with `#` is itself written in hex. Empty lines are skipped. Identities must be UTF-8: node:tls accepts no others from
 * clients, and two identities that are not UTF-8 could become the same text. Returns the keys by identity.
 *
 * @throws ConfigError when a line is wrong; the error has the line's number, never its content
 */
export function parsePskFile(bytes: Buffer, path: string): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>();
  if (bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)) {
    const why = 'begins with a byte order mark, which would be part of the first identity';
    throw new ConfigError('tls-psk', `${path} ${why}; save it without one`, { path });
  }
  // One character per byte, so that the check sees the bytes unchanged.
  for (const [index, line] of bytes.toString('latin1').split(/\r?\n/).entries()) {
    if (line.trim() === '') continue;
    const wrong = (why: string): ConfigError =>
      new ConfigError('tls-psk', `${path}, line ${index + 1}: ${why}`, { path, line: index + 1 });
    const separator = line.lastIndexOf(':');
    if (separator < 0) throw wrong('expected identity:hexkey, as psktool writes it');
    const identity = parseIdentity(line.slice(0, separator));
    if (identity === null)
      throw wrong(`the identity is not 1 to ${IDENTITY_BYTES_MAX} bytes of UTF-8`);
    const key = parseKey(line.slice(separator + 1).trim());
    if (key === null) {
      throw wrong(`the key is not ${KEY_BYTES_MIN} to ${KEY_BYTES_MAX} bytes in hex`);
    }
    if (keys.has(identity)) throw wrong('the identity already has a key');
    keys.set(identity, key);
  }
  if (keys.size === 0) throw new ConfigError('tls-psk', `${path} contains no key`, { path });
  return keys;
}

function parseIdentity(text: string): string | null {
  const bytes = text.startsWith('#') ? parseHex(text.slice(1)) : Buffer.from(text, 'latin1');
  if (bytes === null || bytes.length < 1 || bytes.length > IDENTITY_BYTES_MAX) return null;
  // TLS libraries pass identities as C strings, so a NUL is not possible.
  return stringOf(bytes);
}

function parseKey(text: string): Buffer | null {
  const key = parseHex(text);
  return key !== null && key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX ? key : null;
}

function parseHex(text: string): Buffer | null {
  return /^([0-9a-fA-F]{2})+$/.test(text) ? Buffer.from(text, 'hex') : null;
}
