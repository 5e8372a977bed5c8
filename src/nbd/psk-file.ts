import { ConfigError } from '../common/errors.js';
import { stringOf } from './strings.js';

/** RFC 4279 5.1: what a server must take, and more than any key tool makes. */
const IDENTITY_BYTES_MAX = 128;
const KEY_BYTES_MAX = 64;
/** A shorter key can be guessed from a recorded handshake. */
const KEY_BYTES_MIN = 16;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/**
 * A key file as psktool writes it and nbdkit, GnuTLS and QEMU read it: lines of `identity:hexkey`. An identity that
 * begins with `#` is itself written in hex. Empty lines are skipped. Identities are UTF-8: node:tls takes no others from
 * clients, and read as text, two that are not could be one.
 * @returns the keys by identity.
 * @throws ConfigError that names the line, never what is in it.
 */
export function parsePskFile(bytes: Buffer, path: string): ReadonlyMap<string, Buffer> {
  const keys = new Map<string, Buffer>();
  if (bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)) {
    const why = 'begins with a byte order mark, which would be part of the first identity';
    throw new ConfigError('tls-psk', `${path} ${why}; save it without one`, { path });
  }
  // A character per byte, so that nothing is lost before it has been looked at.
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
    if (keys.has(identity)) throw wrong('the identity has a key already');
    keys.set(identity, key);
  }
  if (keys.size === 0) throw new ConfigError('tls-psk', `${path} has no key in it`, { path });
  return keys;
}

function parseIdentity(text: string): string | null {
  const bytes = text.startsWith('#') ? parseHex(text.slice(1)) : Buffer.from(text, 'latin1');
  if (bytes === null || bytes.length < 1 || bytes.length > IDENTITY_BYTES_MAX) return null;
  // TLS libraries hand identities on as C strings.
  return stringOf(bytes);
}

function parseKey(text: string): Buffer | null {
  const key = parseHex(text);
  return key !== null && key.length >= KEY_BYTES_MIN && key.length <= KEY_BYTES_MAX ? key : null;
}

function parseHex(text: string): Buffer | null {
  return /^([0-9a-fA-F]{2})+$/.test(text) ? Buffer.from(text, 'hex') : null;
}
