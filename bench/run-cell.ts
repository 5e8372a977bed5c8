import type { Case } from './cases.js';
import type { Bed, Running } from './contestants.js';
import { CpuSampler } from './cpu-sampler.js';
import { runFio } from './fio.js';
import { familyOf, processMemory, resetPeakMemory } from './proc.js';

/** What one run of one contestant under one load gave. */
export interface Measurement {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly meanUs: number;
  readonly p99Us: number;
  /** CPU time per request, by role of the process. */
  readonly cpuUsPerIo: Readonly<Record<string, number>>;
  /** Most resident memory during the run, by role. */
  readonly peakMib: Readonly<Record<string, number>>;
  /** The part of one core that fio used: near 1, it is the client that limits. */
  readonly clientCores: number;
  /** The part of one core that neither the contestant nor fio used, and that the hypervisor took. */
  readonly otherCores: number;
  readonly stealCores: number;
}

export async function runCell(load: Case, running: Running, bed: Bed): Promise<Measurement> {
  const { seconds, rampSeconds, lunMib, clientCpus } = bed.options;
  const { children, uri } = running;
  for (const { pid } of children) familyOf(pid).forEach(resetPeakMemory);
  const sampler = new CpuSampler();
  const onStart = (fioPid: number) => sampler.start([...children.map(({ pid }) => pid), fioPid]);
  const plan = { uri, lunMib, cpus: clientCpus, seconds, rampSeconds, onStart };
  const result = await runFio(load, plan).finally(() => sampler.stop());
  const use = sampler.use(result.fromMs, result.toMs);
  const memory = children.map(({ pid }) =>
    familyOf(pid).reduce((sum, one) => sum + (processMemory(one)?.peakMib ?? 0), 0),
  );
  const wallSeconds = (result.toMs - result.fromMs) / 1000;
  const requests = result.iops * wallSeconds;
  const byRole = (values: readonly number[]) =>
    Object.fromEntries(children.map(({ role }, index) => [role, values[index] ?? 0]));
  return {
    iops: result.iops,
    bytesPerSecond: result.bytesPerSecond,
    meanUs: result.meanUs,
    p99Us: result.p99Us,
    cpuUsPerIo: byRole(use.processes.map((cpu) => (cpu * 1e6) / requests)),
    peakMib: byRole(memory),
    clientCores: (use.processes.at(-1) ?? 0) / wallSeconds,
    otherCores: use.others / wallSeconds,
    stealCores: use.steal / wallSeconds,
  };
}
