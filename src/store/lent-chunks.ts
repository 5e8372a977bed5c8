import { assert } from '../common/assert.js';
import { LENT_PIECES_MAX } from './limits.js';
import type { MemoryChunk } from './memory-chunk.js';

/** The store that lends chunks. */
export interface ChunkLender {
  /** Takes back a lent chunk that will not become part of the store. */
  takeBack(chunk: MemoryChunk): void;
}

/**
 * Chunks that a store lends to a write of whole chunks. The write receives its data in them. When the write is
 * executed, the lent chunks replace the store's chunks. Until then the store does not use them, so an aborted write,
 * or a write with damaged data, has changed nothing. Pooled with the command.
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

  /** Forgets the chunks, which are part of the store now. */
  forget(): void {
    this.#chunks.fill(null);
    this.count = 0;
  }

  /** Gives the chunks back. No device may write to them any more. */
  release(): void {
    if (this.count === 0) return;
    for (let index = 0; index < this.count; index++) this.#lender?.takeBack(this.chunkAt(index));
    this.forget();
  }
}
