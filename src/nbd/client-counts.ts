import { addressKey } from './network.js';

/** How many clients may be served at once; see NbdLimits. */
export interface ClientCountLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number | null;
}

/** Why one more client is too many. */
export interface ClientRefusal {
  /** The sentence for the client. */
  readonly message: string;
  /** The limits that are reached, for the log. */
  readonly facts: Readonly<Record<string, number>>;
}

/** One place in this many is kept for clients on Unix sockets, when the server listens on one. */
const UNIX_PART = 8;
/** An address may always have this many: the kernel's nbd driver and QEMU open at most 16 connections for a disk. */
const ADDRESS_CLIENTS_MIN = 16;

/**
 * Counts the clients, in all and by IP address; clients on Unix sockets have no address. TCP clients never fill the
 * places that are kept for Unix sockets. Unless the limit per address is set, an address may have as many places as it
 * leaves free. So idle clients of a few addresses do not fill all places.
 */
export class ClientCounts {
  readonly #limits: ClientCountLimits;
  /** By {@link addressKey}. */
  readonly #byAddress = new Map<string, number>();
  #count = 0;
  #tcpCount = 0;
  #keptForUnix = 0;

  constructor(limits: ClientCountLimits) {
    this.#limits = limits;
  }

  /** The server listens on a Unix socket: keeps places for its clients. */
  keepForUnix(): void {
    this.#keptForUnix = Math.floor(this.#limits.connectionsMax / UNIX_PART);
  }

  /** Why one more client from `address` would be too many; null when it would not. */
  refusal(address: string | null): ClientRefusal | null {
    const { connectionsMax, connectionsPerAddressMax } = this.#limits;
    const free = connectionsMax - this.#count;
    if (address === null) return free > 0 ? null : this.#full();
    const freeForTcp = Math.min(free, connectionsMax - this.#keptForUnix - this.#tcpCount);
    if (freeForTcp <= 0) return this.#full();
    const count = this.#byAddress.get(addressKey(address)) ?? 0;
    const max = connectionsPerAddressMax ?? Math.max(freeForTcp, ADDRESS_CLIENTS_MIN);
    if (count < max) return null;
    if (connectionsPerAddressMax !== null) {
      return {
        message: `this address already has the most connections allowed: limits.connectionsPerAddress is ${max}`,
        facts: { connectionsPerAddressMax },
      };
    }
    return {
      message:
        `this address has ${count} connections, and as many are kept for others: limits.connections is ` +
        `${connectionsMax}, and limits.connectionsPerAddress is not set`,
      facts: { connectionsMax, ofAddress: count },
    };
  }

  /** Adds a client that has come (1), or removes one that is gone (-1). */
  change(address: string | null, by: 1 | -1): void {
    this.#count += by;
    if (address === null) return;
    this.#tcpCount += by;
    const key = addressKey(address);
    const count = (this.#byAddress.get(key) ?? 0) + by;
    if (count === 0) this.#byAddress.delete(key);
    else this.#byAddress.set(key, count);
  }

  #full(): ClientRefusal {
    const { connectionsMax } = this.#limits;
    const kept = this.#keptForUnix === 0 ? '' : `, ${this.#keptForUnix} of them for Unix sockets`;
    return {
      message: `the server already has the most connections allowed: limits.connections is ${connectionsMax}${kept}`,
      facts: { connectionsMax },
    };
  }
}
