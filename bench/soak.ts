/** Does memory stay where it is? Many connections at depth for minutes, with the memory of our processes over time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ALL_CASES } from './cases.js';
import { stopAllChildren } from './children.js';
import type { Contestant } from './contestants.js';
import { fillLun, runFio } from './fio.js';
import type { BenchOptions } from './options.js';
import { processMemory } from './proc.js';

const SAMPLE_MS = 1000;
/** Of the last half over the first half after the first tenth: caches and the heap have found their size by then. */
const GROWTH_MAX = 1.05;

export async function runSoak(
  options: BenchOptions,
  program: string,
  contestants: readonly Contestant[],
): Promise<number> {
  const load = ALL_CASES.find(({ name }) => name === '4k-randrw-qd32-c64');
  if (load === undefined) throw new Error('the load of the soak is not among the cases');
  const folder = mkdtempSync(join(tmpdir(), 'iser-nbd-bench-'));
  let grew = false;
  try {
    for (const contestant of contestants.filter(({ isOurs }) => isOurs)) {
      const bed = { options, socket: options.socket ?? 'unix', folder, program } as const;
      const { uri, children } = await contestant.start(bed);
      const plan = { uri, lunMib: options.lunMib, cpus: options.clientCpus };
      await fillLun(plan);
      const samples = new Map(children.map(({ role }) => [role, [] as number[]]));
      const timer = setInterval(() => {
        for (const { role, pid } of children)
          samples.get(role)?.push(processMemory(pid)?.rssMib ?? 0);
      }, SAMPLE_MS);
      const seconds = (options.soakMinutes ?? 0) * 60;
      const onStart = (): void => undefined;
      const result = await runFio(load, { ...plan, seconds, rampSeconds: 0, onStart }).finally(() =>
        clearInterval(timer),
      );
      console.log(
        `\n${contestant.name}: ${load.name} for ${options.soakMinutes} minutes, ${result.iops.toFixed(0)} IOPS`,
      );
      for (const [role, values] of samples) grew = describe(role, values) || grew;
      await stopAllChildren();
    }
  } finally {
    await stopAllChildren();
    rmSync(folder, { recursive: true, force: true });
  }
  return grew ? 1 : 0;
}

/** @returns whether it grew. */
function describe(role: string, values: readonly number[]): boolean {
  const settled = values.slice(Math.floor(values.length / 10));
  const half = Math.floor(settled.length / 2);
  const most = (part: readonly number[]) => Math.max(...part);
  const growth = most(settled.slice(half)) / most(settled.slice(0, half));
  const step = Math.max(1, Math.floor(values.length / 12));
  const course = values.filter((_, index) => index % step === 0).map((mib) => mib.toFixed(0));
  console.log(`  ${role.padEnd(8)} RSS MiB over time: ${course.join(' ')}`);
  console.log(
    `  ${''.padEnd(8)} most ${most(values).toFixed(0)}; second half ÷ first half ${growth.toFixed(3)}: ${growth > GROWTH_MAX ? 'GREW' : 'flat'}`,
  );
  return growth > GROWTH_MAX;
}
