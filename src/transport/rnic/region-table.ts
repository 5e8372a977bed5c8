import type { MemoryKey } from '../verbs.js';
import { assert } from '../../common/assert.js';
import { REGION_KEYS_MAX } from '../limits.js';
import { VerbsError } from '../verbs.js';
import { Fault } from './fault.js';
import { KeySource } from './key-source.js';
import type { RegionSpan } from './placement.js';
import type { AccessScope, RegionKeys, SoftRegion } from './region.js';

const SLOTS_INITIAL = 256;
const TWO_32 = 0x1_0000_0000;

/**
 * A device's memory keys and their regions: every key that is in use, or drawn for a later registration. The table
 * uses open addressing with linear probing. Keys are random, so the low bits of a key are its hash. A removal moves
 * later entries up, without tombstones. Only growth allocates memory.
 */
// `?? 0` and `?? null` below are for the compiler: a slot is masked, or counted up to the length of the arrays.
export class RegionTable implements RegionKeys {
  #keys = new Uint32Array(SLOTS_INITIAL);
  #regions: (SoftRegion | null)[] = new Array<SoftRegion | null>(SLOTS_INITIAL).fill(null);
  #mask = SLOTS_INITIAL - 1;
  #count = 0;
  readonly #source: KeySource;

  constructor(source: KeySource = new KeySource()) {
    this.#source = source;
  }

  get count(): number {
    return this.#count;
  }

  /**
   * Draws an unused key and adds `region` with it.
   * @throws VerbsError when the table is full
   */
  draw(region: SoftRegion): MemoryKey {
    if (this.#count >= REGION_KEYS_MAX) {
      throw new VerbsError(
        'regions-exhausted',
        `The RDMA device has no room for more than ${REGION_KEYS_MAX} memory keys; deregister some.`,
      );
    }
    if ((this.#count + 1) * 2 > this.#keys.length) this.#grow();
    let key = this.#source.draw() as MemoryKey;
    while (this.find(key) !== null) key = this.#source.draw() as MemoryKey;
    this.#insert(key, region);
    this.#count++;
    return key;
  }

  find(key: MemoryKey): SoftRegion | null {
    if (key === 0) return null;
    let slot = key & this.#mask;
    for (;;) {
      const present = this.#keys[slot];
      if (present === key) return this.#regions[slot] ?? null;
      if (present === 0) return null;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** Removes a key that {@link draw} returned. */
  remove(key: MemoryKey): void {
    const keys = this.#keys;
    const mask = this.#mask;
    let hole = key & mask;
    while (keys[hole] !== key) {
      assert(keys[hole] !== 0, 'removal of a memory key that is not in the table');
      hole = (hole + 1) & mask;
    }
    for (let slot = (hole + 1) & mask; keys[slot] !== 0; slot = (slot + 1) & mask) {
      const home = (keys[slot] ?? 0) & mask;
      // An entry may move up only if the hole is between its home slot and its present slot.
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      keys[hole] = keys[slot] ?? 0;
      this.#regions[hole] = this.#regions[slot] ?? null;
      hole = slot;
    }
    keys[hole] = 0;
    this.#regions[hole] = null;
    this.#count--;
  }

  /**
   * Checks a remote access of `length` bytes at a 64-bit address, before any byte is copied. All numbers are unsigned
   * 32-bit. With `Fault.none`, `out` names the bytes in the slab.
   */
  check(
    stag: MemoryKey,
    scope: AccessScope,
    access: number,
    addressHigh: number,
    addressLow: number,
    length: number,
    out: RegionSpan,
  ): Fault {
    const region = this.find(stag);
    if (region === null || region.activeKey !== stag) return Fault.invalidStag;
    if (!region.isOpenTo(scope)) return Fault.notAssociated;
    if ((region.access & access) !== access) return Fault.access;
    // The end may be exactly 2^64, so the code compares the bytes left in the address space.
    const lowEnd = addressLow + length;
    const highEnd = addressHigh + (lowEnd >= TWO_32 ? 1 : 0);
    if (highEnd > 0xffff_ffff && lowEnd > TWO_32) return Fault.wrap;
    // A region is at most 2^32 bytes long, so inside it the upper halves differ by 0 or 1, and the sum below is
    // exact.
    const highDelta = addressHigh - region.addressHigh;
    if (highDelta < 0 || highDelta > 1) return Fault.bounds;
    const delta = highDelta * TWO_32 + addressLow - region.addressLow;
    if (delta < 0 || delta + length > region.length) return Fault.bounds;
    out.set(region, region.offset + delta, length);
    return Fault.none;
  }

  /** Revokes the key that a peer named in a Send with Invalidate, if the peer may revoke it. */
  invalidateRemotely(stag: MemoryKey, scope: AccessScope): Fault {
    const fault = this.checkInvalidate(stag, scope);
    if (fault === Fault.none) this.find(stag)?.revoke();
    return fault;
  }

  checkInvalidate(stag: MemoryKey, scope: AccessScope): Fault {
    const region = this.find(stag);
    if (region === null || region.activeKey !== stag) return Fault.invalidStag;
    if (!region.isOpenTo(scope)) return Fault.notAssociated;
    return region.isFast ? Fault.none : Fault.cannotInvalidate;
  }

  #insert(key: MemoryKey, region: SoftRegion): void {
    let slot = key & this.#mask;
    while (this.#keys[slot] !== 0) slot = (slot + 1) & this.#mask;
    this.#keys[slot] = key;
    this.#regions[slot] = region;
  }

  #grow(): void {
    const keys = this.#keys;
    const regions = this.#regions;
    const capacity = keys.length * 2;
    this.#keys = new Uint32Array(capacity);
    this.#regions = new Array<SoftRegion | null>(capacity).fill(null);
    this.#mask = capacity - 1;
    for (let slot = 0; slot < keys.length; slot++) {
      const region = regions[slot];
      if (region !== null && region !== undefined)
        this.#insert((keys[slot] ?? 0) as MemoryKey, region);
    }
  }
}
