import { addressKey } from './network.js';

/** How many clients may be served at once; see NbdLimits. */
export interface ClientCountLimits {
  readonly connectionsMax: number;
  readonly connectionsPerAddressMax: number | null;
}

/** Why a client is one too many. */
export interface ClientRefusal {
  /** For the client. */
  readonly message: string;
  /** The limits that are reached, for the log. */
  readonly facts: Readonly<Record<string, number>>;
}

/** Of all places, one in so many is kept for Unix sockets, where there are any to come by. */
const UNIX_PART = 8;
/** So many an address may always have: the kernel's nbd driver and QEMU open 16 connections for a disk at most. */
const ADDRESS_CLIENTS_MIN = 16;

/**
 * The clients there are, in all and of each IP address; those on Unix sockets have none. TCP clients never fill the
 * places that are kept for Unix sockets. Unless the limit of an address is given as a number, an address may have as
 * many as it leaves free, so that idle clients of a few addresses do not fill everything.
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

  /** There is a Unix socket to come by. */
  keepForUnix(): void {
    this.#keptForUnix = Math.floor(this.#limits.connectionsMax / UNIX_PART);
  }

  /** Why the next client from there would be one too many; null when it would not. */
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
        message: `this address has all the connections that one may have: limits.connectionsPerAddress is ${max}`,
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

  /** Counts a client that has come, or one that is gone. */
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
      message: `the server has all the connections that it takes: limits.connections is ${connectionsMax}${kept}`,
      facts: { connectionsMax },
    };
  }
}
