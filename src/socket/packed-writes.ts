/** What is short enough for copying it to cost less than a buffer of its own in a writev does: replies without data. */
export const PACKED_BYTES_MAX = 64;

/** A batch rarely has more short writes than a client has requests in flight: 128 replies of 16 bytes. */
const AREA_BYTES = 2048;
const AREAS_KEPT_MAX = 4;

/**
 * Puts short writes that follow each other side by side, so that they leave as one buffer. Areas are used again when
 * the batch that they are part of has left; the one who owns the batch says when.
 *
 *     area    [ a b c | d e | . . . ]        each | ends a run: something long went between
 */
export class PackedWrites {
  #area: Buffer | null = null;
  #start = 0;
  #end = 0;
  readonly #kept: Buffer[] = [];

  /** Bytes of the run that is not taken yet. */
  get runBytes(): number {
    return this.#end - this.#start;
  }

  /** Appends to the run; false when that would be too long for what is left of the area. */
  append(bytes: Uint8Array): boolean {
    const area = (this.#area ??= this.#kept.pop() ?? Buffer.allocUnsafeSlow(AREA_BYTES));
    const { length } = bytes;
    const at = this.#end;
    if (length > AREA_BYTES - at) return false;
    // So few bytes are copied faster than a call into the runtime begins.
    for (let index = 0; index < length; index++) area[at + index] = bytes[index] ?? 0;
    this.#end = at + length;
    return true;
  }

  /** Begins a run with these two; false when there is no room for both. */
  begin(first: Uint8Array, second: Uint8Array): boolean {
    if (first.length + second.length > AREA_BYTES - this.#end) return false;
    return this.append(first) && this.append(second);
  }

  /** Ends the run: its bytes, which stay as they are until {@link giveBack}. */
  take(): Buffer | null {
    if (this.#area === null || this.#start === this.#end) return null;
    const run = this.#area.subarray(this.#start, this.#end);
    this.#start = this.#end;
    return run;
  }

  /** Ends the batch: the area that it has used, if any, which goes with it. */
  detach(): Buffer | null {
    const area = this.#area;
    this.#area = null;
    this.#start = 0;
    this.#end = 0;
    return area;
  }

  /** Nobody reads the area any more. */
  giveBack(area: Buffer): void {
    if (this.#kept.length < AREAS_KEPT_MAX) this.#kept.push(area);
  }
}
