import { assert } from '../common/assert.js';
import { AllocationMap } from './allocation-map.js';
import { CompletionList, StoreOp, StoreStatus } from './store.js';
import type { Store, StoreRequest } from './store.js';

/** Chunks are this many pages, so that a chunk's bits are whole bytes of the map and few chunks hold a large I/O. */
const CHUNK_PAGES = 16;

/** What a {@link MemoryStore} is made of. */
export interface MemoryStoreOptions {
  readonly sizeBytes: number;
  readonly blockBytes?: number;
  readonly readOnly?: boolean;
}

/**
 * A store in this process's memory, gone with it. Sparse: a chunk's memory is taken by the first write into it and
 * given back when its last page is punched, so the store never takes more than its size.
 */
export class MemoryStore implements Store {
  readonly name: string;
  readonly sizeBytes: number;
  readonly blockBytes: number;
  readonly readOnly: boolean;
  readonly canPunch = true;
  readonly #map: AllocationMap;
  readonly #chunkBytes: number;
  readonly #chunks: (Buffer | undefined)[];
  readonly #completions = new CompletionList();
  #chunkCount = 0;

  constructor({ sizeBytes, blockBytes = 512, readOnly = false }: MemoryStoreOptions) {
    assert(sizeBytes > 0 && sizeBytes % blockBytes === 0, `memory store of ${sizeBytes} bytes`);
    this.name = `memory:${sizeBytes}`;
    this.sizeBytes = sizeBytes;
    this.blockBytes = blockBytes;
    this.readOnly = readOnly;
    this.#map = new AllocationMap(sizeBytes);
    this.#chunkBytes = this.#map.pageBytes * CHUNK_PAGES;
    const chunkCountMax = Math.ceil(sizeBytes / this.#chunkBytes);
    this.#chunks = new Array<Buffer | undefined>(chunkCountMax).fill(undefined);
  }

  get punchGranularityBytes(): number {
    return this.#map.pageBytes;
  }

  /** Memory that is taken now. */
  get allocatedBytes(): number {
    return this.#chunkCount * this.#chunkBytes;
  }

  submit(request: StoreRequest): void {
    request.status = this.#run(request);
    this.#completions.push(request);
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
      else chunk.copy(slab.bytes, at, within, within + piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  #write(request: StoreRequest): StoreStatus {
    const { slab, offset } = request;
    if (slab === null) return StoreStatus.ioError;
    let done = 0;
    while (done < request.length) {
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, request.length - done);
      const chunk = this.#chunkForWriting(Math.floor((offset + done) / this.#chunkBytes));
      if (chunk === null) return StoreStatus.noSpace;
      const at = request.slabOffset + done;
      slab.bytes.copy(chunk, within, at, at + piece);
      this.#map.allocate(offset + done, piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  #writeZeroes(request: StoreRequest): StoreStatus {
    const { offset } = request;
    let done = 0;
    while (done < request.length) {
      const within = (offset + done) % this.#chunkBytes;
      const piece = Math.min(this.#chunkBytes - within, request.length - done);
      const chunk = this.#chunkForWriting(Math.floor((offset + done) / this.#chunkBytes));
      if (chunk === null) return StoreStatus.noSpace;
      chunk.fill(0, within, within + piece);
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
      if (chunk !== undefined) this.#zeroOrFree(index, chunk, within, piece);
      done += piece;
    }
    return StoreStatus.ok;
  }

  #zeroOrFree(index: number, chunk: Buffer, within: number, lengthBytes: number): void {
    const start = index * this.#chunkBytes;
    if (this.#map.isAnyAllocated(start, Math.min(this.#chunkBytes, this.sizeBytes - start))) {
      chunk.fill(0, within, within + lengthBytes);
      return;
    }
    this.#chunks[index] = undefined;
    this.#chunkCount -= 1;
  }

  /** Null when the process has no memory left to give. */
  #chunkForWriting(index: number): Buffer | null {
    const present = this.#chunks[index];
    if (present !== undefined) return present;
    try {
      const chunk = Buffer.allocUnsafeSlow(this.#chunkBytes).fill(0);
      this.#chunks[index] = chunk;
      this.#chunkCount += 1;
      return chunk;
    } catch {
      return null;
    }
  }
}
