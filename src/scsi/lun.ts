/**
 * Logical unit numbers (SAM-5 4.7), as two unsigned 32-bit halves of their eight bytes. We know one level:
 *
 *   Byte 0-1   peripheral device addressing: 0 bus 0, LUN 7-0          (4.7.7.2)
 *              flat space addressing: 01b 15-14, LUN 13-0              (4.7.7.3)
 *        2-7   further levels: zero
 */

/** A logical unit number's length. */
export const LUN_BYTES = 8;
/** What single-level addressing can express: 14 bits in flat space addressing. */
export const LUN_MAX = 0x3fff;
/** What is deeper, well-known, extended or on another bus decodes to this. */
export const LUN_UNSUPPORTED = -1;

/**
 * The high half of LUN `lun` (0 to {@link LUN_MAX}); the low half is zero. Below 256 peripheral addressing, above it flat
 * space addressing, as Linux's int_to_scsilun has it.
 */
export function encodeLun(lun: number): number {
  return (lun < 0x100 ? lun << 16 : ((0x4000 | lun) << 16) >>> 0) >>> 0;
}

/** The LUN in the two halves, or {@link LUN_UNSUPPORTED}. */
export function decodeLun(high: number, low: number): number {
  if (low !== 0 || (high & 0xffff) !== 0) return LUN_UNSUPPORTED;
  const first = high >>> 16;
  const method = first >>> 14;
  if (method === 1) return first & LUN_MAX;
  // Of peripheral addressing the bus identifier must be zero, anything else is a level further down.
  return first < 0x100 ? first : LUN_UNSUPPORTED;
}
