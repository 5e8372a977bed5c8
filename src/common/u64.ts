/**
 * 64-bit wire fields as two unsigned 32-bit halves, or as a Number where the value is known to stay below 2^53.
 * BigInt stays off the data path.
 */
const TWO_32 = 0x1_0000_0000;

export function highOf(value: number): number {
  return Math.floor(value / TWO_32);
}

export function lowOf(value: number): number {
  return (value % TWO_32) >>> 0;
}

/** A Number from its halves, or -1 when the Number would not be exact. */
export function safeFromHalves(high: number, low: number): number {
  return high > 0x1f_ffff ? -1 : high * TWO_32 + low;
}

/** Reads a big-endian 64-bit field; -1 when it is above 2^53 - 1. */
export function readSafeU64(view: DataView, offset: number): number {
  return safeFromHalves(view.getUint32(offset), view.getUint32(offset + 4));
}

/** Writes a big-endian 64-bit field from a Number below 2^53. */
export function writeSafeU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, highOf(value));
  view.setUint32(offset + 4, lowOf(value));
}
