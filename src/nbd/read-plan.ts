import type { BlockExtent } from '../block/device.js';
import { ExtentList } from '../block/extents.js';

/**
 * The runs of zeroes in a READ that are long enough to be sent as holes. Shorter runs count as data: scattered small
 * holes would turn one READ into many small ones.
 */
export class ReadPlan {
  #runs: readonly BlockExtent[] = [];
  #index = 0;
  #restBytes = 0;

  /** Takes the extents from the present position on. They may cover only the beginning of the rest. */
  learn(extents: readonly BlockExtent[], holeBytesMin: number): void {
    const joined = new ExtentList();
    for (const { lengthBytes, zero } of extents) joined.add(lengthBytes, zero, zero);
    const runs = new ExtentList();
    for (const { lengthBytes, zero } of joined.extents) {
      const isHole = zero && lengthBytes >= holeBytesMin;
      runs.add(lengthBytes, isHole, isHole);
    }
    this.#runs = runs.extents;
    this.#index = 0;
    this.#restBytes = this.#runs[0]?.lengthBytes ?? 0;
  }

  /** The rest of the run at the present position; 0 when its extent is not known. */
  get runBytes(): number {
    return this.#restBytes;
  }

  get isHole(): boolean {
    return this.#runs[this.#index]?.hole === true;
  }

  /** Moves the position by `bytes`, at most {@link runBytes}. */
  advance(bytes: number): void {
    this.#restBytes -= bytes;
    if (this.#restBytes > 0) return;
    this.#index++;
    this.#restBytes = this.#runs[this.#index]?.lengthBytes ?? 0;
  }

  forget(): void {
    this.#runs = [];
    this.#index = 0;
    this.#restBytes = 0;
  }
}
