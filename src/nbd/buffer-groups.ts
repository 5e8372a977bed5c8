import { SlabGroup } from '../common/slab-share.js';
import type { SlabPool } from '../common/slab.js';
import { addressKey } from './network.js';

interface Member {
  readonly group: SlabGroup;
  count: number;
}

/** The part of a server's buffers that the clients of one IP address have together; those on Unix sockets are one. */
export class BufferGroups {
  readonly #pool: SlabPool;
  readonly #groups = new Map<string, Member>();

  constructor(pool: SlabPool) {
    this.#pool = pool;
  }

  /** The group of a client that has come. */
  join(address: string | null): SlabGroup {
    const key = keyOf(address);
    let member = this.#groups.get(key);
    if (member === undefined) this.#groups.set(key, (member = newMember(this.#pool)));
    member.count++;
    return member.group;
  }

  /** A client is gone, and has given back all that it had. */
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
