import { randomUUID } from 'node:crypto';
import { assert } from '../common/assert.js';
import { AllocationMap } from './allocation-map.js';
import {
  CHUNK_BYTES,
  LENT_CHUNKS_MAX,
  LENT_PIECES_MAX,
  PINNED_CHUNKS_MAX,
  PINNED_PIECES_MAX,
  SPARE_CHUNKS_MAX,
} from './limits.js';
import type { DirectAccess } from './direct-access.js';
import type { ChunkLender, LentChunks } from './lent-chunks.js';
import { MemoryChunk } from './memory-chunk.js';
import type { PinnedData } from './pinned-data.js';
import { CompletionList, StoreOp, StoreStatus } from './store.js';
import type { Store, StoreRequest } from './store.js';

/** The parameters of a {@link MemoryStore}. */
export interface MemoryStoreOptions {
  readonly sizeBytes: number;
  readonly blockBytes?: number;
  readonly readOnly?: boolean;
}

/**
 * A store in this process's memory. Its data ends with the process. The store is sparse: the first write to a chunk
 * takes its memory, and a punch of the chunk's last page frees the memory. So the store takes at most its size, and
 * 76 MiB for work in progress: old chunks that reads have pinned, chunks that writes receive data in, and spare
 * chunks.
 */
export class MemoryStore implements Store, DirectAccess, ChunkLender {
  readonly name: string;
  readonly identity = `memory ${randomUUID()}`;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly canPunch = true;
  readonly direct: DirectAccess = this;
  readonly #map: AllocationMap;
  readonly #chunkBytes: number;
  readonly #chunks: (MemoryChunk | undefined)[];
  readonly #counts = { pinned: 0 };
  readonly #completions = new CompletionList();
  #chunkCount = 0;
  /** The number of lent chunks, and the spare chunks. Their contents are undefined. */
  #lentCount = 0;
  readonly #spare: MemoryChunk[] = [];

  constructor({ sizeBytes, blockBytes = 512, readOnly = false }: MemoryStoreOptions) {
    assert(sizeBytes > 0 && sizeBytes % blockBytes === 0, `memory store of ${sizeBytes} bytes`);
    this.name = `memory:${sizeBytes}`;
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.readOnly = readOnly;
    this.#map = new AllocationMap(sizeBytes);
    // The bits of a chunk must be whole bytes of the map.
    this.#chunkBytes = Math.max(CHUNK_BYTES, 8 * this.#map.pageBytes);
    const chunkCountMax = Math.ceil(sizeBytes / this.#chunkBytes);
    this.#chunks = new Array<MemoryChunk | undefined>(chunkCountMax).fill(undefined);
  }

  get punchGranularityBytes(): number {
    return this.#map.pageBytes;
  }

  /** The memory that the store takes now. */
  get allocatedBytes(): number {
    return this.#chunkCount * this.#chunkBytes;
  }

  /** The number of chunks that writes receive data in. */
  get lentChunks(): number {
    return this.#lentCount;
  }

  /** The number of chunks that reads have pinned, including dropped chunks. */
  get pinnedChunks(): number {
    return this.#counts.pinned;
  }

  /** Null, because memory is lost with the power. */
  get reservationKeeper(): null {
    return null;
  }

  submit(request: StoreRequest): void {
    request.status = this.#run(request);
    this.#completions.push(request);
  }

  pin(offset: number, length: number, out: PinnedData): boolean {
    const chunkBytes = this.#chunkBytes;
    const first = Math.floor(offset / chunkBytes);
    const last = Math.floor((offset + length - 1) / chunkBytes);
    const count = last - first + 1;
    if (chunkBytes > CHUNK_BYTES || count > PINNED_PIECES_MAX) return false;
    if (this.#counts.pinned + count > PINNED_CHUNKS_MAX) return false;
    for (let index = first; index <= last; index++) {
      if (this.#chunks[index] === undefined) return false;
    }
    let within = offset - first * chunkBytes;
    let left = length;
    for (let index = first; index <= last; index++, within = 0) {
      const chunk = this.#chunks[index];
      const piece = Math.min(chunkBytes - within, left);
      if (chunk !== undefined) out.add(chunk, within, piece);
      left -= piece;
    }
    return true;
  }

  lend(offset: number, length: number, out: LentChunks): boolean {
    const count = length / CHUNK_BYTES;
    const isWhole = offset % CHUNK_BYTES === 0 && length % CHUNK_BYTES === 0;
    if (!isWhole || this.#chunkBytes > CHUNK_BYTES || count > LENT_PIECES_MAX) return false;
    if (this.#lentCount + count > LENT_CHUNKS_MAX) return false;
    for (let index = 0; index < count; index++) {
      const chunk = this.#spare.pop() ?? this.#newChunk();
      if (chunk === null) {
        out.release();
        return false;
      }
      this.#lentCount++;
      out.add(chunk, this);
    }
    return true;
  }

  takeBack(chunk: MemoryChunk): void {
    this.#lentCount--;
    this.#retire(chunk);
  }

  isAllocated(offset: number): boolean {
    return this.#map.isAllocated(offset);
  }

  allocationRunBytes(offset: number, lengthMaxBytes: number): number {
    return this.#map.runBytes(offset, lengthMaxBytes);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #run(request: StoreRequest): StoreStatus {
    switch (request.op) {
      case StoreOp.read:
        return this.#read(request);
      case StoreOp.write:
        return this.#write(request);
      case StoreOp.flush:
        return StoreStatus.ok;
      case StoreOp.punch:
        return this.#punch(request);
      case StoreOp.writeZeroes:
        return this.#writeZeroes(request);
    }
  }

  #read(request: StoreRequest): StoreStatus {
    const { slab, offset } = request;
    if (slab === null) return StoreStatus.ioError;
    let done = 0;
    while (done < request.length) {
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, request.length - done);
      const chunk = this.#chunks[Math.floor((offset + done) / this.#chunkBytes)];
      const at = request.slabOffset + done;
      if (chunk === undefined) slab.bytes.fill(0, at, at + piece);
      else chunk.slab.bytes.copy(slab.bytes, at, within, within + piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  #write(request: StoreRequest): StoreStatus {
    const { slab, offset, lent } = request;
    if (lent !== null && lent.count > 0) return this.#replace(offset, request.length, lent);
    if (slab === null) return StoreStatus.ioError;
    let done = 0;
    while (done < request.length) {
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, request.length - done);
      const index = Math.floor((offset + done) / this.#chunkBytes);
      const chunk = this.#chunkForWriting(index, within, piece);
      if (chunk === null) return StoreStatus.noSpace;
      const at = request.slabOffset + done;
      slab.bytes.copy(chunk.slab.bytes, within, at, at + piece);
      this.#map.allocate(offset + done, piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  /** Replaces the chunks of the range with the lent chunks, which have the data. */
  #replace(offset: number, length: number, lent: LentChunks): StoreStatus {
    const first = offset / CHUNK_BYTES;
    assert(lent.count * CHUNK_BYTES === length, 'lent chunks of another write');
    for (let index = 0; index < lent.count; index++) {
      const present = this.#chunks[first + index];
      this.#chunks[first + index] = lent.chunkAt(index);
      if (present === undefined) this.#chunkCount += 1;
      else this.#retire(present);
    }
    this.#lentCount -= lent.count;
    lent.forget();
    this.#map.allocate(offset, length);
    return StoreStatus.ok;
  }

  /** Drops a chunk. From now on only reads that have pinned it may use its contents. */
  #retire(chunk: MemoryChunk): void {
    if (chunk.isPinned || this.#spare.length === SPARE_CHUNKS_MAX) chunk.drop();
    else this.#spare.push(chunk);
  }

  #newChunk(): MemoryChunk | null {
    try {
      return new MemoryChunk(this.#chunkBytes, this.#counts);
    } catch {
      return null;
    }
  }

  #writeZeroes(request: StoreRequest): StoreStatus {
    const { offset } = request;
    let done = 0;
    while (done < request.length) {
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, request.length - done);
      const index = Math.floor((offset + done) / this.#chunkBytes);
      const chunk = this.#chunkForWriting(index, within, piece);
      if (chunk === null) return StoreStatus.noSpace;
      chunk.slab.bytes.fill(0, within, within + piece);
      this.#map.allocate(offset + done, piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  #punch(request: StoreRequest): StoreStatus {
    const { offset, length } = request;
    this.#map.free(offset, length);
    let done = 0;
    while (done < length) {
      const index = Math.floor((offset + done) / this.#chunkBytes);
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, length - done);
      const chunk = this.#chunks[index];
      if (chunk !== undefined && !this.#zeroOrFree(index, chunk, within, piece)) {
        // The rest has its old contents, so it must not count as a hole.
        this.#map.allocate(offset + done, length - done);
        return StoreStatus.noSpace;
      }
      done += piece;
    }
    return StoreStatus.ok;
  }

  #zeroOrFree(index: number, chunk: MemoryChunk, within: number, lengthBytes: number): boolean {
    const start = index * this.#chunkBytes;
    if (this.#map.isAnyAllocated(start, Math.min(this.#chunkBytes, this.sizeBytes - start))) {
      const changed = this.#chunkForWriting(index, within, lengthBytes);
      changed?.slab.bytes.fill(0, within, within + lengthBytes);
      return changed !== null;
    }
    this.#chunks[index] = undefined;
    this.#chunkCount -= 1;
    chunk.drop();
    return true;
  }

  /** The chunk for a write to this range. Null when the process has no memory left. */
  #chunkForWriting(index: number, within: number, lengthBytes: number): MemoryChunk | null {
    const present = this.#chunks[index];
    if (present?.mayChange(within, within + lengthBytes) === true) return present;
    const chunk = this.#newChunk();
    if (chunk === null) return null;
    if (present === undefined) {
      this.#chunkCount += 1;
    } else {
      present.slab.bytes.copy(chunk.slab.bytes);
      present.drop();
    }
    this.#chunks[index] = chunk;
    return chunk;
  }
}
