import { CHUNK_BYTES } from '../../src/store/limits.js';
import { BLOCK, read16, write16 } from '../support/target/cdbs.js';
import type { CommandOptions } from '../support/target/initiator.js';
import { dataOf, sameDataOf } from './block-history.js';
import type { BlockChange, BlockHistory, ChangeOutcome } from './block-history.js';
import type { Random } from './random.js';

const GOOD = 0;
const FUA = 8;
const UNMAP_BIT = 8;
const SIMPLE = 1;
const ORDERED = 2;
const CHUNK_BLOCKS = CHUNK_BYTES / BLOCK;
const IMMEDIATE_BYTES_MAX = 8192;

/** Carries commands to the target. */
export interface CommandCarrier {
  /** Begins no more commands once this is false. */
  readonly isOpen: boolean;
  send(options: CommandOptions): CarriedCommand;
}

export interface CarriedCommand {
  readonly dataIn: Buffer;
  /** Null when it will not be answered, and can take effect no more. */
  readonly status: Promise<number | null>;
}

/** What the commands of a lane are drawn from, and checked with. */
export interface StorageCommandsOptions {
  readonly carrier: CommandCarrier;
  readonly history: BlockHistory;
  readonly random: Random;
  /** Hears of every command that has ended. */
  readonly onEnded: (what: string) => void;
}

interface Span {
  readonly lba: number;
  readonly blocks: number;
}

/** Draws commands, sends them one after the other, and holds what they read against the history of the blocks. */
export class StorageCommands {
  readonly #carrier: CommandCarrier;
  readonly #history: BlockHistory;
  readonly #random: Random;
  readonly #onEnded: (what: string) => void;

  constructor({ carrier, history, random, onEnded }: StorageCommandsOptions) {
    this.#carrier = carrier;
    this.#history = history;
    this.#random = random;
    this.#onEnded = onEnded;
  }

  /** One more command. Rejects when it showed a mistake of the target. */
  next(): Promise<void> {
    const drawn = this.#random.below(100);
    if (drawn < 40) return this.#read();
    if (drawn < 80) return this.#write();
    if (drawn < 88) return this.#unmap();
    if (drawn < 94) return this.#compareAndWrite();
    return this.#writeSame();
  }

  async #read(): Promise<void> {
    const random = this.#random;
    const { lba, blocks } = this.#span(8 * CHUNK_BLOCKS);
    const cdb = read16(lba, blocks);
    if (random.isOneIn(30)) cdb[1] = FUA;
    const length = blocks * BLOCK;
    const expected = random.isOneIn(10) ? 4 * random.below(length / 4 + 1) : length;
    await this.#readAndCheck(lba, { cdb, read: length, expected, attribute: this.#attribute() });
  }

  async #write(): Promise<void> {
    const random = this.#random;
    const { lba, blocks } = this.#span(random.pick([4, 4, 4, 8]) * CHUNK_BLOCKS);
    const change = this.#history.beginChange(lba, blocks);
    const write = dataOf(change, lba, blocks);
    await this.#change('WRITE', [change], {
      cdb: write16(lba, blocks),
      write,
      immediateBytes: this.#immediateBytes(write.length),
      attribute: this.#attribute(),
      isImmediate: random.isOneIn(20),
    });
  }

  async #unmap(): Promise<void> {
    const count = 1 + this.#random.below(3);
    const spans = Array.from({ length: count }, () => this.#span(2 * CHUNK_BLOCKS));
    const changes = spans.map(({ lba, blocks }) => this.#history.beginChange(lba, blocks, true));
    const write = Buffer.alloc(8 + 16 * count);
    write.writeUInt16BE(write.length - 2, 0);
    write.writeUInt16BE(write.length - 8, 2);
    spans.forEach(({ lba, blocks }, index) => {
      write.writeUInt32BE(lba, 8 + 16 * index + 4);
      write.writeUInt32BE(blocks, 8 + 16 * index + 8);
    });
    const cdb = [0x42, 0, 0, 0, 0, 0, 0, 0, write.length, 0];
    await this.#change('UNMAP', changes, { cdb, write, immediateBytes: this.#allOrNothing(write) });
  }

  /** With what was just read to compare with: mostly still there, and when it was replaced it must be noticed. */
  async #compareAndWrite(): Promise<void> {
    const { lba, blocks } = this.#span(8);
    const before = await this.#readAndCheck(lba, {
      cdb: read16(lba, blocks),
      read: blocks * BLOCK,
    });
    if (before === null || !this.#carrier.isOpen) return;
    const change = this.#history.beginChange(lba, blocks);
    const since = this.#history.beginRead();
    const write = Buffer.concat([before, dataOf(change, lba, blocks)]);
    const cdb = [0x89, ...write16(lba, 0).slice(1, 10), 0, 0, 0, blocks, 0, 0];
    const immediateBytes = Math.min(this.#allOrNothing(write), IMMEDIATE_BYTES_MAX);
    const outcome = await this.#change('COMPARE AND WRITE', [change], {
      cdb,
      write,
      immediateBytes,
    });
    if (outcome === 'done') this.#history.check(before, lba, since);
    this.#history.endRead(since);
  }

  async #writeSame(): Promise<void> {
    const random = this.#random;
    const { lba, blocks } = this.#span(4 * CHUNK_BLOCKS);
    const isZero = random.isOneIn(2);
    const change = this.#history.beginChange(lba, blocks, isZero);
    const write = sameDataOf(change);
    const cdb = write16(lba, blocks);
    cdb[0] = 0x93;
    if (isZero && random.isOneIn(2)) cdb[1] = UNMAP_BIT;
    const immediateBytes = this.#allOrNothing(write);
    await this.#change('WRITE SAME', [change], { cdb, write, immediateBytes });
  }

  /** @returns what was read; null when the read was not answered with GOOD. */
  async #readAndCheck(lba: number, options: CommandOptions): Promise<Buffer | null> {
    const since = this.#history.beginRead();
    const { dataIn, status } = this.#carrier.send(options);
    const ended = await status;
    this.#onEnded(`READ ${outcomeOf(ended)}`);
    const expected = options.expected ?? dataIn.length;
    if (ended === GOOD) {
      this.#history.check(dataIn.subarray(0, expected), lba, since);
      if (!dataIn.subarray(expected).equals(Buffer.alloc(dataIn.length - expected))) {
        throw new Error(`a read of ${expected} bytes wrote past them`);
      }
    }
    this.#history.endRead(since);
    return ended === GOOD ? dataIn : null;
  }

  async #change(
    name: string,
    changes: readonly BlockChange[],
    options: CommandOptions,
  ): Promise<ChangeOutcome> {
    const outcome = outcomeOf(await this.#carrier.send(options).status);
    for (const change of changes) this.#history.endChange(change, outcome);
    this.#onEnded(`${name} ${outcome}`);
    return outcome;
  }

  /** Whole chunks, which need no copy; or a few blocks; or many. */
  #span(blocksMax: number): Span {
    const random = this.#random;
    const total = this.#history.blocks;
    const kind = random.below(3);
    if (kind === 0 && blocksMax >= CHUNK_BLOCKS) {
      const blocks = CHUNK_BLOCKS * (1 + random.below(blocksMax / CHUNK_BLOCKS));
      return { lba: CHUNK_BLOCKS * random.below((total - blocks) / CHUNK_BLOCKS + 1), blocks };
    }
    const blocks = 1 + random.below(kind === 1 ? Math.min(16, blocksMax) : blocksMax);
    return { lba: random.below(total - blocks + 1), blocks };
  }

  #immediateBytes(length: number): number {
    const random = this.#random;
    if (random.isOneIn(2)) return 0;
    if (length > IMMEDIATE_BYTES_MAX) return 4 * random.below(IMMEDIATE_BYTES_MAX / 4);
    return random.isOneIn(3) ? 4 * random.below(length / 4) : length;
  }

  #allOrNothing(write: Buffer): number {
    return this.#random.pick([0, write.length]);
  }

  #attribute(): number {
    return this.#random.isOneIn(20) ? ORDERED : SIMPLE;
  }
}

function outcomeOf(status: number | null): ChangeOutcome {
  if (status === null) return 'unknown';
  return status === GOOD ? 'done' : 'refused';
}
