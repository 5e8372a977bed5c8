import type { Guest } from './guest.js';

const EVENT = '/sys/kernel/tracing/events/target/target_sequencer_start';
const TRACE = '/sys/kernel/tracing/trace';

/** The SCSI commands that reach LIO, as its own trace point shows them. */
export class TargetTrace {
  readonly #guest: Guest;

  private constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** Follows the commands with these operation codes from now on. */
  static async of(guest: Guest, ...operationCodes: readonly number[]): Promise<TargetTrace> {
    await guest.files(
      ['write', TRACE, ''],
      ['write', `${EVENT}/filter`, operationCodes.map((code) => `opcode == ${code}`).join(' || ')],
      ['write', `${EVENT}/enable`, '1'],
    );
    return new TargetTrace(guest);
  }

  /** How many were seen since the last look. */
  async take(): Promise<number> {
    const text = await this.#guest.read(TRACE);
    await this.#guest.files(['write', TRACE, '']);
    return text.split('\n').filter((line) => line.includes('target_sequencer_start')).length;
  }

  async stop(): Promise<void> {
    await this.#guest.files(['write', `${EVENT}/enable`, '0']);
  }
}
