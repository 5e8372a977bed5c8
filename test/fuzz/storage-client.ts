import { PduOpcode, TaskManagementFunction } from '../../src/iscsi/codes.js';
import { ScsiResponsePdu, decodeScsiResponse } from '../../src/iscsi/response-wire.js';
import type { CommandOptions, ReceivedPdu, TestInitiator } from '../support/target/initiator.js';
import type { Random } from './random.js';
import type { CarriedCommand, CommandCarrier } from './storage-commands.js';

/** Carries commands over one connection, many at once, and knows which are not answered yet. */
export class StorageClient implements CommandCarrier {
  /** The connection is over; so is it for what has no answer. */
  readonly ended: Promise<void>;
  sentCount = 0;
  isOpen = true;
  readonly #initiator: TestInitiator;
  readonly #outstanding = new Map<number, (status: number | null) => void>();
  readonly #onFailure: (error: unknown) => void;
  #onAborted: ((isAnswered: boolean) => void) | null = null;

  /** @param onFailure is told when the target does something that it must not do. */
  constructor(initiator: TestInitiator, onFailure: (error: unknown) => void) {
    this.#initiator = initiator;
    this.#onFailure = onFailure;
    this.ended = this.#receive().catch((reason: unknown) => {
      if (this.isOpen) onFailure(reason);
      this.isOpen = false;
      this.#onAborted?.(false);
    });
  }

  send(options: CommandOptions): CarriedCommand {
    this.sentCount += 1;
    const { tag, dataIn, regions } = this.#initiator.sendCommand(options);
    const status = new Promise<number | null>((resolve) => {
      this.#outstanding.set(tag, (answer) => {
        for (const region of regions) region.deregister();
        resolve(answer);
      });
    });
    return { dataIn: dataIn?.bytes ?? Buffer.alloc(0), status };
  }

  /** Aborts what is outstanding, or one command of it, unless an abort is under way. */
  async abort(random: Random): Promise<void> {
    const outstanding = [...this.#outstanding.keys()];
    if (!this.isOpen || this.#onAborted !== null || outstanding.length === 0) return;
    const { abortTask, abortTaskSet } = TaskManagementFunction;
    const tag = random.pick(outstanding);
    const choice = random.pick([abortTask, abortTaskSet]);
    const isAnswered = await new Promise<boolean>((resolve) => {
      this.#onAborted = resolve;
      this.#initiator.sendTaskManagement({ function: choice, referencedTaskTag: tag });
    });
    this.#onAborted = null;
    if (isAnswered) this.#giveUp(choice === abortTask ? [tag] : outstanding);
  }

  /** Begins nothing more, and does not mind that the target ends the connection. */
  retire(): void {
    this.isOpen = false;
  }

  /** Ends the connection without a word. What is outstanding may still take effect. */
  vanish(): void {
    this.retire();
    this.#initiator.vanish();
    this.#onAborted?.(false);
  }

  /** The target has let go of the session: what has no answer can take effect no more. */
  giveUp(): void {
    this.#giveUp([...this.#outstanding.keys()]);
  }

  #giveUp(tags: readonly number[]): void {
    for (const tag of tags) this.#answer(tag, null);
  }

  #answer(tag: number, status: number | null): boolean {
    const onAnswer = this.#outstanding.get(tag);
    this.#outstanding.delete(tag);
    onAnswer?.(status);
    return onAnswer !== undefined;
  }

  async #receive(): Promise<never> {
    for (;;) this.#received(await this.#initiator.receive());
  }

  #received({ opcode, view }: ReceivedPdu): void {
    if (opcode === PduOpcode.taskManagementResponse) {
      this.#onAborted?.(true);
    } else if (opcode === PduOpcode.scsiResponse) {
      const response = new ScsiResponsePdu();
      decodeScsiResponse(view, 28, response);
      const { initiatorTaskTag, status } = response;
      if (this.#answer(initiatorTaskTag, status)) return;
      this.#onFailure(new Error('an answer to a command that is over'));
    } else {
      this.#onFailure(new Error(`a PDU with opcode ${opcode}`));
    }
  }
}
