import { addressKey } from './network.js';

/** How many clients may be served at once; see NbdLimits. */
export interface ClientCountLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number;
}

/** How many clients there are, in all and of each IP address; those on Unix sockets, without one, count in all only. */
export class ClientCounts {
  readonly #limits: ClientCountLimits;
  /** By {@link addressKey}. */
  readonly #byAddress = new Map<string, number>();
  #count = 0;

  constructor(limits: ClientCountLimits) {
    this.#limits = limits;
  }

  /** The limit that the next client from there would exceed; null for none. */
  refusal(address: string | null): Readonly<Record<string, number>> | null {
    const { connectionsMax, connectionsPerAddressMax } = this.#limits;
    if (this.#count >= connectionsMax) return { connectionsMax };
    if (address === null) return null;
    const count = this.#byAddress.get(addressKey(address)) ?? 0;
    return count >= connectionsPerAddressMax ? { connectionsPerAddressMax } : null;
  }

  /** Counts a client that has come, or one that is gone. */
  change(address: string | null, by: 1 | -1): void {
    this.#count += by;
    if (address === null) return;
    const key = addressKey(address);
    const count = (this.#byAddress.get(key) ?? 0) + by;
    if (count === 0) this.#byAddress.delete(key);
    else this.#byAddress.set(key, count);
  }
}
