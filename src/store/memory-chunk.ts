import { assert } from '../common/assert.js';
import { Slab } from '../common/slab.js';

/**
 * An object that a reader attaches to a chunk as long as the chunk's memory is in use, such as an RDMA registration.
 * The store does not interpret it.
 */
export interface ChunkAttachment {
  /** Called once, when the memory is no longer used. */
  detach(): void;
}

/** The counters of a store's chunks. */
export interface ChunkCounts {
  /** Chunks that a read has pinned, including chunks that are no longer part of the store. */
  pinned: number;
}

/**
 * A piece of a memory store. A read without a copy pins its range, and a pinned range does not change. A write to a
 * pinned range replaces the chunk with a copy and drops this chunk. The memory and the attachments of a dropped chunk
 * remain until the last pin ends.
 */
export class MemoryChunk {
  readonly slab: Slab;
  readonly #counts: ChunkCounts;
  readonly #attachments: (ChunkAttachment | undefined)[] = [];
  #pinCount = 0;
  /** The range that covers all pins. It shrinks only when no pin is left. */
  #pinnedStart = 0;
  #pinnedEnd = 0;
  #isDropped = false;

  /** @throws RangeError when the process has no memory left */
  constructor(lengthBytes: number, counts: ChunkCounts) {
    this.slab = new Slab(lengthBytes);
    this.#counts = counts;
  }

  get isPinned(): boolean {
    return this.#pinCount > 0;
  }

  /** False while a read needs `[start, end)` unchanged. */
  mayChange(start: number, end: number): boolean {
    return this.#pinCount === 0 || end <= this.#pinnedStart || start >= this.#pinnedEnd;
  }

  pin(start: number, end: number): void {
    if (this.#pinCount++ === 0) {
      this.#counts.pinned++;
      this.#pinnedStart = start;
      this.#pinnedEnd = end;
      return;
    }
    if (start < this.#pinnedStart) this.#pinnedStart = start;
    if (end > this.#pinnedEnd) this.#pinnedEnd = end;
  }

  unpin(): void {
    if (--this.#pinCount > 0) return;
    this.#counts.pinned--;
    if (this.#isDropped) this.#detachAll();
  }

  /** The store no longer uses the chunk. */
  drop(): void {
    this.#isDropped = true;
    if (this.#pinCount === 0) this.#detachAll();
  }

  /** The attachment of the user with this number, or undefined. Users have the numbers 0, 1, and so on. */
  attachmentOf(user: number): ChunkAttachment | undefined {
    return this.#attachments[user];
  }

  attach(user: number, attachment: ChunkAttachment): void {
    assert(this.#attachments[user] === undefined, 'a chunk has an attachment of that user');
    this.#attachments[user] = attachment;
  }

  /** Ends the attachment of one user. */
  detach(user: number): void {
    const attachment = this.#attachments[user];
    this.#attachments[user] = undefined;
    attachment?.detach();
  }

  #detachAll(): void {
    for (let user = 0; user < this.#attachments.length; user++) this.detach(user);
  }
}
