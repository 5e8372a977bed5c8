import { assert } from '../common/assert.js';
import { LENT_PIECES_MAX } from './limits.js';
import type { MemoryChunk } from './memory-chunk.js';

/** The store that chunks are from. */
export interface ChunkLender {
  /** A chunk that was lent is not going to be written to the store. */
  takeBack(chunk: MemoryChunk): void;
}

/**
 * Memory of a store that is not part of it yet: a write of whole chunks receives its data there, and when it runs, they
 * take the place of those that they were lent for. Until then they are nobody else's, so a write that is given up, or
 * whose data was damaged on its way, has changed nothing. Pooled with the command that it belongs to.
 */
export class LentChunks {
  count = 0;
  readonly #chunks: (MemoryChunk | null)[] = new Array<MemoryChunk | null>(LENT_PIECES_MAX).fill(
    null,
  );
  #lender: ChunkLender | null = null;

  add(chunk: MemoryChunk, lender: ChunkLender): void {
    assert(this.count < LENT_PIECES_MAX, 'more chunks than can be lent');
    this.#lender = lender;
    this.#chunks[this.count++] = chunk;
  }

  chunkAt(index: number): MemoryChunk {
    const chunk = this.#chunks[index] ?? null;
    assert(chunk !== null, 'no such lent chunk');
    return chunk;
  }

  /** They are part of the store now. */
  forget(): void {
    this.#chunks.fill(null);
    this.count = 0;
  }

  /** Gives them back. Nobody writes to them any more. */
  release(): void {
    if (this.count === 0) return;
    for (let index = 0; index < this.count; index++) this.#lender?.takeBack(this.chunkAt(index));
    this.forget();
  }
}
