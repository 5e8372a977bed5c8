import type { BlockExtent } from '../block/device.js';
import { ExtentList } from '../block/extents.js';

/**
 * Where the runs of zeroes in a READ are that are worth a hole of their own. Other zeroes count as data, so that
 * scattered small holes do not turn a READ into many small ones.
 */
export class ReadPlan {
  #runs: readonly BlockExtent[] = [];
  #index = 0;
  #restBytes = 0;

  /** Learns the extents from the present place on. They need not cover all of the READ. */
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

  /** What is left of the run at the present place; 0 when nothing is known of it. */
  get runBytes(): number {
    return this.#restBytes;
  }

  get isHole(): boolean {
    return this.#runs[this.#index]?.hole === true;
  }

  /** Goes on by no more than `runBytes`. */
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
