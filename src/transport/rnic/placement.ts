import type { Slab } from '../../common/slab.js';
import { Fault } from './fault.js';
import type { SoftRegion } from './region.js';

/**
 * Bytes of a registered region that a check has granted, and the key of the grant. The grant ends when the key is
 * revoked, so check {@link isLive} before every later use. The object is reused: never keep a copy of its fields
 * across turns.
 */
export class RegionSpan {
  slab: Slab | null = null;
  /** The start of the bytes, counted from the start of the slab. */
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

  /** True while the memory is registered with the key of the grant. */
  get isLive(): boolean {
    return this.region !== null && this.region.activeKey === this.#key;
  }
}

/** The destination of one inbound segment's payload. Pieces of any size fill it from the start. */
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
   * Copies `source[start .. end)` after the bytes that are already placed. Refuses after the key is revoked. A `view`
   * of the whole `source` makes short copies cheaper.
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

  /** Reports the placed bytes to the region, at the end of a segment. */
  note(): void {
    const { region } = this;
    if (region === null || this.placed === 0 || !this.isLive) return;
    const start = this.offset - region.offset;
    region.notePlaced(start, start + this.placed);
  }
}

/**
 * Up to this length a loop is faster than a native call, and creates no garbage: Node 20's `Buffer.copy` makes a view
 * of its source. iSER's control messages (76 to 176 bytes) are shorter.
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
