import { MemoryStore } from '../../src/target/memory-store.js';
import type { StoreRequest } from '../../src/target/store.js';

/** A memory store that, while it is told to, keeps requests to itself. */
export class HoldingStore extends MemoryStore {
  isHolding = false;
  readonly held: StoreRequest[] = [];

  override submit(request: StoreRequest): void {
    if (this.isHolding) this.held.push(request);
    else super.submit(request);
  }

  release(): void {
    this.isHolding = false;
    for (const request of this.held.splice(0)) super.submit(request);
  }
}
