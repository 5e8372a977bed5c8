/**
 * Keeps a flush honest. A device with a write cache ends a write before its data is safe; when it loses that data
 * later, it can say so only on some other command. Such news is kept here for the next flush, which must then fail:
 * otherwise its requester would believe that what it wrote before is on the medium.
 */
export class WriteLedger {
  #writesDone = 0;
  #writesFlushed = 0;
  #loss: string | null = null;

  /** Writes ended that no flush has covered yet. */
  get isDirty(): boolean {
    return this.#writesDone > this.#writesFlushed;
  }

  writeDone(): void {
    this.#writesDone++;
  }

  /** What a flush that starts now covers; for {@link flushDone}. */
  get mark(): number {
    return this.#writesDone;
  }

  /** A flush succeeded. Returns why it must fail nevertheless, or null; the loss is then told, and forgotten. */
  flushDone(mark: number): string | null {
    const loss = this.#loss;
    this.#loss = null;
    this.#writesFlushed = Math.max(this.#writesFlushed, mark);
    return loss;
  }

  /** Writes that had ended are lost, or may be. */
  lose(reason: string): void {
    this.#loss ??= reason;
  }
}
