/**
 * Ensures that a flush reports lost writes. A device with a write cache ends a write before its data is safe. When
 * the device loses that data later, it can report the loss only with another command. The ledger remembers the loss,
 * and every later flush must fail: it is unknown whose writes are lost, and a client takes a successful flush as
 * proof that its writes are on the medium. A device that failed a flush may also have dropped the data, and may
 * report success for the next flush.
 */
export class WriteLedger {
  #isShared: boolean;
  #writesDone = 0;
  #writesFlushed = 0;
  #hasLost = false;

  /** `isShared`: other users write to the same device, and this ledger does not see their writes. */
  constructor(isShared = false) {
    this.#isShared = isShared;
  }

  /** From now on other users write to the device, too. */
  share(): void {
    this.#isShared = true;
  }

  /** True when a write has ended, or may have ended, that no flush has covered. */
  get isDirty(): boolean {
    return this.#isShared || this.#writesDone > this.#writesFlushed;
  }

  writeDone(): void {
    this.#writesDone++;
  }

  /** The writes that a flush covers if it starts now; pass it to {@link flushDone}. */
  get mark(): number {
    return this.#writesDone;
  }

  /** A flush succeeded. */
  flushDone(mark: number): void {
    this.#writesFlushed = Math.max(this.#writesFlushed, mark);
  }

  /** Completed writes are lost, or may be lost. */
  lose(): void {
    this.#hasLost = true;
  }

  /** True when no flush may succeed any more. */
  get hasLost(): boolean {
    return this.#hasLost;
  }
}
