/** What the measurements must show, and whether they do. */
import type { CaseResult, Row } from './summary.js';

export interface Criterion {
  readonly what: string;
  readonly required: string;
  readonly measured: string;
  /** null when the run lacks what it takes. */
  readonly isMet: boolean | null;
  readonly isNoisy: boolean;
}

/** Least ratio of IOPS: embedded to nbdkit memory; over iWARP to qemu-nbd → libiscsi → tgtd. */
const RATIOS: readonly [caseName: string, embedded: number, iwarp: number][] = [
  ['4k-randread-qd1-c1', 1.5, 1.2],
  ['4k-randwrite-qd1-c1', 1.2, 1.2],
  ['4k-randread-qd32-c1', 1.8, 2.5],
  ['4k-randwrite-qd32-c1', 1.0, 2.5],
  ['1m-read-qd4-c1', 1.2, 1.5],
  ['1m-write-qd4-c1', 1.0, 2.0],
];
const CPU_GROWTH_MAX = 1.3;
const RSS_MIB_MAX = 256;
const P99_TO_MEAN_MAX = 5;

export function judge(results: readonly CaseResult[], lunMib: number): readonly Criterion[] {
  const rowOf = (caseName: string, contestant: string) =>
    results
      .find(({ load }) => load.name === caseName)
      ?.rows.find((row) => row.contestant === contestant);
  return [
    ...RATIOS.flatMap(([caseName, embedded, iwarp]) => [
      ratio(caseName, 'embedded', 'nbdkit', embedded, rowOf(caseName, 'embedded')),
      ratio(caseName, 'iwarp', 'qemu-tgt', iwarp, rowOf(caseName, 'iwarp')),
    ]),
    ...['embedded', 'iwarp'].flatMap((name) => [
      ...['randread', 'randwrite'].map((pattern) =>
        tail(pattern, name, rowOf(`4k-${pattern}-qd1-c1`, name)),
      ),
      ...['randread', 'randwrite'].map((pattern) =>
        growth(
          `CPU per I/O of ${name}, 4k ${pattern} QD32, 64 connections ÷ 1`,
          rowOf(`4k-${pattern}-qd32-c1`, name),
          rowOf(`4k-${pattern}-qd32-c64`, name),
        ),
      ),
      memory(name, lunMib, rowOf('4k-randrw-qd32-c64', name)),
    ]),
  ];
}

function ratio(
  caseName: string,
  contestant: string,
  peer: string,
  least: number,
  row: Row | undefined,
): Criterion {
  const value = row?.ratios[peer];
  return {
    what: `${caseName}: ${contestant} ÷ ${peer}`,
    required: `≥ ${least}`,
    measured:
      value === undefined
        ? '–'
        : `${value.median.toFixed(2)} (${value.low.toFixed(2)}–${value.high.toFixed(2)})`,
    isMet: value === undefined ? null : value.median >= least,
    isNoisy: row?.isNoisy ?? false,
  };
}

function tail(pattern: string, contestant: string, row: Row | undefined): Criterion {
  const value = row === undefined ? null : row.value.p99Us / row.value.meanUs;
  return atMost(`p99 ÷ mean of ${contestant}, 4k ${pattern} QD1`, value, P99_TO_MEAN_MAX, '', row);
}

function growth(what: string, one: Row | undefined, many: Row | undefined): Criterion {
  const value = one === undefined || many === undefined ? null : totalCpu(many) / totalCpu(one);
  return atMost(what, value, CPU_GROWTH_MAX, '', one?.isNoisy === true ? one : many);
}

/** The gateway's own memory: the process that holds the LUN has its size taken off. */
function memory(contestant: string, lunMib: number, row: Row | undefined): Criterion {
  const own = contestant === 'embedded' ? lunMib : 0;
  const value = row === undefined ? null : (row.value.peakMib['serve'] ?? 0) - own;
  const what = `memory of ${contestant} serve${own > 0 ? ' besides its LUN' : ''}, 64 connections × QD32`;
  return atMost(what, value, RSS_MIB_MAX, ' MiB', row);
}

function atMost(
  what: string,
  value: number | null,
  most: number,
  unit: string,
  row: Row | undefined,
): Criterion {
  return {
    what,
    required: `≤ ${most}${unit}`,
    measured: value === null ? '–' : `${value.toFixed(unit === '' ? 2 : 0)}${unit}`,
    isMet: value === null ? null : value <= most,
    isNoisy: row?.isNoisy ?? false,
  };
}

export function totalCpu(row: Row): number {
  return Object.values(row.value.cpuUsPerIo).reduce((sum, us) => sum + us, 0);
}
