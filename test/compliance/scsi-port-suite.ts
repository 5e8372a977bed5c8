import { afterEach, beforeEach, describe } from 'vitest';
import { SenseKey } from '../../src/scsi/sense.js';
import { DeliveryOutcome } from '../../src/scsi/port.js';
import type { ScsiPort } from '../../src/scsi/port.js';
import { CommandRun } from '../support/scsi/command-run.js';
import type { RunOptions } from '../support/scsi/command-run.js';
import { testUnitReady } from '../support/target/cdbs.js';
import { settle } from '../support/waiting.js';
import { commandTests } from './scsi-port-commands.js';
import { lossTests } from './scsi-port-loss.js';
import { queueTests } from './scsi-port-queue.js';

/** The disk behind the port: 512-byte blocks, at least {@link DISK_BYTES_MIN}, with READ(16), WRITE(16), INQUIRY. */
export interface PortUnderTest {
  readonly port: ScsiPort;
  /** The block addresses of the READ(16)s that have reached the disk, in their order. */
  arrived(): readonly number[];
  /** Commands that reach the disk from now on are kept there. */
  hold(): void;
  /** Lets them go on, and keeps no more. */
  release(): void;
  /** Ends the path, as its peer or its device would. */
  readonly lose: () => void;
  /** The next read is answered as ever, but only its first `bytes` are sent. */
  readonly withholdNext: ((bytes: number) => void) | null;
  /** The next LOGICAL UNIT RESET is refused. */
  readonly refuseNextReset: (() => void) | null;
  /** Lets so much time pass. */
  readonly advance: ((milliseconds: number) => Promise<void>) | null;
  close(): Promise<void>;
}

/** What an implementation cannot do. Everything that is not named here it has to do. */
export interface PortShortfalls {
  /** It sends all that it is given at once: `queueDepth` is only told. */
  readonly sendsAtOnce?: boolean;
  /** It has no clock, so no command runs out of time, and `questionOutstanding` changes nothing. */
  readonly hasNoTime?: boolean;
}

export const BLOCK_BYTES = 512;
export const DISK_BYTES_MIN = 4 << 20;
/** The longest data of a command that every disk here takes. */
export const LONG_BYTES = 1 << 20;

/** What each group of tests works with; made anew for every test. */
export interface PortContext extends Omit<PortUnderTest, 'close'> {
  readonly shortfalls: PortShortfalls;
  /** Executes a command, and watches it to the end of the test. */
  readonly execute: (cdb: readonly number[], options?: RunOptions) => CommandRun;
  /** Executes what ends well. */
  readonly good: (cdb: readonly number[], options?: RunOptions) => Promise<CommandRun>;
  /** Has the unit tell what it wants to tell, so that the next command is executed. */
  clearAttention(): Promise<void>;
}

const ATTENTIONS_MAX = 8;

/**
 * What `scsi/port.ts` promises, as tests that every {@link ScsiPort} passes, and every fake of one as far as it goes.
 * After each test the path ends, and every command must have ended exactly once, and none inside `execute`.
 */
export function scsiPortSuite(
  name: string,
  setup: () => PortUnderTest | Promise<PortUnderTest>,
  shortfalls: PortShortfalls = {},
): void {
  describe(`${name} as a SCSI port`, () => {
    let current: PortUnderTest | null = null;
    let runs: CommandRun[] = [];
    const under = (): PortUnderTest => {
      if (current === null) throw new Error('the suite is not set up');
      return current;
    };
    const context: PortContext = {
      shortfalls,
      get port() {
        return under().port;
      },
      get withholdNext() {
        return under().withholdNext;
      },
      get refuseNextReset() {
        return under().refuseNextReset;
      },
      get advance() {
        return under().advance;
      },
      arrived: () => under().arrived(),
      hold: () => under().hold(),
      release: () => under().release(),
      lose: () => under().lose(),
      execute(cdb, options) {
        const run = new CommandRun(cdb, options);
        runs.push(run);
        run.execute(under().port);
        return run;
      },
      async good(cdb, options) {
        const run = await context.execute(cdb, options).ended;
        run.expectGood();
        return run;
      },
      async clearAttention() {
        for (let count = 0; count < ATTENTIONS_MAX; count++) {
          const run = await context.execute(testUnitReady()).ended;
          if (run.outcome !== DeliveryOutcome.delivered) throw new Error('the path is lost');
          if (run.status === 0) return;
          if (run.senseKey !== SenseKey.unitAttention) throw new Error('the unit is not ready');
        }
        throw new Error('the unit has no end of attentions');
      },
    };

    beforeEach(async () => {
      runs = [];
      current = await setup();
      await context.clearAttention();
    });

    afterEach(async () => {
      await current?.close();
      await Promise.all(runs.map(({ ended }) => ended));
      await settle();
      for (const run of runs) run.expectEndedWell();
    });

    commandTests(context);
    queueTests(context);
    lossTests(context);
  });
}
