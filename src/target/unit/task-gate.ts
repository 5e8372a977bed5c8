import { LinkedQueue } from '../../common/linked-queue.js';
import type { DiskCommand } from './disk-command.js';

/**
 * Decides when a command may run. Ordinary commands run in parallel. An exclusive command (COMPARE AND WRITE,
 * ORDERED, or a command with the scratch buffer) waits until all earlier commands have ended, runs alone, and delays
 * all later commands. This makes it atomic.
 */
export class TaskGate {
  readonly #run: (command: DiskCommand) => void;
  #runningCount = 0;
  #isExclusiveRunning = false;
  readonly #waiting = new LinkedQueue<DiskCommand>();

  constructor(run: (command: DiskCommand) => void) {
    this.#run = run;
  }

  get isIdle(): boolean {
    return this.#runningCount === 0 && this.#waiting.isEmpty;
  }

  /** True when a command that enters now would run now. A command that ends at once need not enter then. */
  isOpenTo(command: DiskCommand): boolean {
    return this.#waiting.isEmpty && this.#mayRun(command);
  }

  /** Runs the command now, or when its turn comes. */
  enter(command: DiskCommand): void {
    if (this.isOpenTo(command)) this.#start(command);
    else this.#waiting.push(command);
  }

  /** The command has ended. Waiting commands may run now. */
  leave(command: DiskCommand): void {
    this.#runningCount -= 1;
    if (command.isExclusive) this.#isExclusiveRunning = false;
    for (;;) {
      const next = this.#waiting.head;
      if (next === null || !this.#mayRun(next)) return;
      this.#waiting.shift();
      this.#start(next);
    }
  }

  #mayRun(command: DiskCommand): boolean {
    return !this.#isExclusiveRunning && (!command.isExclusive || this.#runningCount === 0);
  }

  #start(command: DiskCommand): void {
    this.#runningCount += 1;
    this.#isExclusiveRunning = command.isExclusive;
    this.#run(command);
  }
}
