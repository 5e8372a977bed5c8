/** From single runs to what is reported. */
import type { Case } from './cases.js';
import type { Measurement } from './run-cell.js';

/** One run of every contestant, one after the other. */
export interface Round {
  readonly measurements: Readonly<Record<string, Measurement>>;
}

export interface Ratio {
  /** Median of the ratios within each round, and their range. */
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

export interface Row {
  readonly contestant: string;
  /** Medians over the rounds that count. */
  readonly value: Measurement;
  /** Of IOPS, to each peer. */
  readonly ratios: Readonly<Record<string, Ratio>>;
  readonly rounds: number;
  /** Too few rounds were quiet, so noisy ones are among those that count. */
  readonly isNoisy: boolean;
}

export interface CaseResult {
  readonly load: Case;
  readonly rows: readonly Row[];
  readonly failures: Readonly<Record<string, string>>;
}

/** Whether others' work, or the hypervisor's, was in the way of a run. */
export function isNoisy(measurement: Measurement, noisePercent: number): boolean {
  return Math.max(measurement.otherCores, measurement.stealCores) * 100 > noisePercent;
}

export function isQuiet(round: Round, noisePercent: number): boolean {
  return Object.values(round.measurements).every((one) => !isNoisy(one, noisePercent));
}

/**
 * The quiet rounds when there are enough of them; otherwise those with the least noise, so that the number is the
 * same, and the rows are marked.
 */
export function choose(
  rounds: readonly Round[],
  wanted: number,
  noisePercent: number,
): { rounds: readonly Round[]; isNoisy: boolean } {
  const quiet = rounds.filter((round) => isQuiet(round, noisePercent));
  if (quiet.length >= wanted) return { rounds: quiet, isNoisy: false };
  const worst = ({ measurements }: Round) =>
    Math.max(...Object.values(measurements).map((one) => one.otherCores + one.stealCores));
  const byNoise = [...rounds].sort((a, b) => worst(a) - worst(b));
  return { rounds: byNoise.slice(0, wanted), isNoisy: true };
}

export function summarize(
  rounds: readonly Round[],
  contestants: readonly string[],
  peers: readonly string[],
  noisy: boolean,
): readonly Row[] {
  return contestants.flatMap((contestant) => {
    const runs = rounds.flatMap(({ measurements }) => measurements[contestant] ?? []);
    if (runs.length === 0) return [];
    const compared = peers.includes(contestant)
      ? []
      : peers.filter((peer) => !peer.startsWith('base-') || peer === `base-${contestant}`);
    const ratios = compared.flatMap((peer): [string, Ratio][] => {
      const within = rounds.flatMap(({ measurements }) => {
        const [own, other] = [measurements[contestant], measurements[peer]];
        return own === undefined || other === undefined ? [] : own.iops / other.iops;
      });
      if (within.length === 0) return [];
      const range = { low: Math.min(...within), high: Math.max(...within) };
      return [[peer, { median: median(within), ...range }]];
    });
    return {
      contestant,
      value: medianMeasurement(runs),
      ratios: Object.fromEntries(ratios),
      rounds: runs.length,
      isNoisy: noisy,
    };
  });
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length / 2;
  const at = (index: number) => sorted[index] ?? NaN;
  return Number.isInteger(middle) ? (at(middle - 1) + at(middle)) / 2 : at(Math.floor(middle));
}

function medianMeasurement(runs: readonly Measurement[]): Measurement {
  const of = (pick: (run: Measurement) => number) => median(runs.map(pick));
  const byRole = (pick: (run: Measurement) => Readonly<Record<string, number>>) => {
    const roles = Object.keys(runs[0] === undefined ? {} : pick(runs[0]));
    return Object.fromEntries(roles.map((role) => [role, of((run) => pick(run)[role] ?? 0)]));
  };
  return {
    iops: of((run) => run.iops),
    bytesPerSecond: of((run) => run.bytesPerSecond),
    meanUs: of((run) => run.meanUs),
    p99Us: of((run) => run.p99Us),
    cpuUsPerIo: byRole((run) => run.cpuUsPerIo),
    peakMib: byRole((run) => run.peakMib),
    clientCores: of((run) => run.clientCores),
    otherCores: of((run) => run.otherCores),
    stealCores: of((run) => run.stealCores),
  };
}
