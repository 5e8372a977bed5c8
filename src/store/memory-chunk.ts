import { assert } from '../common/assert.js';
import { Slab } from '../common/slab.js';

/**
 * What a reader keeps with a chunk for as long as the chunk's memory is in use: an RDMA registration, for instance. The
 * store does not look into it.
 */
export interface ChunkAttachment {
  /** The memory is not used any more. Called once. */
  detach(): void;
}

/** What a store counts of its chunks. */
export interface ChunkCounts {
  /** Chunks that at least one read has pinned, whether they are still part of the store or not. */
  pinned: number;
}

/**
 * A piece of a memory store. Reads may leave straight from here: such a read pins its range, and a pinned range is not
 * changed. Who wants to write there takes the chunk's place with a copy, and lets go of this one, whose memory and
 * attachments stay until the last pin is gone.
 */
export class MemoryChunk {
  readonly slab: Slab;
  readonly #counts: ChunkCounts;
  readonly #attachments: (ChunkAttachment | undefined)[] = [];
  #pinCount = 0;
  /** What the pins cover together; it shrinks only when there are none. */
  #pinnedStart = 0;
  #pinnedEnd = 0;
  #isDropped = false;

  /** @throws RangeError when the process has no memory left to give */
  constructor(lengthBytes: number, counts: ChunkCounts) {
    this.slab = new Slab(lengthBytes);
    this.#counts = counts;
  }

  get isPinned(): boolean {
    return this.#pinCount > 0;
  }

  /** False when a read still needs `[start, end)` as it is. */
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

  /** The store has no more use for it. */
  drop(): void {
    this.#isDropped = true;
    if (this.#pinCount === 0) this.#detachAll();
  }

  /** What the user with this number has attached, if it has. Users number themselves: 0, 1, and so on. */
  attachmentOf(user: number): ChunkAttachment | undefined {
    return this.#attachments[user];
  }

  attach(user: number, attachment: ChunkAttachment): void {
    assert(this.#attachments[user] === undefined, 'a chunk has an attachment of that user');
    this.#attachments[user] = attachment;
  }

  /** Ends what one user has attached. */
  detach(user: number): void {
    const attachment = this.#attachments[user];
    this.#attachments[user] = undefined;
    attachment?.detach();
  }

  #detachAll(): void {
    for (let user = 0; user < this.#attachments.length; user++) this.detach(user);
  }
}
