/** Draws decisions from a string of bytes: the same bytes always make the same run. Past the end it draws zeroes. */
export class FuzzInput {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isEmpty(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  below(limit: number): number {
    return limit <= 256 ? this.byte() % limit : (this.byte() * 256 + this.byte()) % limit;
  }

  flip(): boolean {
    return (this.byte() & 1) === 1;
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.below(choices.length)];
    if (choice === undefined) throw new Error('nothing to pick from');
    return choice;
  }

  bytes(length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let index = 0; index < length; index++) bytes[index] = this.byte();
    return bytes;
  }

  /** A string of bytes in pieces, cut where the input says. */
  *pieces(bytes: Buffer): Iterable<Buffer> {
    if (!this.flip()) {
      yield bytes;
      return;
    }
    for (let at = 0; at < bytes.length;) {
      const end = Math.min(bytes.length, at + 1 + this.below(64));
      yield bytes.subarray(at, end);
      at = end;
    }
  }
}
