/**
 * CRC32c (Castagnoli), as MPA (RFC 5044) and the iSCSI digests (RFC 7143 section 13.1) use it: polynomial
 * 0x1edc6f41, bits reflected, the register preset to ones and inverted at the end. The value is a u32; both
 * protocols put it on the wire least significant byte first.
 *
 * Short input goes through a table of our own, "slicing by eight"; long input through `@node-rs/crc32`, which
 * uses the processor's instruction, where that package has a binary for this machine.
 */
import { createRequire } from 'node:module';

type NativeCrc32c = (bytes: Uint8Array, seed?: number) => number;

/** Below this length, the native call and its view cost more than the table (measured: 200 to 250 bytes). */
const NATIVE_BYTES_MIN = 224;

const REFLECTED_POLYNOMIAL = 0x82f63b78;

/** Eight tables of 256: the table at `256 * k` advances a byte that k more bytes follow. */
const tables = makeTables();
const native = loadNative();

/** Whether the processor's CRC instruction is used for long input. @internal only the benchmark reports it */
export const crc32cIsNative = native !== null;

/**
 * The CRC32c of `bytes[start .. end)`. With `seed`, the CRC of the bytes before them, it is the CRC of both together.
 */
export function crc32c(bytes: Uint8Array, start = 0, end = bytes.length, seed = 0): number {
  if (native !== null && end - start >= NATIVE_BYTES_MIN) {
    return native(start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end), seed);
  }
  return crc32cByTable(bytes, start, end, seed);
}

/** {@link crc32c} without native code, on any length. */
export function crc32cByTable(bytes: Uint8Array, start: number, end: number, seed = 0): number {
  const table = tables;
  let crc = ~seed;
  let at = start;
  for (const last = end - 8; at <= last; at += 8) {
    crc ^= word(bytes, at);
    const next = word(bytes, at + 4);
    crc =
      entry(table, 0x700 | (crc & 0xff)) ^
      entry(table, 0x600 | ((crc >>> 8) & 0xff)) ^
      entry(table, 0x500 | ((crc >>> 16) & 0xff)) ^
      entry(table, 0x400 | (crc >>> 24)) ^
      entry(table, 0x300 | (next & 0xff)) ^
      entry(table, 0x200 | ((next >>> 8) & 0xff)) ^
      entry(table, 0x100 | ((next >>> 16) & 0xff)) ^
      entry(table, next >>> 24);
  }
  for (; at < end; at++) {
    crc = entry(table, (crc ^ (bytes[at] ?? 0)) & 0xff) ^ (crc >>> 8);
  }
  return ~crc >>> 0;
}

function word(bytes: Uint8Array, at: number): number {
  return (
    (bytes[at] ?? 0) |
    ((bytes[at + 1] ?? 0) << 8) |
    ((bytes[at + 2] ?? 0) << 16) |
    ((bytes[at + 3] ?? 0) << 24)
  );
}

function entry(table: Int32Array, index: number): number {
  return table[index] ?? 0;
}

function makeTables(): Int32Array {
  const table = new Int32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let crc = byte;
    for (let bit = 0; bit < 8; bit++) {
      crc = (crc >>> 1) ^ ((crc & 1) === 0 ? 0 : REFLECTED_POLYNOMIAL);
    }
    table[byte] = crc;
  }
  for (let index = 256; index < table.length; index++) {
    const shorter = entry(table, index - 256);
    table[index] = entry(table, shorter & 0xff) ^ (shorter >>> 8);
  }
  return table;
}

/** The package has no binary for some platforms. There it does not load, and the table does all the work. */
function loadNative(): NativeCrc32c | null {
  try {
    const loaded: unknown = createRequire(import.meta.url)('@node-rs/crc32');
    const candidate = (loaded as { crc32c?: unknown }).crc32c;
    if (typeof candidate !== 'function') return null;
    const checked = candidate as NativeCrc32c;
    // A check value (RFC 7143 appendix A.4: 32 bytes of zeros), so that a wrong binary is not trusted.
    return checked(new Uint8Array(32)) === 0x8a9136aa ? checked : null;
  } catch {
    return null;
  }
}
