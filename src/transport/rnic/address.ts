import { assert } from '../../common/assert.js';
import type { Slab } from '../../common/slab.js';

/**
 * The remote addresses (tagged offsets) of registered memory. JavaScript has no addresses, so each slab, and each
 * window of a fast region, gets its own range:
 *
 *     base(slab)   = (0x8000_0000 + 2 * slab.id) << 32 | 0xffff_f000
 *     base(window) = (0xc000_0000 + 2 * number)  << 32 | 0xffff_f000
 *
 * The top bit is set, as in a kernel's virtual addresses. Every slab larger than 4 KiB crosses a 32-bit boundary. Two
 * ranges never touch. So code that treats an address as a Number or as signed, or forgets a carry, fails in tests and
 * not in production.
 */
const BASE_HIGH = 0x8000_0000;
const BASE_LOW = 0xffff_f000;
const RANGE_HIGH_STEP = 2;
const SLAB_ID_MAX = 0x1fff_fffe;
const WINDOW_HIGH = 0xc000_0000;
const WINDOWS_MAX = 0x1fff_fffe;
const TWO_32 = 0x1_0000_0000;

/** The lower half of every window's base. */
export const WINDOW_LOW = BASE_LOW;

let windowCount = 0;

/** The longest slab: its range must not reach the next range. */
export const SLAB_BYTES_MAX = TWO_32;

/** The upper half of the address of `offset` in `slab`. */
export function addressHighOf(slab: Slab, offset: number): number {
  assert(slab.id <= SLAB_ID_MAX && offset <= SLAB_BYTES_MAX, 'slab address out of range');
  return BASE_HIGH + RANGE_HIGH_STEP * slab.id + (BASE_LOW + offset >= TWO_32 ? 1 : 0);
}

/** The lower half of the address of `offset` in `slab`. */
export function addressLowOf(offset: number): number {
  return (BASE_LOW + offset) % TWO_32;
}

/** The upper half of the base of a new window. Numbers repeat after 2^29; the keys of such windows differ. */
export function nextWindowHigh(): number {
  return WINDOW_HIGH + RANGE_HIGH_STEP * (windowCount++ % WINDOWS_MAX);
}

/** A region's remote address, and the slab offset of that address. */
interface Addressed {
  readonly offset: number;
  readonly addressHigh: number;
  readonly addressLow: number;
}

/** The upper half of the remote address of slab offset `offset`, which is inside `region`. */
export function regionAddressHigh(region: Addressed, offset: number): number {
  return region.addressHigh + (region.addressLow + (offset - region.offset) >= TWO_32 ? 1 : 0);
}

/** The lower half of the same address. */
export function regionAddressLow(region: Addressed, offset: number): number {
  return (region.addressLow + (offset - region.offset)) % TWO_32;
}
