import { ALLOCATION_PAGES_MAX, ALLOCATION_PAGE_BYTES_MIN } from './limits.js';

/**
 * The pages of a store that have storage: one bit per page. A page is 4 KiB, or larger if 4 KiB pages would need more
 * than 2^24 bits, so the size of the map is bounded. A set bit promises nothing. A clear bit promises that the page
 * reads as zeroes.
 */
export class AllocationMap {
  /** A power of two. */
  readonly pageBytes: number;
  readonly #sizeBytes: number;
  readonly #bits: Uint8Array;

  constructor(sizeBytes: number) {
    let pageBytes = ALLOCATION_PAGE_BYTES_MIN;
    while (sizeBytes / pageBytes > ALLOCATION_PAGES_MAX) pageBytes *= 2;
    this.pageBytes = pageBytes;
    this.#sizeBytes = sizeBytes;
    this.#bits = new Uint8Array(Math.ceil(Math.ceil(sizeBytes / pageBytes) / 8));
  }

  isAllocated(offset: number): boolean {
    return this.#bit(Math.floor(offset / this.pageBytes));
  }

  /** True when a page that the range touches has storage. */
  isAnyAllocated(offset: number, lengthBytes: number): boolean {
    const end = offset + lengthBytes;
    return this.isAllocated(offset) || offset + this.runBytes(offset, lengthBytes) < end;
  }

  /** The number of bytes from `offset` on with the same state, at most `lengthMaxBytes`. */
  runBytes(offset: number, lengthMaxBytes: number): number {
    const end = Math.min(offset + lengthMaxBytes, this.#sizeBytes);
    let page = Math.floor(offset / this.pageBytes);
    const state = this.#bit(page);
    const uniform = state ? 0xff : 0;
    const lastPage = Math.ceil(end / this.pageBytes);
    page += 1;
    while (page < lastPage) {
      if ((page & 7) === 0 && this.#bits[page >> 3] === uniform) {
        page += 8;
        continue;
      }
      if (this.#bit(page) !== state) break;
      page += 1;
    }
    return Math.min(page * this.pageBytes, end) - offset;
  }

  /** Marks every page that the range touches. */
  allocate(offset: number, lengthBytes: number): void {
    if (lengthBytes === 0) return;
    const first = Math.floor(offset / this.pageBytes);
    const last = Math.floor((offset + lengthBytes - 1) / this.pageBytes);
    if (first === last) {
      this.#bits[first >> 3] = (this.#bits[first >> 3] ?? 0) | (1 << (first & 7));
      return;
    }
    this.#set(first, last + 1, true);
  }

  /** Clears the pages that are completely in the range. The store's last page ends at the end of the store. */
  free(offset: number, lengthBytes: number): void {
    const first = Math.ceil(offset / this.pageBytes);
    const end = this.wholePagesEnd(offset + lengthBytes);
    if (end > first) this.#set(first, end, false);
  }

  /** One past the last page that ends at or before `offset`. */
  wholePagesEnd(offset: number): number {
    return offset >= this.#sizeBytes
      ? Math.ceil(this.#sizeBytes / this.pageBytes)
      : Math.floor(offset / this.pageBytes);
  }

  #bit(page: number): boolean {
    return ((this.#bits[page >> 3] ?? 0) & (1 << (page & 7))) !== 0;
  }

  #set(first: number, end: number, state: boolean): void {
    let page = first;
    while (page < end) {
      if ((page & 7) === 0 && end - page >= 8) {
        const byteEnd = end >> 3;
        this.#bits.fill(state ? 0xff : 0, page >> 3, byteEnd);
        page = byteEnd << 3;
        continue;
      }
      const mask = 1 << (page & 7);
      const byte = this.#bits[page >> 3] ?? 0;
      this.#bits[page >> 3] = state ? byte | mask : byte & ~mask;
      page += 1;
    }
  }
}
