/** Serial number arithmetic (RFC 1982) for CmdSN, StatSN and similar numbers (RFC 7143 4.2.2.1). */

const HALF = 0x8000_0000;

/** RFC 1982 section 3.2, with 32 bits: true when `left` comes before `right`. Undefined at a distance of 2^31. */
export function serialLess(left: number, right: number): boolean {
  return left !== right && (right - left) >>> 0 < HALF;
}

export function serialAdd(number: number, increment: number): number {
  return (number + increment) >>> 0;
}
