import type { BlockExtent } from './device.js';

/** Gathers extents in order. Neighbours in the same state become one extent. */
export class ExtentList {
  readonly #extents: BlockExtent[] = [];
  lengthBytes = 0;

  get count(): number {
    return this.#extents.length;
  }

  get extents(): readonly BlockExtent[] {
    return this.#extents;
  }

  /** An empty extent adds nothing. */
  add(lengthBytes: number, hole: boolean, zero: boolean): void {
    if (lengthBytes <= 0) return;
    this.lengthBytes += lengthBytes;
    const last = this.#extents.at(-1);
    if (last !== undefined && last.hole === hole && last.zero === zero) {
      const merged = { lengthBytes: last.lengthBytes + lengthBytes, hole, zero };
      this.#extents[this.#extents.length - 1] = merged;
      return;
    }
    this.#extents.push({ lengthBytes, hole, zero });
  }
}

/** The part of `extents` from `skipBytes` on, for at most `lengthBytes`. */
export function clipExtents(
  extents: readonly BlockExtent[],
  skipBytes: number,
  lengthBytes: number,
): readonly BlockExtent[] {
  const clipped = new ExtentList();
  let skip = skipBytes;
  for (const extent of extents) {
    const skipped = Math.min(skip, extent.lengthBytes);
    skip -= skipped;
    const room = lengthBytes - clipped.lengthBytes;
    clipped.add(Math.min(extent.lengthBytes - skipped, room), extent.hole, extent.zero);
  }
  return clipped.extents;
}
