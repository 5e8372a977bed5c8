import type { Clock } from '../common/clock.js';
import type { BufferSlot, SlabPool } from '../common/slab.js';
import { setData, setNoData } from '../scsi/commands.js';
import { ScsiCheckCondition, ScsiError } from './errors.js';
import { SLOT_WAIT_MS } from './limits.js';
import { DeliveryOutcome, ScsiCommand } from '../scsi/port.js';
import { DataDirection } from '../common/data-direction.js';
import type { ScsiPort } from '../scsi/port.js';
import { RetryBudget, describeFailure, judge } from './retry.js';
import { Sense, SenseKey } from '../scsi/sense.js';
import { ScsiStatus, commandNameAt } from '../scsi/wire.js';

/** The logger that this layer needs; a pino logger fits. */
export interface ScsiLog {
  debug(facts: object, message: string): void;
  info(facts: object, message: string): void;
  warn(facts: object, message: string): void;
  error(facts: object, message: string): void;
}

/** The services of every class of this layer that talks to a device. */
export interface ScsiServices {
  readonly pool: SlabPool;
  readonly clock: Clock;
  readonly log: ScsiLog;
}

/** Decodes parameter data, `view[offset .. offset + length)`. The memory is borrowed until the decoder returns. */
export type ParameterDecoder<T> = (view: DataView, offset: number, length: number) => T;

/** Commands off the data path, each with one promise. The channel retries a command; a failure becomes an exception. */
export class ControlChannel {
  readonly port: ScsiPort;
  readonly #services: ScsiServices;
  readonly #onAttention: (sense: Sense) => void;

  /** `onAttention` hears of each unit attention before the channel sends the command again. */
  constructor(
    port: ScsiPort,
    services: ScsiServices,
    onAttention: (sense: Sense) => void = () => undefined,
  ) {
    this.port = port;
    this.#services = services;
    this.#onAttention = onAttention;
  }

  /**
   * Sends the command that `build` makes, and decodes its parameter data of at most `lengthBytes`.
   * @throws ScsiCheckCondition when the device reports an error, ScsiError for any other failure
   */
  async run<T>(
    build: (command: ScsiCommand) => void,
    lengthBytes: number,
    decode: ParameterDecoder<T>,
  ): Promise<T> {
    const slot = await this.#acquireSlot(lengthBytes);
    try {
      // The buffer may hold data of another client. The decoder must not see it where the device sends less.
      slot.slab.bytes.fill(0, slot.offset, slot.offset + lengthBytes);
      const command = await this.#execute((next) => {
        setData(next, DataDirection.in, slot.slab, slot.offset, lengthBytes);
        build(next);
      });
      const length = Math.max(0, lengthBytes - Math.max(0, command.residual));
      return decode(slot.slab.view, slot.offset, length);
    } finally {
      slot.release();
    }
  }

  /** As {@link run}, but null when the device does not support the command, or this form of the command. */
  async runIfSupported<T>(
    build: (command: ScsiCommand) => void,
    lengthBytes: number,
    decode: ParameterDecoder<T>,
  ): Promise<T | null> {
    try {
      return await this.run(build, lengthBytes, decode);
    } catch (error) {
      if (error instanceof ScsiCheckCondition && error.senseKey === SenseKey.illegalRequest) {
        return null;
      }
      throw error;
    }
  }

  /**
   * Sends a command without data.
   * @throws ScsiCheckCondition when the device reports an error, ScsiError for any other failure
   */
  async runWithoutData(build: (command: ScsiCommand) => void): Promise<void> {
    await this.#execute((command) => {
      setNoData(command);
      build(command);
    });
  }

  async #acquireSlot(lengthBytes: number): Promise<BufferSlot> {
    const { pool, clock } = this.#services;
    const deadlineMs = clock.nowMs() + SLOT_WAIT_MS;
    for (;;) {
      const slot = pool.acquire(lengthBytes);
      if (slot !== null) return slot;
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) {
        const lun = this.port.name;
        const message = `${lun}: no buffer of ${lengthBytes} bytes became free in ${SLOT_WAIT_MS / 1000} s; send fewer requests at the same time`;
        throw new ScsiError('scsi-no-buffer', message, { lun, lengthBytes });
      }
      await new Promise<void>((resolve) => {
        const timer = clock.after(leftMs, resolve);
        pool.whenAvailable(lengthBytes, () => {
          timer.cancel();
          resolve();
        });
      });
    }
  }

  async #execute(prepare: (command: ScsiCommand) => void): Promise<ScsiCommand> {
    const { clock, log } = this.#services;
    let onDone: () => void = () => undefined;
    const command = new ScsiCommand(() => onDone());
    const retries = new RetryBudget();
    const sense = new Sense();
    for (;;) {
      prepare(command);
      await new Promise<void>((resolve) => {
        onDone = resolve;
        this.port.execute(command);
      });
      const verdict = judge(command, sense);
      if (verdict === 'succeeded') return command;
      if (verdict === 'unitAttention') this.#onAttention(sense);
      const delayMs = retries.delayMs(verdict, clock.nowMs());
      if (delayMs < 0) throw this.#errorOf(command, sense);
      const facts = { lun: this.port.name, command: commandNameAt(command.cdbView, 0) };
      log.debug({ ...facts, reason: describeFailure(command, sense) }, 'SCSI command sent again');
      if (delayMs > 0) await new Promise<void>((resolve) => clock.after(delayMs, resolve));
    }
  }

  #errorOf(command: ScsiCommand, sense: Sense): ScsiError {
    const lun = this.port.name;
    const name = commandNameAt(command.cdbView, 0);
    if (
      command.outcome === DeliveryOutcome.delivered &&
      command.status === ScsiStatus.checkCondition
    ) {
      return new ScsiCheckCondition(name, sense, { lun });
    }
    const reason = describeFailure(command, sense);
    const code = OUTCOME_CODES[command.outcome];
    return new ScsiError(code, `${lun}: ${name} failed: ${reason}`, { lun, command: name });
  }
}

const OUTCOME_CODES = {
  [DeliveryOutcome.delivered]: 'scsi-status',
  [DeliveryOutcome.connectionLost]: 'scsi-connection-lost',
  [DeliveryOutcome.timedOut]: 'scsi-timeout',
  [DeliveryOutcome.aborted]: 'scsi-aborted',
  [DeliveryOutcome.dataMissing]: 'scsi-data-missing',
} as const;
