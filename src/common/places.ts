/** Who holds one of a bounded number of places. */
export interface PlaceHolder {
  /** Where it comes from; empty for nowhere in particular, which is not limited by itself. */
  readonly peerHost: string;
}

export interface PlaceLimits {
  readonly placesMax: number;
  readonly placesPerHostMax: number;
}

/**
 * Places for those who have proved nothing yet. They never run out for a newcomer: whoever has been silent longest gives
 * up its place. A host that has all that one may have loses one of its own, so nobody can drive out the others' from
 * one address.
 */
export class Places<T extends PlaceHolder> {
  readonly #limits: PlaceLimits;
  /** Longest silent first. */
  readonly #holders = new Set<T>();

  constructor(limits: PlaceLimits) {
    this.#limits = limits;
  }

  get count(): number {
    return this.#holders.size;
  }

  [Symbol.iterator](): Iterator<T> {
    return this.#holders.values();
  }

  /** Gives `holder` a place. Returns who has lost one for that, if anybody has; the caller ends it. */
  take(holder: T): T | null {
    const displaced = this.#displacedBy(holder.peerHost);
    if (displaced !== null) this.#holders.delete(displaced);
    this.#holders.add(holder);
    return displaced;
  }

  /** Something has come from `holder`, if it still has a place. */
  heard(holder: T): void {
    if (this.#holders.delete(holder)) this.#holders.add(holder);
  }

  leave(holder: T): void {
    this.#holders.delete(holder);
  }

  #displacedBy(host: string): T | null {
    const { placesMax, placesPerHostMax } = this.#limits;
    if (host !== '') {
      let first: T | null = null;
      let count = 0;
      for (const holder of this.#holders) {
        if (holder.peerHost !== host) continue;
        first ??= holder;
        count += 1;
      }
      if (count >= placesPerHostMax) return first;
    }
    if (this.#holders.size < placesMax) return null;
    const [oldest = null] = this.#holders;
    return oldest;
  }
}
