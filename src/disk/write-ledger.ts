/**
 * Keeps a flush honest. A device with a write cache ends a write before its data is safe; when it loses that data
 * later, it can say so only on some other command. Such news is kept here, and every flush from then on must fail:
 * whose writes they were is not known, and each client that flushes would believe that what it wrote before is on the
 * medium. A device that failed a flush may also have dropped what it could not write, and call the next one good.
 */
export class WriteLedger {
  #isShared: boolean;
  #writesDone = 0;
  #writesFlushed = 0;
  #hasLost = false;

  /** `isShared`: others write to the device whose flushes are ours too, and what they wrote is not known here. */
  constructor(isShared = false) {
    this.#isShared = isShared;
  }

  /** Others write from now on as well. */
  share(): void {
    this.#isShared = true;
  }

  /** Writes ended that no flush has covered yet, or may have. */
  get isDirty(): boolean {
    return this.#isShared || this.#writesDone > this.#writesFlushed;
  }

  writeDone(): void {
    this.#writesDone++;
  }

  /** What a flush that starts now covers; for {@link flushDone}. */
  get mark(): number {
    return this.#writesDone;
  }

  /** A flush succeeded. */
  flushDone(mark: number): void {
    this.#writesFlushed = Math.max(this.#writesFlushed, mark);
  }

  /** Writes that had ended are lost, or may be. */
  lose(): void {
    this.#hasLost = true;
  }

  /** No flush may succeed any more. */
  get hasLost(): boolean {
    return this.#hasLost;
  }
}
