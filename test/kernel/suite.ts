/** What every kernel test file starts from: a guest of its own, our programs, and a kernel log that must stay clean. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject } from 'vitest';
import { Program, temporaryFolder } from '../interop/program.js';
import type { Guest, GuestOptions } from './lab/guest.js';
import { bootGuest } from './lab/lab.js';
import type { Lab } from './lab/lab.js';

/** What a test file works with; `guest` is there from the first `beforeAll` on. */
export interface KernelSuite {
  readonly guest: Guest;
  readonly files: ReturnType<typeof temporaryFolder>;
  /** Starts our program for the running test only; it must end well. Returns its `ready` URIs. */
  start(args: readonly string[], readyCount: number): Promise<readonly string[]>;
  /** Stops what `start` started in this test, in reverse order. */
  stopPrograms(): Promise<void>;
  /** Names what this test makes the kernel complain of. */
  kernelMaySay(...patterns: RegExp[]): void;
}

const REPORTED_LINES_MAX = 200;

type Options = Omit<GuestOptions, 'kernel' | 'initramfs'>;

/** A `describe` with a guest; skipped where there is no lab (global-setup.ts says why). */
export function describeWithGuest(
  title: string,
  options: (files: ReturnType<typeof temporaryFolder>) => Options,
  cases: (suite: KernelSuite) => void,
): void {
  const lab = inject('kernelLab');
  describe.skipIf('missing' in lab)(title, () => {
    cases(new Suite(lab as Lab, options));
  });
}

class Suite implements KernelSuite {
  readonly files = temporaryFolder();
  readonly #programs: Program[] = [];
  readonly #allowed: RegExp[] = [];
  #guest: Guest | null = null;
  #logPosition = 0;

  constructor(lab: Lab, options: (files: ReturnType<typeof temporaryFolder>) => Options) {
    beforeAll(async () => {
      this.#guest = await bootGuest(lab, options(this.files));
    }, 120_000);

    beforeEach(async () => {
      this.#allowed.length = 0;
      if (this.guest.isStopped) return;
      this.#logPosition = await this.guest.kernelLogPosition();
    });

    afterEach(async ({ task }) => {
      const failed = task.result?.state === 'fail';
      const endings = await this.#stopAll();
      if (this.guest.isStopped) return;
      const complaints = await this.guest.complaintsSince(this.#logPosition, this.#allowed);
      if (failed || complaints.length > 0) {
        console.error(this.#report(task.name, endings));
      }
      expect(complaints, 'what the kernel complained of').toEqual([]);
      if (!failed) expect(endings.filter(({ status }) => status !== 0)).toEqual([]);
    }, 60_000);

    afterAll(async () => {
      await this.#guest?.stop();
      this.files.remove();
    });
  }

  get guest(): Guest {
    if (this.#guest === null) throw new Error('no guest: it did not boot');
    return this.#guest;
  }

  async start(args: readonly string[], readyCount: number): Promise<readonly string[]> {
    const program = await Program.start(args, readyCount);
    this.#programs.push(program);
    return program.ready;
  }

  async stopPrograms(): Promise<void> {
    const endings = await this.#stopAll();
    expect(endings.filter(({ status }) => status !== 0)).toEqual([]);
  }

  kernelMaySay(...patterns: RegExp[]): void {
    this.#allowed.push(...patterns);
  }

  async #stopAll() {
    const endings = [];
    for (const program of this.#programs.splice(0).reverse()) endings.push(await program.stop());
    return endings;
  }

  #report(test: string, endings: readonly { stderr: string }[]): string {
    const said = endings.map(({ stderr }) => stderr.trimEnd()).filter((text) => text !== '');
    const kernel = this.guest.log.since(this.#logPosition).map(({ text }) => text);
    return [
      `--- ${test}: the guest's kernel said`,
      ...kernel.slice(-REPORTED_LINES_MAX),
      '--- our programs said, last started first',
      ...said.join('\n').split('\n').slice(-REPORTED_LINES_MAX),
    ].join('\n');
  }
}
