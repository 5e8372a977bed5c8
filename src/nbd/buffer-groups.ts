import { SlabGroup } from '../common/slab-share.js';
import type { SlabPool } from '../common/slab.js';
import { addressKey } from './network.js';

interface Member {
  readonly group: SlabGroup;
  count: number;
}

/** The buffers that the clients of one IP address share. All clients on Unix sockets share one part as well. */
export class BufferGroups {
  readonly #pool: SlabPool;
  readonly #groups = new Map<string, Member>();

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** Adds a client, and returns its group. */
  join(address: string | null): SlabGroup {
    const key = keyOf(address);
    let member = this.#groups.get(key);
    if (member === undefined) this.#groups.set(key, (member = newMember(this.#pool)));
    member.count++;
    return member.group;
  }

  /** Removes a client that has given back all its buffers. */
  leave(address: string | null): void {
    const key = keyOf(address);
    const member = this.#groups.get(key);
    if (member !== undefined && --member.count === 0) this.#groups.delete(key);
  }
}

function newMember(pool: SlabPool): Member {
  return { group: new SlabGroup(pool), count: 0 };
}

function keyOf(address: string | null): string {
  return address === null ? 'unix' : addressKey(address);
}
