/** The longest write that is packed. Copying it costs less than a buffer of its own in a writev: replies without data. */
export const PACKED_BYTES_MAX = 64;

/** A batch rarely has more short writes than a client has requests in flight: 128 replies of 16 bytes. */
const AREA_BYTES = 2048;
const AREAS_KEPT_MAX = 4;

/**
 * Copies short writes that follow each other side by side, so that they leave as one buffer. An area is used again after
 * its batch has left; the owner of the batch then calls {@link giveBack}.
 *
 *     area    [ a b c | d e | . . . ]        each | ends a run: a long write came between
 */
export class PackedWrites {
  #area: Buffer | null = null;
  #start = 0;
  #end = 0;
  readonly #kept: Buffer[] = [];

  /** The length of the present run. */
  get runBytes(): number {
    return this.#end - this.#start;
  }

  /** Appends to the run; false when the area has no room for that. */
  append(bytes: Uint8Array): boolean {
    const area = (this.#area ??= this.#kept.pop() ?? Buffer.allocUnsafeSlow(AREA_BYTES));
    const { length } = bytes;
    const at = this.#end;
    if (length > AREA_BYTES - at) return false;
    // For so few bytes, a loop is faster than a call into the runtime.
    for (let index = 0; index < length; index++) area[at + index] = bytes[index] ?? 0;
    this.#end = at + length;
    return true;
  }

  /** Begins a run with two writes; false when there is no room for both. */
  begin(first: Uint8Array, second: Uint8Array): boolean {
    if (first.length + second.length > AREA_BYTES - this.#end) return false;
    return this.append(first) && this.append(second);
  }

  /** Ends the run and returns its bytes, which do not change until {@link giveBack}. Null for an empty run. */
  take(): Buffer | null {
    if (this.#area === null || this.#start === this.#end) return null;
    const run = this.#area.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return run;
  }

  /** Ends the batch and returns the area that it has used; null for none. */
  detach(): Buffer | null {
    const area = this.#area;
    this.#area = null;
    this.#start = 0;
    this.#end = 0;
    return area;
  }

  /** Takes back an area whose batch has left. */
  giveBack(area: Buffer): void {
    if (this.#kept.length < AREAS_KEPT_MAX) this.#kept.push(area);
  }
}
