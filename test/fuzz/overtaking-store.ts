import { MemoryStore } from '../../src/store/memory-store.js';
import type { StoreRequest } from '../../src/store/store.js';
import type { Random } from './random.js';

const TURNS_MAX = 6;

/** A memory store that holds each request back for a few turns of the event loop, so that they overtake each other. */
export class OvertakingStore extends MemoryStore {
  readonly #random: Random;

  constructor(sizeBytes: number, random: Random) {
    super({ sizeBytes });
    this.#random = random;
  }

  override submit(request: StoreRequest): void {
    let turns = this.#random.below(TURNS_MAX);
    const turn = (): void => {
      if (turns-- > 0) setImmediate(turn);
      else super.submit(request);
    };
    turn();
  }
}
