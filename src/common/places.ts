/** A peer that holds one of a bounded number of places. */
export interface PlaceHolder {
  /** The peer's IP address; empty for a peer without one, to which the limit per host does not apply. */
  readonly peerHost: string;
}

export interface PlaceLimits {
  readonly placesMax: number;
  readonly placesPerHostMax: number;
}

/**
 * Places for peers that have not proved who they are. A new peer always gets a place: when all are taken, the peer that
 * has been silent longest loses its own. A host that already has `placesPerHostMax` places loses one of these, so one
 * address cannot drive out the others.
 */
export class Places<T extends PlaceHolder> {
  readonly #limits: PlaceLimits;
  /** In order of silence, the longest first. */
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

  /** Gives `holder` a place. Returns the holder that lost its place for that, and null for none; the caller ends it. */
  take(holder: T): T | null {
    const displaced = this.#displacedBy(holder.peerHost);
    if (displaced !== null) this.#holders.delete(displaced);
    this.#holders.add(holder);
    return displaced;
  }

  /** `holder` has sent something. Does nothing when `holder` has lost its place. */
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
