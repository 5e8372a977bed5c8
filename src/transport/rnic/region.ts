import { Slab } from '../../common/slab.js';
import type {
  FastRegion,
  MemoryKey,
  MemoryRegion,
  MemorySpan,
  ProtectionDomain,
  SendWorkRequest,
} from '../verbs.js';
import { Access, NO_MEMORY_KEY, VerbsError } from '../verbs.js';
import {
  addressHighOf,
  addressLowOf,
  nextWindowHigh,
  SLAB_BYTES_MAX,
  WINDOW_LOW,
} from './address.js';
import { PlacedRanges } from './placed-ranges.js';

const nothing = new Slab(0);

/** The keys of a device and their regions. */
export interface RegionKeys {
  /**
   * Draws an unused key and adds `region` with it.
   * @throws VerbsError when the table is full
   */
  draw(region: SoftRegion): MemoryKey;
  /** Removes a key that {@link draw} returned. */
  remove(key: MemoryKey): void;
}

/** The common part of plain and fast regions. Local and remote key are the same number. */
export abstract class SoftRegion implements MemoryRegion {
  slab: Slab = nothing;
  offset = 0;
  length = 0;
  access: number = Access.none;
  addressHigh = 0;
  addressLow = 0;
  /** The valid key of the region; 0 while the region is invalid. */
  activeKey = NO_MEMORY_KEY;
  abstract readonly isFast: boolean;
  abstract readonly rkey: MemoryKey;
  readonly protectionDomain: ProtectionDomain;
  protected readonly table: RegionKeys;

  constructor(protectionDomain: ProtectionDomain, table: RegionKeys) {
    this.protectionDomain = protectionDomain;
    this.table = table;
  }

  get lkey(): MemoryKey {
    return this.rkey;
  }

  get isValid(): boolean {
    return this.activeKey !== 0;
  }

  /** True when this queue pair may use the key. */
  abstract isOpenTo(scope: AccessScope): boolean;

  /** Ends the registration. From now on the old key gives no access to the memory. */
  revoke(): void {
    if (this.activeKey === 0) return;
    this.table.remove(this.activeKey);
    this.activeKey = NO_MEMORY_KEY;
  }

  abstract deregister(): void;

  /** A peer's RDMA Write has filled `[start, end)`, counted from the region's start. */
  abstract notePlaced(start: number, end: number): void;

  protected cover(slab: Slab, offset: number, length: number, access: number): void {
    this.slab = slab;
    this.offset = offset;
    this.length = length;
    this.access = access;
  }
}

/** A region that is valid from registration to deregistration. A peer cannot revoke it. */
export class SoftMemoryRegion extends SoftRegion {
  readonly isFast = false;
  readonly #deregistered: () => void;
  readonly rkey: MemoryKey;

  /** @throws VerbsError when `source` is not inside its slab */
  constructor(
    protectionDomain: ProtectionDomain,
    table: RegionKeys,
    source: MemorySpan,
    access: number,
    deregistered: () => void,
  ) {
    super(protectionDomain, table);
    requireInside(source.slab, source.offset, source.length);
    this.cover(source.slab, source.offset, source.length, access);
    this.addressHigh = addressHighOf(source.slab, source.offset);
    this.addressLow = addressLowOf(source.offset);
    this.#deregistered = deregistered;
    this.rkey = table.draw(this);
    this.activeKey = this.rkey;
  }

  override isOpenTo(scope: AccessScope): boolean {
    return scope.protectionDomain === this.protectionDomain;
  }

  /** Placed bytes are not counted, because many requests share the region. */
  override notePlaced(): void {
    // No counter to update.
  }

  override deregister(): void {
    if (!this.isValid) return;
    this.revoke();
    this.#deregistered();
  }
}

/**
 * A region that REG_MR maps. Its states form a cycle:
 *
 *     free --nextKey()--> key drawn --REG_MR executes--> valid --LOCAL_INV, remote invalidate--> free
 *
 * Every registration has a new key. A REG_MR never uses a revoked key again. A valid region is bound to the queue
 * pair that executed its REG_MR: the key gives no access on another connection, even in the same protection domain
 * (RFC 5042 section 8.1.1, stream-associated STags).
 *
 * The remote address is fixed from the start and does not depend on the mapped memory, so that the Send after the
 * REG_MR in the same chain can advertise it.
 */
export class SoftFastRegion extends SoftRegion implements FastRegion {
  readonly isFast = true;
  readonly bytesMax: number;
  readonly #deregistered: () => void;
  readonly #placed = new PlacedRanges();
  #drawnKey = NO_MEMORY_KEY;
  #latestKey = NO_MEMORY_KEY;
  #boundTo: AccessScope | null = null;
  #isAllocated = true;

  constructor(
    protectionDomain: ProtectionDomain,
    table: RegionKeys,
    bytesMax: number,
    deregistered: () => void,
  ) {
    super(protectionDomain, table);
    this.bytesMax = bytesMax;
    this.#deregistered = deregistered;
    this.addressHigh = nextWindowHigh();
    this.addressLow = WINDOW_LOW;
  }

  /** The key that was drawn last. It is valid after its REG_MR has been executed. */
  get rkey(): MemoryKey {
    return this.#latestKey;
  }

  nextKey(): MemoryKey {
    if (!this.#isAllocated) {
      throw new VerbsError('region-deregistered', 'The fast registration region is deregistered.');
    }
    this.#forgetDrawnKey();
    this.#drawnKey = this.table.draw(this);
    this.#latestKey = this.#drawnKey;
    return this.#drawnKey;
  }

  get placedBytes(): number {
    return this.#placed.front;
  }

  override isOpenTo(scope: AccessScope): boolean {
    return scope === this.#boundTo;
  }

  override notePlaced(start: number, end: number): void {
    this.#placed.add(start, end);
  }

  /**
   * Executes a REG_MR. False for an invalid request: the region is still valid with an earlier key, the key is not
   * the drawn key, or the memory is outside the slab or too long.
   */
  register(scope: AccessScope, request: SendWorkRequest): boolean {
    const slab = request.registerSlab;
    const key = request.registerKey;
    const length = request.registerLength;
    if (this.isValid || key === 0 || key !== this.#drawnKey || slab === null) return false;
    if (scope.protectionDomain !== this.protectionDomain) return false;
    if (length > this.bytesMax || !isInside(slab, request.registerOffset, length)) return false;
    this.cover(slab, request.registerOffset, length, request.registerAccess);
    this.#placed.reset();
    this.#boundTo = scope;
    this.#drawnKey = NO_MEMORY_KEY;
    this.activeKey = key;
    return true;
  }

  override revoke(): void {
    super.revoke();
    this.#boundTo = null;
  }

  override deregister(): void {
    if (!this.#isAllocated) return;
    this.#isAllocated = false;
    this.revoke();
    this.#forgetDrawnKey();
    this.#deregistered();
  }

  #forgetDrawnKey(): void {
    if (this.#drawnKey === 0) return;
    this.table.remove(this.#drawnKey);
    this.#drawnKey = NO_MEMORY_KEY;
  }
}

function isInside(slab: Slab, offset: number, length: number): boolean {
  if (!Number.isInteger(offset) || !Number.isInteger(length) || offset < 0 || length < 0) {
    return false;
  }
  return offset + length <= slab.length && slab.length <= SLAB_BYTES_MAX;
}

function requireInside(slab: Slab, offset: number, length: number): void {
  if (isInside(slab, offset, length)) return;
  throw new VerbsError(
    'registration-bounds',
    `Memory registration of ${length} bytes at ${offset} is not inside of its slab of ${slab.length} bytes.`,
    { offset, length, slabBytes: slab.length },
  );
}

/** The queue pair that requests access. Its identity is the stream that a fast-registered key is bound to. */
export interface AccessScope {
  readonly protectionDomain: ProtectionDomain;
}
