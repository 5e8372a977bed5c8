import { Slab } from '../common/slab.js';
import type { MemoryRegion } from '../transport/verbs.js';

/** A device that chunks are registered with: of one portal, to which the chunks' store belongs too. */
export interface ChunkRegistrar {
  /** Tells the portal's devices apart: 0, 1, and so on. */
  readonly ordinal: number;
  /** Registers the chunk's slab; null when the device has no room for it. */
  registerChunk(chunk: MemoryChunk): MemoryRegion | null;
  /** The registration is gone. */
  forgetChunk(chunk: MemoryChunk): void;
}

/** What a store counts of its chunks. */
export interface ChunkCounts {
  /** Chunks that at least one read has pinned, whether they are still part of the store or not. */
  pinned: number;
}

/**
 * A piece of a memory store. Reads may leave straight from here: such a read pins its range, and a pinned range is not
 * changed. Who wants to write there takes the chunk's place with a copy, and lets go of this one, whose memory and
 * registrations stay until the last pin is gone.
 */
export class MemoryChunk {
  readonly slab: Slab;
  readonly #counts: ChunkCounts;
  readonly #regions: (MemoryRegion | undefined)[] = [];
  readonly #registrars: (ChunkRegistrar | undefined)[] = [];
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
    if (this.#isDropped) this.#deregisterAll();
  }

  /** The store has no more use for it. */
  drop(): void {
    this.#isDropped = true;
    if (this.#pinCount === 0) this.#deregisterAll();
  }

  /** The registration with a device, made on first use; null when the device has no room for it. */
  regionOn(device: ChunkRegistrar): MemoryRegion | null {
    return this.#regions[device.ordinal] ?? this.#register(device);
  }

  /** Ends the registration with one device. */
  deregister(device: ChunkRegistrar): void {
    this.#regions[device.ordinal]?.deregister();
    this.#regions[device.ordinal] = undefined;
    this.#registrars[device.ordinal] = undefined;
    device.forgetChunk(this);
  }

  #register(device: ChunkRegistrar): MemoryRegion | null {
    const region = device.registerChunk(this);
    if (region === null) return null;
    this.#regions[device.ordinal] = region;
    this.#registrars[device.ordinal] = device;
    return region;
  }

  #deregisterAll(): void {
    for (const device of this.#registrars) if (device !== undefined) this.deregister(device);
  }
}
