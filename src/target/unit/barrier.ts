/** Waits for a number of events, some of which may happen before the number is known. */
export class Barrier {
  readonly ended: () => void;
  readonly #passed: () => void;
  #left = 0;
  #isClosed = false;

  constructor(passed: () => void) {
    this.#passed = passed;
    this.ended = () => {
      this.#left -= 1;
      this.#passIfOver();
    };
  }

  add(count: number): void {
    this.#left += count;
  }

  /** Call when the number of events is complete. */
  close(): void {
    this.#isClosed = true;
    this.#passIfOver();
  }

  #passIfOver(): void {
    if (this.#isClosed && this.#left === 0) this.#passed();
  }
}
