import { randomFillSync } from 'node:crypto';

/** Keys per call of the system's generator. A system call per key would cost more than the I/O. */
const KEYS_PER_BLOCK = 1024;

/** Fills the array with random numbers. */
export type RandomFill = (block: Uint32Array) => void;

/** Unpredictable 32-bit numbers, never 0, for memory keys (RFC 5042 section 8.1.1: keys must be hard to guess). */
export class KeySource {
  readonly #block = new Uint32Array(KEYS_PER_BLOCK);
  readonly #fill: RandomFill;
  #next = KEYS_PER_BLOCK;

  constructor(fill: RandomFill = (block) => void randomFillSync(block)) {
    this.#fill = fill;
  }

  draw(): number {
    for (;;) {
      if (this.#next === KEYS_PER_BLOCK) {
        this.#fill(this.#block);
        this.#next = 0;
      }
      const index = this.#next++;
      const key = this.#block[index] ?? 0;
      // Clears a used key, so that a memory dump or a bug cannot reveal it.
      this.#block[index] = 0;
      if (key !== 0) return key;
    }
  }
}
