import type { Slab } from '../../common/slab.js';
import { Fault } from './fault.js';
import type { SoftRegion } from './region.js';

/**
 * Bytes of a registered region that a check has granted, and the key it was granted under. The grant ends when the
 * key is revoked, so whoever comes back to it later asks {@link isLive} first. Reused; never keep a copy of its
 * fields across turns.
 */
export class RegionSpan {
  slab: Slab | null = null;
  /** Where the bytes start, from the start of the slab. */
  offset = 0;
  length = 0;
  protected region: SoftRegion | null = null;
  #key = 0;

  set(region: SoftRegion, offset: number, length: number): void {
    this.region = region;
    this.#key = region.activeKey;
    this.slab = region.slab;
    this.offset = offset;
    this.length = length;
  }

  clear(): void {
    this.region = null;
    this.slab = null;
    this.offset = 0;
    this.length = 0;
  }

  /** The memory is still registered under the key that the grant was made for. */
  get isLive(): boolean {
    return this.region !== null && this.region.activeKey === this.#key;
  }
}

/** Where the payload of one inbound segment goes. It is filled from the front, in pieces of any size. */
export class Placement extends RegionSpan {
  /** Bytes placed so far. */
  placed = 0;

  override set(region: SoftRegion, offset: number, length: number): void {
    super.set(region, offset, length);
    this.placed = 0;
  }

  override clear(): void {
    super.clear();
    this.placed = 0;
  }

  /**
   * Copies `source[start .. end)` behind what is placed already. Refused once the key is revoked. A `view` of all of
   * `source` makes short copies cheaper.
   */
  write(source: Uint8Array, start: number, end: number, view: DataView | null = null): Fault {
    const length = end - start;
    if (length === 0) return Fault.none;
    const slab = this.slab;
    if (slab === null || !this.isLive) return Fault.invalidStag;
    if (this.placed + length > this.length) return Fault.bounds;
    const to = this.offset + this.placed;
    if (view !== null && length <= COPY_LOOP_BYTES_MAX) {
      copyWords(view, start, end, slab.view, to);
    } else if (Buffer.isBuffer(source)) {
      source.copy(slab.bytes, to, start, end);
    } else {
      slab.bytes.set(source.subarray(start, end), to);
    }
    this.placed += length;
    return Fault.none;
  }

  /** Tells the region what was placed by a segment that has ended. */
  note(): void {
    const { region } = this;
    if (region === null || this.placed === 0 || !this.isLive) return;
    const start = this.offset - region.offset;
    region.notePlaced(start, start + this.placed);
  }
}

/**
 * Up to here a loop beats the call into native code, and leaves no garbage: Node 20's `Buffer.copy` makes a view of
 * its source. iSER's control messages (76 to 176 bytes) are below.
 */
const COPY_LOOP_BYTES_MAX = 192;

function copyWords(
  source: DataView,
  start: number,
  end: number,
  target: DataView,
  targetStart: number,
): void {
  let from = start;
  let to = targetStart;
  for (const last = end - 4; from <= last; from += 4, to += 4) {
    target.setInt32(to, source.getInt32(from, true), true);
  }
  for (; from < end; from++, to++) target.setUint8(to, source.getUint8(from));
}
