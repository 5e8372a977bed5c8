import { assert } from '../common/assert.js';
import { PINNED_PIECES_MAX } from './limits.js';
import type { MemoryChunk } from './memory-chunk.js';

/** A part of one chunk. */
export class PinnedPiece {
  chunk: MemoryChunk | null = null;
  offset = 0;
  length = 0;
}

/**
 * Data of a store without a copy. The data does not change from {@link add} to {@link release}, even if the store is
 * written. Pooled with the command.
 */
export class PinnedData {
  count = 0;
  readonly pieces: readonly PinnedPiece[] = Array.from(
    { length: PINNED_PIECES_MAX },
    () => new PinnedPiece(),
  );

  /** Appends `length` bytes at `offset` of a chunk. */
  add(chunk: MemoryChunk, offset: number, length: number): void {
    const piece = this.pieces[this.count];
    assert(piece !== undefined, 'data of more pieces than can be pinned');
    chunk.pin(offset, offset + length);
    piece.chunk = chunk;
    piece.offset = offset;
    piece.length = length;
    this.count++;
  }

  /** Call when no device reads the data any more. */
  release(): void {
    for (let index = 0; index < this.count; index++) {
      const piece = this.pieces[index];
      assert(piece !== undefined && piece.chunk !== null, 'pinned piece without a chunk');
      piece.chunk.unpin();
      piece.chunk = null;
    }
    this.count = 0;
  }
}
