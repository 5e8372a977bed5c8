import { MemoryStore } from '../../../src/store/memory-store.js';
import type { PinnedData } from '../../../src/store/pinned-data.js';
import type { StoreRequest } from '../../../src/store/store.js';

/** A memory store that, while it is told to, keeps requests to itself, reads included. */
export class HoldingStore extends MemoryStore {
  isHolding = false;
  readonly held: StoreRequest[] = [];

  override submit(request: StoreRequest): void {
    if (this.isHolding) this.held.push(request);
    else super.submit(request);
  }

  override pin(offset: number, length: number, out: PinnedData): boolean {
    return !this.isHolding && super.pin(offset, length, out);
  }

  release(): void {
    this.isHolding = false;
    for (const request of this.held.splice(0)) super.submit(request);
  }
}
