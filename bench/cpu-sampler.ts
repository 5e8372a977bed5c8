import { familyOf, machineCpu, processCpuSeconds } from './proc.js';
import type { MachineCpu } from './proc.js';

const PERIOD_MS = 50;

interface Sample {
  readonly atMs: number;
  readonly machine: MachineCpu;
  /** CPU seconds, in the order of the pids; each with its children. */
  readonly processes: readonly number[];
}

/** Seconds of CPU that were used within a window. */
export interface CpuUse {
  readonly processes: readonly number[];
  /** By none of the processes, and not by this one. */
  readonly others: number;
  readonly steal: number;
}

/** Notes the use of the processors while a load runs, so that the part within the measured time can be told afterwards. */
export class CpuSampler {
  #families: readonly (readonly number[])[] = [];
  readonly #samples: Sample[] = [];
  #timer: NodeJS.Timeout | null = null;

  start(pids: readonly number[]): void {
    // This one's children are the others.
    this.#families = [...pids.map(familyOf), [process.pid]];
    this.#take();
    this.#timer = setInterval(() => this.#take(), PERIOD_MS);
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#take();
  }

  /** Between two wall clock times; linear between samples. */
  use(fromMs: number, toMs: number): CpuUse {
    const from = this.#at(fromMs);
    const to = this.#at(toMs);
    const processes = to.processes.map((seconds, index) => seconds - (from.processes[index] ?? 0));
    const ours = processes.reduce((sum, seconds) => sum + seconds, 0);
    return {
      processes: processes.slice(0, -1),
      others: Math.max(0, to.machine.busy - from.machine.busy - ours),
      steal: to.machine.steal - from.machine.steal,
    };
  }

  #take(): void {
    const before = this.#samples.at(-1);
    this.#samples.push({
      atMs: Date.now(),
      machine: machineCpu(),
      // A process that has ended keeps what it had.
      processes: this.#families.map((pids, index) => {
        const seconds = pids.reduce((sum, pid) => sum + (processCpuSeconds(pid) ?? 0), 0);
        return Math.max(seconds, before?.processes[index] ?? 0);
      }),
    });
  }

  #at(atMs: number): Sample {
    const next = this.#samples.findIndex((sample) => sample.atMs >= atMs);
    const right = this.#samples[next === -1 ? this.#samples.length - 1 : next];
    const left = this.#samples[Math.max(0, next - 1)];
    if (left === undefined || right === undefined) throw new Error('the sampler has not run');
    if (next <= 0 || left.atMs === right.atMs) return right;
    const part = (atMs - left.atMs) / (right.atMs - left.atMs);
    const between = (a: number, b: number) => a + (b - a) * part;
    return {
      atMs,
      machine: {
        busy: between(left.machine.busy, right.machine.busy),
        steal: between(left.machine.steal, right.machine.steal),
      },
      processes: right.processes.map((seconds, index) =>
        between(left.processes[index] ?? seconds, seconds),
      ),
    };
  }
}
