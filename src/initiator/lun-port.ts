import { assert } from '../common/assert.js';
import { LinkedQueue } from '../common/linked-queue.js';
import type { ScsiCommand, ScsiPort, ScsiPortListener } from '../scsi/port.js';

/** What a {@link LunPort} needs from its session. */
export interface LunPortOwner {
  readonly transferBytesMax: number;
  readonly verifiesDataIn: boolean;
  readonly queueDepth: number;
  execute(port: LunPort, command: ScsiCommand): void;
  resetLogicalUnit(port: LunPort): Promise<void>;
  questionOutstanding(port: LunPort): void;
}

/**
 * The path to one logical unit of a session. Commands that cannot be sent yet wait here in order, linked through
 * their `next` fields.
 */
export class LunPort implements ScsiPort {
  readonly name: string;
  readonly lun: number;
  /** The upper half of the LUN field in PDUs. The lower half is zero. */
  readonly lunHigh: number;
  listener: ScsiPortListener | null = null;
  /** A reset is outstanding. Commands wait, so that it is clear which commands the reset covers. */
  isResetting = false;
  readonly #owner: LunPortOwner;
  readonly #queue = new LinkedQueue<ScsiCommand>();

  constructor(
    owner: LunPortOwner,
    { lun, lunHigh }: { readonly lun: number; readonly lunHigh: number },
    targetName: string,
  ) {
    this.#owner = owner;
    this.lun = lun;
    this.lunHigh = lunHigh;
    this.name = `${targetName}/${lun}`;
  }

  get transferBytesMax(): number {
    return this.#owner.transferBytesMax;
  }

  get verifiesDataIn(): boolean {
    return this.#owner.verifiesDataIn;
  }

  get queueDepth(): number {
    return this.#owner.queueDepth;
  }

  execute(command: ScsiCommand): void {
    assert(
      command.dataLength <= this.transferBytesMax,
      'the command is longer than the path carries',
    );
    assert(command.dataLength === 0 || command.slab !== null, 'the command has no data buffer');
    this.#owner.execute(this, command);
  }

  resetLogicalUnit(): Promise<void> {
    return this.#owner.resetLogicalUnit(this);
  }

  questionOutstanding(): void {
    this.#owner.questionOutstanding(this);
  }

  /** The next command to send. */
  get firstQueued(): ScsiCommand | null {
    return this.#queue.head;
  }

  enqueue(command: ScsiCommand): void {
    this.#queue.push(command);
  }

  dequeue(): ScsiCommand | null {
    return this.#queue.shift();
  }
}
