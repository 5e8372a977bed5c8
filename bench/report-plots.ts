import { CORE_CASES, titleOf } from './cases.js';
import type { Case } from './cases.js';
import { totalCpu } from './criteria.js';
import { barChart } from './plot.js';
import type { BenchResults } from './report.js';
import type { Row } from './summary.js';

export interface Plot {
  readonly file: string;
  readonly title: string;
  readonly svg: string;
}

interface PlotSpec {
  readonly file: string;
  readonly title: string;
  readonly unit: string;
  readonly labelOf: (load: Case) => string;
  readonly selects: (load: Case) => boolean;
  readonly valueOf: (row: Row) => number;
}

const RANDOM: readonly [Case['pattern'], string][] = [
  ['randread', '4 KiB random read'],
  ['randwrite', '4 KiB random write'],
  ['randrw', '4 KiB random, 70 % read'],
];

const kiops = { unit: 'thousand requests/s', valueOf: ({ value }: Row) => value.iops / 1000 };

const PLOTS: readonly PlotSpec[] = [
  ...RANDOM.map(([pattern, title]) => ({
    ...kiops,
    file: `${pattern}.svg`,
    title: `${title}, by queue depth`,
    labelOf: ({ depth }: Case) => `QD${depth}`,
    selects: (load: Case) => load.pattern === pattern && load.connections === 1,
  })),
  {
    file: 'sequential.svg',
    title: 'Sequential, one connection',
    unit: 'GB/s',
    labelOf: titleOf,
    selects: ({ pattern }) => pattern === 'read' || pattern === 'write',
    valueOf: ({ value }) => value.bytesPerSecond / 1e9,
  },
  ...RANDOM.map(([pattern, title]) => ({
    ...kiops,
    file: `${pattern}-connections.svg`,
    title: `${title}, QD32 on each of so many connections`,
    labelOf: ({ connections }: Case) => String(connections),
    selects: (load: Case) => load.pattern === pattern && load.depth === 32,
  })),
  {
    file: 'cpu.svg',
    title: 'CPU time per request, 4 KiB, all server processes',
    unit: 'µs',
    labelOf: titleOf,
    selects: (load) => load.blockBytes === 4096 && CORE_CASES.includes(load),
    valueOf: totalCpu,
  },
];

/** Of the first session; those for which nothing was measured are left out. */
export function plotsOf({ sessions, contestants }: BenchResults): readonly Plot[] {
  const cases = sessions[0]?.cases ?? [];
  return PLOTS.flatMap(({ file, title, unit, labelOf, selects, valueOf }) => {
    const groups = cases
      .filter(({ load }) => selects(load))
      .map(({ load, rows }) => ({
        label: labelOf(load),
        values: contestants.map(({ name }) => {
          const row = rows.find(({ contestant }) => contestant === name);
          return row === undefined ? null : valueOf(row);
        }),
      }));
    if (groups.length === 0) return [];
    const series = contestants.map(({ title: name }) => name);
    return { file, title, svg: barChart({ title, unit, series, groups }) };
  });
}
