import { expect } from 'vitest';
import { DataDirection } from '../../../src/common/data-direction.js';
import type { Requester } from '../../../src/common/requester.js';
import { Slab } from '../../../src/common/slab.js';
import { DeliveryOutcome, ScsiCommand } from '../../../src/scsi/port.js';
import type { ScsiPort } from '../../../src/scsi/port.js';
import { Sense, decodeSense } from '../../../src/scsi/sense.js';
import { until } from '../waiting.js';

export interface RunOptions {
  /** Bytes that the command sends. */
  readonly write?: Uint8Array;
  /** Bytes that it has room for. */
  readonly readBytes?: number;
  readonly timeoutMs?: number;
  readonly requester?: Requester;
  /** What its owner does when it ends. */
  readonly onDone?: (run: CommandRun) => void;
}

/** Around the data, so that what is not the command's own is seen to stay. */
const GUARD_BYTES = 64;
const GUARD = 0xa5;
const UNREAD = 0x5a;

/** One execution of a command: how it ended, and that it did so once, and not inside `execute`. */
export class CommandRun {
  readonly command: ScsiCommand;
  /** Resolves with the run. */
  readonly ended: Promise<CommandRun>;
  /** The data when the command ended. */
  dataAtEnd = Buffer.alloc(0);
  executeCount = 0;
  endCount = 0;
  outcome: DeliveryOutcome = DeliveryOutcome.delivered;
  status = 0;
  senseKey = -1;
  asc = -1;
  residual = 0;
  readonly #slab: Slab;
  #written: Uint8Array | null;
  readonly #onDone: (run: CommandRun) => void;
  #isInside = false;
  #hasEndedInside = false;
  #resolve: (run: CommandRun) => void = () => undefined;

  constructor(cdb: readonly number[], options: RunOptions = {}) {
    const { write = null, readBytes = 0 } = options;
    const length = write?.length ?? readBytes;
    this.#written = write;
    this.#onDone = options.onDone ?? (() => undefined);
    this.#slab = new Slab(length + 2 * GUARD_BYTES);
    this.#slab.bytes.fill(GUARD);
    this.command = new ScsiCommand(() => this.#done());
    this.ended = new Promise((resolve) => (this.#resolve = resolve));
    const { command } = this;
    command.cdb.set(cdb);
    if (write !== null) command.direction = DataDirection.out;
    else if (readBytes > 0) command.direction = DataDirection.in;
    if (length > 0) command.slab = this.#slab;
    command.slabOffset = GUARD_BYTES;
    command.dataLength = length;
    command.timeoutMs = options.timeoutMs ?? 0;
    if (options.requester !== undefined) command.requester = options.requester;
    if (write === null) this.data.fill(UNREAD);
    else this.data.set(write);
    // As an earlier use may leave them.
    command.status = 0xff;
    command.residual = 0x7777;
    command.senseLength = 3;
  }

  /** The command's data as it is now. */
  get data(): Buffer {
    const { slabOffset, dataLength } = this.command;
    return this.#slab.bytes.subarray(slabOffset, slabOffset + dataLength);
  }

  /** Nobody has put anything there. */
  isUnread(from = 0): boolean {
    return this.dataAtEnd.subarray(from).every((byte) => byte === UNREAD);
  }

  execute(port: ScsiPort): void {
    this.executeCount++;
    this.#isInside = true;
    try {
      port.execute(this.command);
    } finally {
      this.#isInside = false;
    }
  }

  /** Resolves when it has ended so often. */
  allEnded(count: number): Promise<void> {
    return until(() => this.endCount === count);
  }

  /** Its owner uses the memory for something else now. */
  reuse(value: number): void {
    this.data.fill(value);
    this.dataAtEnd = Buffer.from(this.data);
    this.#written = null;
  }

  expectGood(): void {
    const { outcome, status, residual } = this;
    expect({ outcome, status, residual, sense: this.command.senseLength }).toEqual({
      outcome: DeliveryOutcome.delivered,
      status: 0,
      residual: 0,
      sense: 0,
    });
  }

  /** For the test's end: nothing came twice, and nobody has touched what is the owner's again. */
  expectEndedWell(): void {
    expect(this.endCount).toBe(this.executeCount);
    expect(this.#hasEndedInside).toBe(false);
    expect(this.data.equals(this.dataAtEnd)).toBe(true);
    if (this.#written !== null) expect(this.data.equals(this.#written)).toBe(true);
    const guards = [
      this.#slab.bytes.subarray(0, GUARD_BYTES),
      this.#slab.bytes.subarray(this.#slab.length - GUARD_BYTES),
    ];
    expect(guards.every((guard) => guard.every((byte) => byte === GUARD))).toBe(true);
  }

  #done(): void {
    this.endCount++;
    this.#hasEndedInside ||= this.#isInside;
    const { outcome, status, residual, sense, senseLength } = this.command;
    Object.assign(this, { outcome, status, residual });
    const decoded = new Sense();
    if (senseLength > 0 && decodeSense(sense, senseLength, decoded)) {
      this.senseKey = decoded.key;
      this.asc = decoded.asc;
    }
    this.dataAtEnd = Buffer.from(this.data);
    this.#resolve(this);
    this.#onDone(this);
  }
}
