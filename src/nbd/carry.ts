import { assert } from '../common/assert.js';

/**
 * Bytes that were received but could not be parsed yet. The next read uses the receive buffer again, so unparsed bytes
 * have to move here. The memory, `capacity` bytes, is allocated on first use.
 */
export class Carry {
  readonly #capacity: number;
  #bytes: Buffer | null = null;
  #view: DataView | null = null;
  #start = 0;
  #end = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** Appends `bytes[start .. end)`; false when the carry has no room for them. */
  append(bytes: Buffer, start: number, end: number): boolean {
    if (end - start > this.#capacity - this.#end) return false;
    this.#bytes ??= Buffer.allocUnsafeSlow(this.#capacity);
    bytes.copy(this.#bytes, this.#end, start, end);
    this.#end += end - start;
    return true;
  }

  /** Passes the carried bytes to `parse`, which returns where it stopped. The bytes from there on stay. */
  consume(parse: (bytes: Buffer, view: DataView, start: number, end: number) => number): void {
    if (this.#bytes === null || this.#start === this.#end) return;
    this.#view ??= new DataView(this.#bytes.buffer, this.#bytes.byteOffset, this.#bytes.length);
    const end = this.#end;
    const stopped = parse(this.#bytes, this.#view, this.#start, end);
    assert(stopped >= this.#start && stopped <= end, 'carry parsed out of bounds');
    // Parsing may end the connection and clear the carry.
    if (this.#end === end) this.#start = stopped;
    if (this.#start === this.#end) this.clear();
  }

  clear(): void {
    this.#start = 0;
    this.#end = 0;
  }
}
