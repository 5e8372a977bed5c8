import { BLOCK } from '../support/target/cdbs.js';

/** A command that changes blocks. Its times are those of the history's own clock. */
export interface BlockChange {
  /** What its blocks begin with. */
  readonly id: number;
  /** The blocks read as zeroes afterwards. */
  readonly isZero: boolean;
  readonly startedAt: number;
  /** From then on it cannot take effect any more. */
  overAt: number;
  /** By then it had taken effect. */
  doneAt: number;
  /** It was refused, and must never be seen. */
  isRefused: boolean;
}

/** `unknown`: aborted, or its connection is gone. It has taken effect, in part perhaps, or it has not. */
export type ChangeOutcome = 'done' | 'refused' | 'unknown';

/** In the place of the block's number, where all blocks of a change are the same. */
const ANY_BLOCK = 0xffff_ffff;
/** A block's changes are looked through when there are that many. */
const CHANGES_KEPT = 12;
const ZEROES = Buffer.alloc(BLOCK);

/**
 * Knows what a read of each block may return while many commands are under way at once: what a change wrote that no
 * other has replaced for certain. One has, if it began when the change could take effect no more, and was done before
 * the read began. Each change writes blocks that nobody else writes, so that one block tells where it comes from.
 */
export class BlockHistory {
  readonly #changes: BlockChange[][];
  readonly #readsSince = new Set<number>();
  #now = 1;
  #nextId = 1;

  constructor(blocks: number) {
    const initial = { id: 0, isZero: true, startedAt: 0, overAt: 0, doneAt: 0, isRefused: false };
    this.#changes = Array.from({ length: blocks }, () => [initial]);
  }

  get blocks(): number {
    return this.#changes.length;
  }

  beginChange(lba: number, blocks: number, isZero = false): BlockChange {
    const change = {
      id: this.#nextId++,
      isZero,
      startedAt: this.#now++,
      overAt: Infinity,
      doneAt: Infinity,
      isRefused: false,
    };
    for (let block = lba; block < lba + blocks; block++) {
      this.#forgetReplaced(block);
      this.#changesOf(block).push(change);
    }
    return change;
  }

  endChange(change: BlockChange, outcome: ChangeOutcome): void {
    change.overAt = this.#now++;
    if (outcome === 'done') change.doneAt = change.overAt;
    else if (outcome === 'refused') change.isRefused = true;
  }

  /** What may be read from now on is remembered until the read has ended. */
  beginRead(): number {
    const since = this.#now++;
    this.#readsSince.add(since);
    return since;
  }

  endRead(since: number): void {
    this.#readsSince.delete(since);
  }

  /** Throws where one of these bytes, read from `lba` on, is not what a read that began then may return. */
  check(bytes: Buffer, lba: number, since: number): void {
    for (let at = 0; at < bytes.length; at += BLOCK) {
      // Of the last block a few bytes may have been asked for, which must at least say what it is.
      const block = bytes.subarray(at, at + BLOCK);
      if (block.length >= 8) this.#checkBlock(block, lba + at / BLOCK, since);
    }
  }

  #checkBlock(bytes: Buffer, lba: number, since: number): void {
    const id = bytes.readUInt32LE(0);
    const numberInside = bytes.readUInt32LE(4);
    const whole = id === 0 ? ZEROES : blockOf(id, numberInside);
    if (!bytes.equals(whole.subarray(0, bytes.length))) {
      throw new Error(`block ${lba} is torn: it begins as change ${id} left it`);
    }
    if (id !== 0 && numberInside !== lba && numberInside !== ANY_BLOCK) {
      throw new Error(`block ${lba} holds what change ${id} wrote to block ${numberInside}`);
    }
    const changes = this.#changesOf(lba);
    const mayBeRead = changes.some(
      (change) =>
        (id === 0 ? change.isZero : change.id === id) && !isReplaced(change, changes, since),
    );
    if (mayBeRead) return;
    const known = changes.map((change) => JSON.stringify(change)).join('\n');
    throw new Error(
      `block ${lba} is wrong for a read since ${since}: change ${id}, out of\n${known}`,
    );
  }

  #forgetReplaced(block: number): void {
    const changes = this.#changesOf(block);
    if (changes.length < CHANGES_KEPT) return;
    const since = Math.min(this.#now, ...this.#readsSince);
    this.#changes[block] = changes.filter((change) => !isReplaced(change, changes, since));
  }

  #changesOf(block: number): BlockChange[] {
    const changes = this.#changes[block];
    if (changes === undefined) throw new Error(`no block ${block}`);
    return changes;
  }
}

/** The data of a change that writes `blocks` blocks from `lba` on. */
export function dataOf(change: BlockChange, lba: number, blocks: number): Buffer {
  const data = Buffer.alloc(blocks * BLOCK);
  for (let index = 0; index < blocks; index++) {
    data.fill(startOf(change.id, lba + index), index * BLOCK, (index + 1) * BLOCK);
  }
  return data;
}

/** The one block of a change that writes it over and over. */
export function sameDataOf(change: BlockChange): Buffer {
  return change.isZero ? ZEROES : blockOf(change.id, ANY_BLOCK);
}

function isReplaced(change: BlockChange, changes: readonly BlockChange[], since: number): boolean {
  if (change.isRefused) return true;
  return changes.some((other) => change.overAt < other.startedAt && other.doneAt < since);
}

function blockOf(id: number, lba: number): Buffer {
  return Buffer.alloc(BLOCK, startOf(id, lba));
}

/** A block is this, over and over. */
function startOf(id: number, lba: number): Buffer {
  const start = Buffer.alloc(8);
  start.writeUInt32LE(id, 0);
  start.writeUInt32LE(lba, 4);
  return start;
}
